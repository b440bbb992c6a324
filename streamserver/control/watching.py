"""Watching over a connection as a plain call: who asks, may he, and is there a stream?"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamserver.auth import AccessRequest, Action
from streamserver.clock import Clock
from streamserver.control.playing import Decides
from streamserver.control.publishing import clean_agent
from streamserver.errors import AccessDeniedError, NotFoundError, ShuttingDownError
from streamserver.hub import sessions
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import Session, SessionTable
from streamserver.hub.stream import Stream
from streamserver.names import StreamKey

__all__ = ["Watch", "WatchAttempt", "Watching"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchAttempt:
    """Somebody wants to watch over a connection of its own: RTMP or FLV."""

    protocol: sessions.Protocol
    """How it came."""

    app: str
    """First segment of the name, unchecked."""

    name: str = field(repr=False)
    """Second segment, unchecked."""

    remote_ip: str
    """The viewer's address."""

    local: bool
    """Whether it is on this machine: see `streamserver.auth.loopback`."""

    user_agent: str = ""
    """What it calls itself."""

    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters of its URL or key."""

    user: str | None = None
    """The user name, where it gave one."""

    password: str | None = field(default=None, repr=False)
    """The password, where it gave one."""

    token: str | None = field(default=None, repr=False)
    """The bearer token, where it gave one."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The header fields of an HTTP request."""

    close: Callable[[str], None] = field(repr=False)
    """Ends its connection, with a reason."""


class Watch:
    """A viewer that was let in, until it is closed."""

    __slots__ = ("_table", "session", "stream")

    def __init__(self, stream: Stream, session: Session, table: SessionTable) -> None:
        self.stream = stream
        self.session = session
        self._table = table

    def close(self) -> None:
        """The viewer has left. A second call does nothing."""
        self._table.remove(self.session)


class Watching(StreamListener):
    """Decides about viewers and enters them; some wait here for their stream to begin."""

    def __init__(
        self, registry: Registry, table: SessionTable, decider: Decides, clock: Clock
    ) -> None:
        self._registry = registry
        self._table = table
        self._decider = decider
        self._clock = clock
        self._waiting: dict[StreamKey, list[asyncio.Future[None]]] = {}
        registry.add_listener(self)

    @property
    def waiting(self) -> int:
        """Viewers that wait for a stream."""
        return sum(len(futures) for futures in self._waiting.values())

    async def open(self, attempt: WatchAttempt, *, wait_s: float = 0) -> Watch:
        """Lets a viewer in, after at most ``wait_s`` seconds of waiting for the stream.

        Raises `RefusedError` of a kind that says why: `AccessDeniedError`, `InvalidNameError`,
        `NotFoundError`, `ShuttingDownError`.
        """
        key = StreamKey(attempt.app, attempt.name)
        session_id = secrets.token_urlsafe(12)
        await self._decide(attempt, key, session_id)
        stream = await self._find(key, wait_s)
        session = Session(
            id=session_id,
            action=sessions.Action.PLAY,
            protocol=attempt.protocol,
            stream=key,
            remote_ip=attempt.remote_ip,
            user_agent=clean_agent(attempt.user_agent),
            joined_at=datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, UTC),
            close=attempt.close,
        )
        self._table.add(session)
        return Watch(stream, session, self._table)

    def stream_started(self, stream: Stream) -> None:
        """Lets those in who waited for it."""
        for future in self._waiting.pop(stream.key, ()):
            if not future.done():
                future.set_result(None)

    async def _decide(self, attempt: WatchAttempt, key: StreamKey, session_id: str) -> None:
        decision = await self._decider.decide(
            AccessRequest(
                id=session_id,
                action=Action.PLAY,
                protocol=attempt.protocol.value,
                stream=key,
                remote_ip=attempt.remote_ip,
                local=attempt.local,
                user=attempt.user,
                password=attempt.password,
                token=attempt.token,
                query=attempt.params,
                user_agent=clean_agent(attempt.user_agent),
                headers=attempt.headers,
            )
        )
        if not decision.allowed:
            raise AccessDeniedError(decision.reason)

    async def _find(self, key: StreamKey, wait_s: float) -> Stream:
        if self._registry.draining:
            raise ShuttingDownError("the server is shutting down; try again in a moment")
        stream = await self._registry.demand(key)
        if stream is None and wait_s > 0:
            await self._wait(key, wait_s)
            stream = self._registry.get(key)
        if stream is None:
            raise NotFoundError(f"{key} is not live")
        return stream

    async def _wait(self, key: StreamKey, wait_s: float) -> None:
        """Returns when the stream begins, or the time is over."""
        future = asyncio.get_running_loop().create_future()
        futures = self._waiting.setdefault(key, [])
        futures.append(future)
        try:
            async with asyncio.timeout(wait_s):
                await future
        except TimeoutError:
            pass
        finally:
            # The list is another one, or gone, once the stream has begun.
            if future in futures:
                futures.remove(future)
            if not futures and self._waiting.get(key) is futures:
                del self._waiting[key]
