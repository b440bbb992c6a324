"""How many bits a second: a sum over the last few seconds, in integers."""

from typing import Final

__all__ = ["RateMeter"]

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
