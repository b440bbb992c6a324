"""Keeps what strangers can cause from filling a log: so many per address, so many in all."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["Ration"]

_MAX_ADDRESSES: Final = 4_096


@dataclass(slots=True)
class _Bucket:
    tokens_milli: int
    at_ns: int


class Ration:
    """Token buckets, one for each address and one for all of them together."""

    def __init__(
        self,
        *,
        burst: int = 5,
        every_ms: int = 10_000,
        burst_in_all: int = 50,
        every_ms_in_all: int = 100,
    ) -> None:
        """``burst`` at once, then one each ``every_ms``."""
        self.suppressed = 0
        """What was not let through since `take` said yes last."""
        self._of_address = (burst, every_ms)
        self._of_all = (burst_in_all, every_ms_in_all)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(burst_in_all * 1000, 0)

    def take(self, address: str, now_ns: int) -> int | None:
        """Whether one more may pass: how many were held back before it, or None."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = _Bucket(self._of_address[0] * 1000, now_ns)
            if len(self._buckets) > _MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        _fill(bucket, *self._of_address, now_ns)
        _fill(self._all, *self._of_all, now_ns)
        if bucket.tokens_milli < 1000 or self._all.tokens_milli < 1000:
            self.suppressed += 1
            return None
        bucket.tokens_milli -= 1000
        self._all.tokens_milli -= 1000
        held_back, self.suppressed = self.suppressed, 0
        return held_back


def _fill(bucket: _Bucket, burst: int, every_ms: int, now_ns: int) -> None:
    gained = (now_ns - bucket.at_ns) // (every_ms * 1000)
    if gained > 0:
        bucket.tokens_milli = min(burst * 1000, bucket.tokens_milli + gained)
        bucket.at_ns = now_ns
