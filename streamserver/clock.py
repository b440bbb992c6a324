"""Where the time comes from. Only the floors with IO ask; the others are told."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two clocks: one for intervals, one for people."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never step: for deadlines, ages and rates."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch: for dates that people and players read."""


class SystemClock:
    """The clocks of the machine."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)
