"""Whether a viewer keeps up, by what it reports: losses, round trips, and our own full buffers."""

from typing import Final

__all__ = ["Congestion"]

_LOSS: Final = 51
"""A fifth of the packets, in 1/256: more than retransmission makes good in time."""

_DELAY_MS: Final = 500
"""Round trips so much longer than the shortest: a queue before the viewer that only grows."""

_FOR_NS: Final = 3_000_000_000
"""How long it must go on: three reports of a browser."""

_OVERFLOWS: Final = 8
"""Writes within a second that found no room; fewer are losses like others."""

_PAUSE_NS: Final = 1_000_000_000
"""How long pictures rest after a drop, so that queues can empty."""

_SECOND_NS: Final = 1_000_000_000


class Congestion:
    """One viewer's state. Answers True when pictures should be dropped to the next keyframe."""

    __slots__ = ("_bad_since_ns", "_overflows", "_second", "min_rtt_ms", "rests_until_ns")

    def __init__(self) -> None:
        self.min_rtt_ms: int | None = None
        """The shortest round trip so far."""
        self.rests_until_ns = 0
        """No keyframe is sent before."""
        self._bad_since_ns: int | None = None
        self._overflows = 0
        self._second = 0

    def report(self, fraction_lost: int, rtt_ms: int | None, now_ns: int) -> bool:
        """A receiver report on pictures came; ``fraction_lost`` in 1/256."""
        delayed = False
        if rtt_ms is not None:
            if self.min_rtt_ms is None or rtt_ms < self.min_rtt_ms:
                self.min_rtt_ms = rtt_ms
            delayed = rtt_ms - self.min_rtt_ms > _DELAY_MS
        if fraction_lost <= _LOSS and not delayed:
            self._bad_since_ns = None
            return False
        if self._bad_since_ns is None:
            self._bad_since_ns = now_ns
        return now_ns - self._bad_since_ns >= _FOR_NS and self._drop(now_ns)

    def overflow(self, now_ns: int) -> bool:
        """The kernel had no room for packets."""
        if now_ns - self._second >= _SECOND_NS:
            self._second, self._overflows = now_ns, 0
        self._overflows += 1
        return self._overflows >= _OVERFLOWS and self._drop(now_ns)

    def _drop(self, now_ns: int) -> bool:
        self._bad_since_ns = None
        self._overflows = 0
        self.rests_until_ns = now_ns + _PAUSE_NS
        return True
