"""The hub's only tie to asyncio: wakes readers, runs the slicer, and lets time pass."""

import asyncio
import logging
from collections.abc import Callable

from streamserver.clock import Clock, next_beat
from streamserver.hub.slicer import Slicer

__all__ = ["Driver"]

_TICK_S = 0.25
"""How often windows and deadlines are looked at: well below the shortest of them."""

_SELDOM = 4
"""Every so many ticks comes what needs no more: an idle process then touches half as much."""

logger = logging.getLogger(__name__)


class Driver:
    """Gives the sans-IO parts of the hub a loop to run on."""

    def __init__(self, clock: Clock) -> None:
        self.slicer = Slicer(now_ns=clock.monotonic_ns, schedule=self.schedule)
        self.slicer.on_error = self.report
        self.last_tick_ns = 0
        self.failures = 0
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tickers: list[Callable[[int], None]] = []
        self._often: list[Callable[[int], None]] = []
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, function: Callable[[], None]) -> None:
        """Runs a function at the end of this turn of the loop."""
        self._loop.call_soon(function)

    def later(self, ms: int, function: Callable[[], None]) -> Callable[[], None]:
        """Runs a function once, in so many milliseconds; answers what calls it off."""
        return self._loop.call_later(ms / 1000, function).cancel

    def add_ticker(self, ticker: Callable[[int], None], *, seldom: bool = False) -> None:
        """Calls ``ticker(now_ns)`` four times a second; once where ``seldom``."""
        self._tickers.append(ticker)
        if not seldom:
            self._often.append(ticker)

    def start(self) -> None:
        """Begins to tick."""
        self._tick()

    def close(self) -> None:
        """Stops ticking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._loop.call_at(next_beat(self._loop.time(), _TICK_S), self._tick)
        self.last_tick_ns = now_ns = self._clock.monotonic_ns()
        self._ticks += 1
        for ticker in self._often if self._ticks % _SELDOM else self._tickers:
            try:
                ticker(now_ns)
            except Exception as error:  # A ticker that fails once must not stop the others' time.
                self.report(error)

    def report(self, error: Exception) -> None:
        """Counts and logs what a reader, feed or ticker failed with."""
        self.failures += 1
        logger.error("a reader or ticker failed: %s", error, exc_info=error)
