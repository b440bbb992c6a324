"""How many bits and how many frames a second, over the last few seconds, in integers."""

from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["FrameMeter", "RateMeter"]

_WINDOW_S: Final = 4
"""Long enough to hold two groups of pictures of 2 s, short enough to show a fall."""


class RateMeter:
    """Counts bytes in one-second buckets. Adding costs a comparison and two additions."""

    __slots__ = ("_bucket", "_buckets", "_second", "_since")

    def __init__(self, now_ns: int) -> None:
        self._second = self._since = now_ns // 1_000_000_000
        self._bucket = 0
        self._buckets = [0] * _WINDOW_S

    def add(self, size: int, now_ns: int) -> None:
        """Counts ``size`` bytes at a monotonic time."""
        if now_ns // 1_000_000_000 != self._second:
            self._advance(now_ns // 1_000_000_000)
        self._bucket += size

    def bits_per_second(self, now_ns: int) -> int:
        """The average over the last whole seconds, at most four; 0 in the first second."""
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._advance(second)
        seconds = min(_WINDOW_S, second - self._since)
        return sum(self._buckets) * 8 // seconds if seconds > 0 else 0

    def _advance(self, second: int) -> None:
        gone = second - self._second
        if gone <= 0:
            return
        self._buckets = [*self._buckets, self._bucket, *([0] * min(gone - 1, _WINDOW_S))]
        self._buckets = self._buckets[-_WINDOW_S:]
        self._bucket = 0
        self._second = second


_FRAMES_WINDOW_S: Final = 5
"""Long enough for a stutter to count as more than one."""


class FrameMeter:
    """Counts frames by the second of their timestamps: a slow network does not change it.

    The first second, which is not whole, is left out.
    """

    __slots__ = ("_bucket", "_buckets", "_second", "frames", "seconds")

    def __init__(self) -> None:
        self.frames = 0
        """Frames of all whole seconds."""
        self.seconds = 0
        """Whole seconds of media until now."""
        self._second: int | None = None
        self._bucket = 0
        self._buckets: deque[int] = deque(maxlen=_FRAMES_WINDOW_S)

    def add(self, at_ms: int) -> None:
        """One frame at a time of the log; times do not fall."""
        second = at_ms // 1000
        if second != self._second:
            self._advance(second)
        self._bucket += 1

    def extend(self, at_ms: Sequence[int]) -> None:
        """Several frames, in their order."""
        if at_ms[0] // 1000 == at_ms[-1] // 1000 == self._second:
            self._bucket += len(at_ms)
        else:
            for one_ms in at_ms:
                self.add(one_ms)

    def recent_mhz(self) -> int | None:
        """Frames in a thousand seconds, over the last five whole ones; None before there are."""
        if len(self._buckets) < _FRAMES_WINDOW_S:
            return None
        return sum(self._buckets) * 1000 // _FRAMES_WINDOW_S

    def average_mhz(self) -> int | None:
        """The same over all whole seconds."""
        return self.frames * 1000 // self.seconds if self.seconds else None

    def _advance(self, second: int) -> None:
        if self._second is None:
            # What this one had before is not known: the next is the first whole one.
            self._second, self.seconds = second, -1
            self._bucket = 0
            return
        if self.seconds >= 0:
            self.frames += self._bucket
            self._buckets.append(self._bucket)
        gone = second - self._second
        self._buckets.extend([0] * min(gone - 1, _FRAMES_WINDOW_S))
        self.seconds += gone
        self._bucket = 0
        self._second = second
