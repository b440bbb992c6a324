"""A program's own handlers of events: never run within the emitter, and their errors stay here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pyee.asyncio import AsyncIOEventEmitter

from streamserver.events import Event, EventLog, expand_types

__all__ = ["Callbacks", "Handler"]

_MAX_RUNNING: Final = 1_000
"""Coroutines of handlers at once; beyond it events are passed over for them."""

Handler = Callable[[Event], Awaitable[Any] | None]
"""A function or coroutine function. A function holds up everything while it runs."""

logger = logging.getLogger(__name__)


class Callbacks:
    """Subscriptions of the program that embeds the server, before and while it runs."""

    def __init__(self) -> None:
        self.skipped = 0
        """Events that were passed over because too many handlers were still running."""
        self._emitter: AsyncIOEventEmitter | None = None
        self._wanted: list[tuple[str, Callable[[Event], asyncio.Future[Any] | None]]] = []
        self._running: set[asyncio.Future[Any]] = set()
        self._log: EventLog | None = None
        self._position = 0
        self._off: Callable[[], None] = lambda: None

    def on(self, types: str, handler: Handler) -> Callable[[], None]:
        """Calls a handler with each event of a type, a group (``viewer.*``) or all (``*``).

        Answers the function that takes it off again. Raises `InvalidFilterError`.
        """
        counted = self._counted(handler)
        entries = [(kind.value, counted) for kind in expand_types([types], figures=True)]
        self._wanted += entries
        if self._emitter is not None:
            for kind, one in entries:
                self._emitter.add_listener(kind, one)

        def off() -> None:
            for entry in entries:
                if entry in self._wanted:
                    self._wanted.remove(entry)
                    if self._emitter is not None:
                        self._emitter.remove_listener(*entry)

        return off

    def start(self, log: EventLog) -> None:
        """Reads a log from its beginning: what is told at the start is heard, too."""
        self._emitter = AsyncIOEventEmitter(asyncio.get_running_loop())
        self._emitter.on("error", _report)
        for kind, handler in self._wanted:
            self._emitter.add_listener(kind, handler)
        self._log, self._position = log, log.start
        self._off = log.wake(self._read)
        if log.end > log.start:
            asyncio.get_running_loop().call_soon(self._read)

    async def close(self) -> None:
        """Tells what is left, and ends handlers that still run."""
        self._read()
        self._off()
        emitter, self._emitter = self._emitter, None
        if emitter is not None:
            # One turn for what has just been begun.
            await asyncio.sleep(0)
            emitter.cancel()

    def _read(self) -> None:
        """Once per turn of the loop in which something happened."""
        emitter, log = self._emitter, self._log
        if emitter is None or log is None:
            return
        for event in log.since(self._position):
            self._position = event.position + 1
            if len(self._running) >= _MAX_RUNNING:
                self.skipped += 1
                continue
            emitter.emit(event.type.value, event)

    def _counted(self, handler: Handler) -> Callable[[Event], asyncio.Future[Any] | None]:
        def run(event: Event) -> asyncio.Future[Any] | None:
            result = handler(event)
            if result is None:
                return None
            future = asyncio.ensure_future(result)
            self._running.add(future)
            future.add_done_callback(self._running.discard)
            return future

        return run


def _report(error: Exception) -> None:
    logger.error("a handler of events failed: %s", error, exc_info=error)
