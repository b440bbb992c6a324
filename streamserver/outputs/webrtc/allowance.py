"""How much may be sent to one viewer again."""

from typing import Final

__all__ = ["Allowance"]

_SECOND_NS: Final = 1_000_000_000


class Allowance:
    """A bucket of bytes that fills with time (token bucket)."""

    __slots__ = ("_bytes", "_per_s", "_updated_ns", "most")

    def __init__(self, per_s: int, most: int, now_ns: int) -> None:
        """``per_s`` bytes flow in each second, up to ``most``; it begins full."""
        self.most = most
        self._per_s = per_s
        self._bytes = most
        self._updated_ns = now_ns

    def take(self, size: int, now_ns: int) -> bool:
        """Takes bytes out; False, and nothing is taken, when there are not enough."""
        passed_ns = now_ns - self._updated_ns
        if passed_ns > 0:
            self._bytes = min(self.most, self._bytes + passed_ns * self._per_s // _SECOND_NS)
            self._updated_ns = now_ns
        if size > self._bytes:
            return False
        self._bytes -= size
        return True
