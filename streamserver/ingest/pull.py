"""Streams that the server fetches itself: who keeps them up, always or while somebody watches.

Each source has a task of its own. An attempt that ends, however it ends, is made again after a
while; while a far side is away nothing is claimed, so that a publisher may take the name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from streamserver.errors import StreamServerError
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import SessionTable
from streamserver.hub.stream import Stream
from streamserver.names import StreamKey

__all__ = ["Attempt", "Delays", "Origin", "Pulls", "Source"]

_SUPPLY_S: Final = 10.0
"""How long a first viewer waits for a source on demand."""

_IDLE_NS: Final = 30_000_000_000
"""How long a source on demand goes on without a viewer."""

logger = logging.getLogger(__name__)


class Origin(Protocol):
    """Where a source comes from."""

    def masked(self) -> str:
        """For people: nothing secret."""

    def hide(self, text: str) -> str:
        """A text of the far side without what is secret here."""


@dataclass(frozen=True, slots=True)
class Source:
    """One configured source."""

    key: StreamKey
    """What the stream is called here."""

    target: Origin = field(repr=False)
    """Where it is fetched from."""

    on_demand: bool = False
    """Whether only while somebody watches."""


class Delays(Protocol):
    """How long to wait between attempts."""

    def next_ms(self) -> int:
        """Milliseconds until the next one."""

    def reset(self) -> None:
        """An attempt got somewhere."""


Attempt = Callable[[Source, Callable[[], None]], Awaitable[None]]
"""Fetches a source until it ends, and calls what it is given once media may come. Raises
`StreamServerError` and `OSError`, whose texts are for people."""


class Pulls(StreamListener):
    """All sources of a server."""

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        attempt: Attempt,
        registry: Registry,
        sessions: SessionTable,
        make_delays: Callable[[], Delays],
        supply_s: float = _SUPPLY_S,
    ) -> None:
        """``supply_s``: see `supply`."""
        self._registry = registry
        self._sessions = sessions
        self._supply_s = supply_s
        self._pulls = {source.key: _Pull(source, attempt, make_delays()) for source in sources}
        self._waiting: dict[StreamKey, list[asyncio.Future[None]]] = {}

    def start(self) -> None:
        """Begins to fetch the sources that are always fetched."""
        for pull in self._pulls.values():
            if not pull.source.on_demand:
                pull.start()

    async def close(self) -> None:
        """Ends all. Safe twice."""
        await asyncio.gather(*(pull.stop() for pull in self._pulls.values()))

    def is_running(self, key: StreamKey) -> bool:
        """Whether a source is fetched, or tried, now."""
        pull = self._pulls.get(key)
        return pull is not None and pull.is_running

    async def supply(self, key: StreamKey) -> bool:
        """Begins to fetch a source on demand, and waits for its media for some time.

        A supplier for `Registry.demand`. False where there is no such source, and when the time is
        over; the attempts go on then, for a viewer that comes back.
        """
        pull = self._pulls.get(key)
        if pull is None or not pull.source.on_demand:
            return False
        pull.start()
        # The viewer that asks is no session yet.
        pull.idle_since_ns = None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        futures = self._waiting.setdefault(key, [])
        futures.append(future)
        try:
            async with asyncio.timeout(self._supply_s):
                await future
        except TimeoutError:
            return False
        finally:
            if future in futures:
                futures.remove(future)
        return True

    def stream_started(self, stream: Stream) -> None:
        """Lets those in who waited for it."""
        for future in self._waiting.pop(stream.key, ()):
            if not future.done():
                future.set_result(None)

    def tick(self, now_ns: int) -> None:
        """Ends sources on demand that nobody has watched for a while."""
        for key, pull in self._pulls.items():
            if not pull.source.on_demand or not pull.is_running:
                continue
            if self._sessions.viewers(key) or self._waiting.get(key):
                pull.idle_since_ns = None
            elif pull.idle_since_ns is None:
                pull.idle_since_ns = now_ns
            elif now_ns - pull.idle_since_ns >= _IDLE_NS:
                logger.info("nobody watches %s: it is no longer fetched", key)
                pull.cancel()
                self._registry.stop(key, "nobody watched it any more")


class _Pull:
    """One source and its task."""

    def __init__(self, source: Source, attempt: Attempt, delays: Delays) -> None:
        self.source = source
        self.idle_since_ns: int | None = None
        self._attempt = attempt
        self._delays = delays
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        if not self.is_running:
            self.idle_since_ns = None
            name = f"pull {self.source.key}"
            self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._attempt(self.source, self._began)
                self._tell("the far side's stream ended")
            except (StreamServerError, OSError) as error:
                self._tell(str(error) or type(error).__name__)
            await asyncio.sleep(self._delays.next_ms() / 1000)

    def _began(self) -> None:
        self._delays.reset()
        self._told = ""
        logger.info("%s is fetched from %s", self.source.key, self.source.target.masked())

    def _tell(self, reason: str) -> None:
        """One line for each new reason, not for each attempt."""
        reason = self.source.target.hide(reason)
        if reason != self._told:
            self._told = reason
            where = self.source.target.masked()
            logger.info("%s is not fetched from %s: %s", self.source.key, where, reason)
