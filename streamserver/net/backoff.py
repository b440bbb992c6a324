"""When to try again: exponential with full jitter."""

from collections.abc import Callable
from typing import Final

__all__ = ["Backoff"]

_FIRST_MS: Final = 1_000
_LONGEST_MS: Final = 60_000


class Backoff:
    """Delays between attempts, for ever.

    The ceiling doubles from 1 s to 60 s, and each delay is drawn evenly from 1 s up to it, so
    that a thousand senders do not return to a platform in the same moment.
    """

    __slots__ = ("_between", "failures")

    def __init__(self, between: Callable[[int, int], int]) -> None:
        """``between(low, high)`` draws an integer, both ends included (``random.randint``)."""
        self._between = between
        self.failures = 0

    def next_ms(self) -> int:
        """How long to wait after one more failure, in milliseconds."""
        ceiling = min(_LONGEST_MS, _FIRST_MS << min(self.failures + 1, 16))
        self.failures += 1
        return self._between(_FIRST_MS, ceiling)

    def reset(self) -> None:
        """Begins from the shortest again: it worked, or its owner wants it now."""
        self.failures = 0
