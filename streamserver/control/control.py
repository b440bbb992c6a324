"""The operations of the server as plain calls; the API, and programs that embed us, make them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from streamserver.clock import Clock
from streamserver.control.destinations import DestinationControl
from streamserver.control.facts import ServerFacts
from streamserver.control.models import (
    Listener,
    ServerInfo,
    ServerState,
    ServerTotals,
    SessionPage,
    StreamInfo,
    StreamPage,
    ViewerCount,
    ViewerPage,
)
from streamserver.control.present import (
    idle_stream_info,
    session_info,
    stream_info,
    stream_urls,
    viewer,
    viewer_count,
)
from streamserver.control.records import Records
from streamserver.control.times import unix_ns_to_rfc3339
from streamserver.control.totals import Totals
from streamserver.errors import NotFoundError
from streamserver.events import EventFilter
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import Action, SessionTable
from streamserver.hub.stream import Stream, StreamState
from streamserver.names import StreamKey
from streamserver.storage import MemoryStorage

__all__ = ["Control", "ControlSettings"]

T = TypeVar("T")

_STOPPED: Final = "stopped through the API"
_KICKED: Final = "disconnected through the API"


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What the answers depend on besides the hub."""

    public_url: str = ""
    """How the world reaches this server; empty: URLs are relative to its root."""


