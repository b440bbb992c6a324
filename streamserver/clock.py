"""Where the time comes from. Only the floors with IO ask; the others are told."""

import time
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock", "next_beat"]

_EARLY_S: Final = 0.01
"""A loop may run a timer so much before its time; that is not another beat."""


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


def next_beat(now_s: float, period_s: float) -> float:
    """When a timer that comes every ``period_s`` is due next, on the clock of ``now_s``.

    All timers of one period come together, and with those of its multiples: an idle process is
    woken once for all of them.
    """
    return ((now_s + _EARLY_S) // period_s + 1) * period_s
