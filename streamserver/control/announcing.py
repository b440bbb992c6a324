"""Listens to the hub and writes the log of events: the only place where events are made."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from streamserver.auth.stream_keys import looks_like_secret
from streamserver.clock import Clock
from streamserver.control.attempt import Attempt, clean_agent
from streamserver.control.audience import Audiences
from streamserver.control.destinations import DestinationControl
from streamserver.control.facts import ServerFacts
from streamserver.control.health import health
from streamserver.control.live_record import LiveBroadcast
from streamserver.control.models import Health
from streamserver.control.present import publisher_info, stream_urls, track_info, viewer_count
from streamserver.control.ration import Ration
from streamserver.errors import InvalidNameError, RefusedError
from streamserver.events import EventLog, EventType
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import Action, Protocol, Session, SessionTable
from streamserver.hub.stream import Stream
from streamserver.names import StreamKey
from streamserver.outputs.destinations.destination import Destination
from streamserver.outputs.destinations.states import DestinationState
from streamserver.times import unix_ns_to_rfc3339

__all__ = ["Announcer"]

_COUNT_EVERY_NS: Final = 2_000_000_000
_HEALTH_EVERY_NS: Final = 2_000_000_000
_STATS_EVERY_NS: Final = 5_000_000_000
_RECORD_EVERY_NS: Final = 10_000_000_000

_CRASHED: Final = "the server stopped without ending it"


@dataclass(slots=True, eq=False)
class _Broadcast:
    """What was last said about a broadcast."""

    stream: Stream
    began_ns: int
    began_wall_ns: int
    count: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    findings: frozenset[tuple[str, str]] = frozenset()


class Announcer(StreamListener):
    """Turns what happens in the hub into events.

    Give it to ``registry.add_listener`` before every output, so that a stream's beginning is told
    before its first viewer, and to ``Driver.add_ticker``.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        registry: Registry,
        sessions: SessionTable,
        facts: ServerFacts,
        clock: Clock,
        public_url: str = "",
    ) -> None:
        self.audiences = Audiences()
        """Who watches what is on."""
        self.refusals_held_back = 0
        """Refused publishers that were not told one by one."""
        self.on_live_changed: Callable[[], None] = lambda: None
        """Called when the record of what is live should be written anew."""
        self._log = log
        self._sessions = sessions
        self._facts = facts
        self._clock = clock
        self._public_url = public_url
        self._on: dict[StreamKey, _Broadcast] = {}
        self._viewers: dict[str, tuple[int, str | None]] = {}
        self._ration = Ration()
        self._due = dict.fromkeys((self._counts, self._stats, self._findings, self._record), 0)
        registry.add_listener(self)
        sessions.on_change(self._session_changed)

    # ---- the server -------------------------------------------------------------------------

    def server_started(self) -> None:
        """Every port is open."""
        self._log.emit(
            EventType.SERVER_STARTED,
            {
                "version": self._facts.version,
                "boot": self._log.boot,
                "started_at": unix_ns_to_rfc3339(self._facts.started_wall_ns),
                "listeners": [
                    {"name": one.name, "host": one.host, "port": one.port, "tls": one.tls}
                    for one in self._facts.listeners
                ],
            },
        )

    def server_draining(self) -> None:
        """The server will end."""
        self._log.emit(EventType.SERVER_DRAINING, {"streams": len(self._on)})

    def left_over(self, broadcasts: list[LiveBroadcast]) -> None:
        """What was live when the last process died has ended."""
        for one in broadcasts:
            try:
                key = StreamKey(one.app, one.name)
            except InvalidNameError:
                continue
            summary = {**one.summary, "reason": _CRASHED, "crashed": True}
            self._log.emit(EventType.STREAM_ENDED, summary, key)

    def live(self) -> list[LiveBroadcast]:
        """What is live, with its figures until now."""
        return [
            LiveBroadcast(app=key.app, name=key.name, summary=self._summary(one, ""))
            for key, one in self._on.items()
        ]

    # ---- streams ----------------------------------------------------------------------------

    def stream_started(self, stream: Stream) -> None:
        """See `StreamListener`."""
        now_ns = self._clock.monotonic_ns()
        self._on[stream.key] = _Broadcast(stream, now_ns, self._clock.wall_ns())
        # Other viewers hold on to one broadcast: those of the one before are about to leave.
        present = [
            session
            for session in self._sessions.viewers(stream.key)
            if session.protocol is Protocol.HLS
        ]
        self.audiences.began(stream.key, present, now_ns)
        for session in present:
            self._viewers[session.id] = (self._viewers[session.id][0], stream.session_id)
        urls = stream_urls(stream.key, self._public_url, self._rtmp_port())
        data = {**_on_air(stream), "urls": msgspec.to_builtins(urls)}
        self._log.emit(EventType.STREAM_STARTED, data, stream.key)
        self.on_live_changed()

    def stream_interrupted(self, stream: Stream) -> None:
        """See `StreamListener`."""
        data = {"session_id": stream.session_id}
        self._log.emit(EventType.STREAM_INTERRUPTED, data, stream.key)

    def stream_resumed(self, stream: Stream) -> None:
        """See `StreamListener`."""
        self._log.emit(EventType.STREAM_RESUMED, _on_air(stream), stream.key)

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """See `StreamListener`."""
        one = self._on.get(stream.key)
        if one is None or one.stream is not stream:
            return
        data = self._summary(one, reason)
        del self._on[stream.key]
        self.audiences.ended(stream.key)
        self._log.emit(EventType.STREAM_ENDED, data, stream.key)
        self.on_live_changed()

    def _summary(self, one: _Broadcast, reason: str) -> dict[str, Any]:
        now_ns = self._clock.monotonic_ns()
        audience = self.audiences.get(one.stream.key)
        return {
            "session_id": one.stream.session_id,
            "reason": reason,
            "crashed": False,
            "started_at": unix_ns_to_rfc3339(one.began_wall_ns),
            "duration_ms": (now_ns - one.began_ns) // 1_000_000,
            "bytes_received": one.stream.received_bytes,
            **(audience.summary(now_ns) if audience is not None else {}),
        }

    # ---- people -----------------------------------------------------------------------------

    def publish_refused(self, attempt: Attempt, error: RefusedError) -> None:
        """A publisher was not let in. Told for a few of each address only."""
        held_back = self._ration.take(attempt.remote_ip, self._clock.monotonic_ns())
        if held_back is None:
            self.refusals_held_back += 1
            return
        try:
            # A stream's secret may stand in the place of its name.
            is_name = not looks_like_secret(attempt.name)
            key = StreamKey(attempt.app, attempt.name) if is_name else None
        except InvalidNameError:
            key = None
        self._log.emit(
            EventType.PUBLISH_REFUSED,
            {
                "protocol": attempt.protocol.value,
                "remote_ip": attempt.remote_ip,
                "user_agent": clean_agent(attempt.user_agent),
                "error": _code(error),
                "reason": str(error),
                "held_back": held_back,
            },
            key,
        )

    def _session_changed(self, session: Session, joined: bool) -> None:
        if session.action is not Action.PLAY:
            return
        now_ns = self._clock.monotonic_ns()
        audience, one = self.audiences.get(session.stream), self._on.get(session.stream)
        data: dict[str, Any] = {
            "id": session.id,
            "protocol": session.protocol.value,
            "remote_ip": session.remote_ip,
            "user_agent": session.user_agent,
        }
        if joined:
            session_id = None if one is None else one.stream.session_id
            self._viewers[session.id] = (now_ns, session_id)
            if audience is not None:
                audience.joined(session, now_ns)
            data["session_id"] = session_id
            self._log.emit(EventType.VIEWER_JOINED, data, session.stream)
            return
        if audience is not None:
            audience.left(session, now_ns)
        joined_ns, data["session_id"] = self._viewers.pop(session.id, (now_ns, None))
        data["watched_ms"] = (now_ns - joined_ns) // 1_000_000
        data["bytes_sent"] = session.bytes_sent
        data["dropped_frames"] = session.dropped_frames
        self._log.emit(EventType.VIEWER_LEFT, data, session.stream)

    # ---- destinations -----------------------------------------------------------------------

    def destination_changed(self, one: Destination, before: DestinationState) -> None:
        """A destination came into another state."""
        shown = DestinationControl.present(one, self._clock.monotonic_ns())
        data = {"destination": msgspec.to_builtins(shown), "before": before.value}
        self._log.emit(EventType.DESTINATION_STATE, data, one.key)

    # ---- figures ----------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Says what changes all the time, every few seconds."""
        for work, every_ns in (
            (self._counts, _COUNT_EVERY_NS),
            (self._findings, _HEALTH_EVERY_NS),
            (self._stats, _STATS_EVERY_NS),
            (self._record, _RECORD_EVERY_NS),
        ):
            if now_ns >= self._due[work]:
                self._due[work] = now_ns + every_ns
                for one in list(self._on.values()):
                    work(one, now_ns)

    def _counts(self, one: _Broadcast, now_ns: int) -> None:
        key = one.stream.key
        count = msgspec.to_builtins(viewer_count(self._sessions.count(key)))
        if count != one.count:
            one.count = count
            data = {"session_id": one.stream.session_id, **count}
            self._log.emit(EventType.VIEWERS_COUNT, data, key)

    def _stats(self, one: _Broadcast, now_ns: int) -> None:
        stream = one.stream
        stats = {
            "state": stream.state.value,
            "bit_rate": stream.bit_rate(now_ns),
            "keyframe_interval_ms": stream.keyframe_interval_ms,
            "bytes_received": stream.received_bytes,
            "tracks": {
                kind: {"bit_rate": of_kind.rate.bits_per_second(now_ns), "packets": of_kind.packets}
                for kind, of_kind in stream.stats.items()
            },
        }
        if stats != one.stats:
            one.stats = stats
            uptime_ms = (now_ns - one.began_ns) // 1_000_000
            data = {"session_id": stream.session_id, "uptime_ms": uptime_ms, **stats}
            self._log.emit(EventType.STREAM_STATS, data, stream.key)

    def _findings(self, one: _Broadcast, now_ns: int) -> None:
        found = health(one.stream, now_ns)
        names = frozenset(_name(finding) for finding in found)
        if names == one.findings:
            return
        before, one.findings = one.findings, names
        data = {
            "session_id": one.stream.session_id,
            "health": [msgspec.to_builtins(finding) for finding in found],
            "appeared": sorted({code for code, _ in names} - {code for code, _ in before}),
            "gone": sorted({code for code, _ in before} - {code for code, _ in names}),
        }
        self._log.emit(EventType.HEALTH_CHANGED, data, one.stream.key)

    def _record(self, one: _Broadcast, now_ns: int) -> None:
        self.on_live_changed()

    def _rtmp_port(self) -> int:
        return next((one.port for one in self._facts.listeners if one.name == "rtmp"), 0)


def _on_air(stream: Stream) -> dict[str, Any]:
    """Who sends what."""
    return {
        "session_id": stream.session_id,
        "publisher": msgspec.to_builtins(publisher_info(stream.publisher)),
        "tracks": [msgspec.to_builtins(track_info(track, stream, 0)) for track in stream.tracks],
    }


def _code(error: RefusedError) -> str:
    """The kind of a refusal as a word for programs: ``access_denied``, ``stream_busy``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()


def _name(finding: Health) -> tuple[str, str]:
    """What makes a finding another one: its sentence holds figures that always change."""
    return (finding.code, finding.severity.value)