class _StartTimes(StreamListener):
    """When each broadcast began, by its session id: monotonic and Unix time.

    The log's time zero does not tell: it is older where one broadcast follows another on the same
    connection.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, tuple[int, int]] = {}

    def stream_started(self, stream: Stream) -> None:
        self._began[stream.session_id] = (self._clock.monotonic_ns(), self._clock.wall_ns())

    def stream_ended(self, stream: Stream, reason: str) -> None:
        self._began.pop(stream.session_id, None)

    def of(self, stream: Stream) -> tuple[int, int]:
        return self._began.get(stream.session_id, (stream.origin_ns, stream.wall_origin_ns))


class Control:
    """Every operation, over one hub.

    All of them are asynchronous, because a cluster will answer some from elsewhere. What does not
    exist raises `NotFoundError`.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        sessions: SessionTable,
        totals: Totals,
        facts: ServerFacts,
        clock: Clock,
        settings: ControlSettings,
        destinations: DestinationControl,
        last_event_id: Callable[[], str] = lambda: "",
        records: Records | None = None,
        peak: Callable[[StreamKey], int] | None = None,
    ) -> None:
        """``records`` are the registered streams. ``peak(stream)`` are the most viewers at once of
        its broadcast; without it, those since anybody was connected."""
        self.destinations = destinations
        """The operations on where streams are sent on to."""
        self._registry = registry
        self._sessions = sessions
        self._totals = totals
        self._facts = facts
        self._clock = clock
        self._settings = settings
        self._last_event_id = last_event_id
        self._records = Records(MemoryStorage()) if records is None else records
        self._peak = sessions.peak if peak is None else peak
        self._began = _StartTimes(clock)
        registry.add_listener(self._began)

    @property
    def state(self) -> ServerState:
        """Where the server is in its life."""
        if self._facts.is_draining or self._registry.draining:
            return ServerState.DRAINING
        return ServerState.READY if self._facts.is_listening else ServerState.STARTING

    async def server_info(self) -> ServerInfo:
        """The server and its sums."""
        facts = self._facts
        uptime_ns = self._clock.monotonic_ns() - facts.started_ns
        return ServerInfo(
            version=facts.version,
            state=self.state,
            started_at=unix_ns_to_rfc3339(facts.started_wall_ns),
            uptime_s=max(0, uptime_ns) // 1_000_000_000,
            listeners=[
                Listener(name=one.name, host=one.host, port=one.port, tls=one.tls)
                for one in facts.listeners
            ],
            totals=self._server_totals(),
            last_event_id=self._last_event_id(),
        )

    async def streams(
        self,
        *,
        state: StreamState | None = None,
        search: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> StreamPage:
        """Live and registered streams in the order of their names.

        ``search`` is a part of ``app/name`` or of the title, in any case.
        """
        sought = search.casefold()
        states = {stream.key: stream.state for stream in self._registry.streams()}
        for one in self._records.all():
            states.setdefault(one.stream, StreamState.IDLE)
        matching = sorted(
            key
            for key, its_state in states.items()
            if (state is None or its_state is state) and self._matches(key, sought)
        )
        page = _page(matching, limit, offset)
        return StreamPage(items=[self._show(key) for key in page], total=len(matching))

    def _matches(self, key: StreamKey, sought: str) -> bool:
        if not sought or sought in str(key).casefold():
            return True
        registered = self._records.get(key)
        return registered is not None and sought in registered.title.casefold()

    async def snapshot(self, wanted: EventFilter) -> list[dict[str, Any]]:
        """Every stream that is live and among those wanted, as JSON values."""
        return [
            msgspec.to_builtins(self._present(stream))
            for stream in self._registry.streams()
            if wanted.covers(stream.key)
        ]

    async def stream(self, key: StreamKey) -> StreamInfo:
        """One stream."""
        return self._show(key)

    async def stop(self, key: StreamKey) -> None:
        """Ends the broadcast and disconnects its publisher; it may publish again."""
        if not self._registry.stop(key, _STOPPED):
            raise _not_live(key)

    async def viewers(self, key: StreamKey, *, limit: int = 1000, offset: int = 0) -> ViewerPage:
        """Who watches a stream, oldest first."""
        self._check_known(key)
        sessions = self._sessions.viewers(key)
        items = [viewer(session) for session in _page(sessions, limit, offset)]
        return ViewerPage(items=items, total=len(sessions))

    async def viewer_count(self, key: StreamKey | None = None) -> ViewerCount:
        """How many watch a stream, or all of them."""
        if key is not None:
            self._check_known(key)
        return viewer_count(self._sessions.count(key))

    async def kick_viewer(self, viewer_id: str) -> None:
        """Disconnects a viewer."""
        session = self._sessions.get(viewer_id)
        if session is None or session.action is not Action.PLAY:
            raise NotFoundError(f"there is no viewer {viewer_id[:64]!a}; it may have left")
        session.close(_KICKED)

    async def sessions(self, *, limit: int = 1000, offset: int = 0) -> SessionPage:
        """Every connection, publishers included, oldest first."""
        sessions = list(self._sessions.all())
        items = [session_info(session) for session in _page(sessions, limit, offset)]
        return SessionPage(items=items, total=len(sessions))

    async def kick_session(self, session_id: str) -> None:
        """Disconnects a publisher or viewer. A publisher's broadcast waits for its return."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFoundError(f"there is no session {session_id[:64]!a}; it may have ended")
        session.close(_KICKED)

    def _check_known(self, key: StreamKey) -> None:
        if self._registry.get(key) is None and self._records.get(key) is None:
            raise _not_live(key)

    def _show(self, key: StreamKey) -> StreamInfo:
        stream = self._registry.get(key)
        if stream is not None:
            return self._present(stream)
        registered = self._records.get(key)
        if registered is None:
            raise _not_live(key)
        urls = stream_urls(key, self._settings.public_url, self._rtmp_port, webrtc=self._has_webrtc)
        return idle_stream_info(registered, urls, self.destinations.of(key))

    @property
    def _rtmp_port(self) -> int:
        return next((one.port for one in self._facts.listeners if one.name == "rtmp"), 0)

    @property
    def _has_webrtc(self) -> bool:
        return any(one.name == "webrtc" for one in self._facts.listeners)

    def _present(self, stream: Stream) -> StreamInfo:
        return stream_info(
            stream,
            self._sessions,
            peak=self._peak(stream.key),
            began=self._began.of(stream),
            now_ns=self._clock.monotonic_ns(),
            public_url=self._settings.public_url,
            rtmp_port=self._rtmp_port,
            webrtc=self._has_webrtc,
            destinations=self.destinations.of(stream.key),
            registered=self._records.get(stream.key),
        )

    def _server_totals(self) -> ServerTotals:
        now_ns = self._clock.monotonic_ns()
        streams = self._registry.streams()
        viewers = [one for one in self._sessions.all() if one.action is Action.PLAY]
        return ServerTotals(
            streams=sum(stream.state is StreamState.LIVE for stream in streams),
            publishers=self._registry.publishers,
            viewers=viewer_count(self._sessions.count()),
            bytes_received=sum(self._totals.received_bytes().values()),
            bytes_sent=sum(self._totals.sent_bytes().values()),
            bit_rate_in=sum(stream.bit_rate(now_ns) for stream in streams),
            bit_rate_out=sum(session.bit_rate for session in viewers),
        )


def _page(items: list[T], limit: int, offset: int) -> list[T]:
    return items[offset : offset + limit]


def _not_live(key: StreamKey) -> NotFoundError:
    return NotFoundError(f"{key} is not live")
