"""Watching over a connection as a plain call: may he, and is there a stream?"""

import asyncio
import secrets

from streamserver.auth import Action, Decision
from streamserver.clock import Clock
from streamserver.control.attempt import Attempt, admit
from streamserver.control.playing import Decides
from streamserver.errors import NotFoundError, ShuttingDownError
from streamserver.hub import sessions
from streamserver.hub.limits import Limits
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import Session, SessionTable
from streamserver.hub.stream import Stream
from streamserver.names import StreamKey

__all__ = ["Watch", "Watching"]


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
        self,
        registry: Registry,
        table: SessionTable,
        decider: Decides,
        clock: Clock,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits(table)
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

    async def open(self, attempt: Attempt, *, wait_s: float = 0) -> Watch:
        """Lets a viewer in, after at most ``wait_s`` seconds of waiting for the stream.

        Raises `RefusedError` of a kind that says why: `AccessDeniedError`, `InvalidNameError`,
        `NotFoundError`, `LimitError`, `ShuttingDownError`.
        """
        key, session_id, decision = await self._admit(attempt)
        stream = await self._find(key, wait_s)
        self._limits.check_viewer(key)
        wall_ns = self._clock.wall_ns()
        session = attempt.session(sessions.Action.PLAY, key, session_id, wall_ns, decision)
        self._table.add(session)
        return Watch(stream, session, self._table)

    async def check(self, attempt: Attempt) -> None:
        """Raises `RefusedError` when such a viewer would not be let in, live or not."""
        await self._admit(attempt)

    def stream_started(self, stream: Stream) -> None:
        """Lets those in who waited for it."""
        for future in self._waiting.pop(stream.key, ()):
            if not future.done():
                future.set_result(None)

    async def _admit(self, attempt: Attempt) -> tuple[StreamKey, str, Decision]:
        key = StreamKey(attempt.app, attempt.name)
        session_id = secrets.token_urlsafe(12)
        request = attempt.access_request(Action.PLAY, key, session_id)
        decision = await self._decider.decide(request)
        admit(decision)
        return decision.stream or key, session_id, decision

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
