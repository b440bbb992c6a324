"""Work that begins a few pieces in each turn of the loop: requests for aiohttp, handshakes of TLS.

Whoever asks for thousands at once, over as many connections, waits for his own; streams, prebuilt
objects and everybody else's turn come in between.
"""

from collections import deque
from collections.abc import Callable

__all__ = ["Turns"]


class Turns:
    """Begins things, in their order, so many in each turn."""

    def __init__(self, per_turn: int, schedule: Callable[[Callable[[], None]], object]) -> None:
        """``schedule`` runs a function in the next turn of the loop."""
        self.deferred = 0
        """How many have waited for a later turn."""
        self._per_turn = self._left = per_turn
        self._schedule = schedule
        self._scheduled = False
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, begin: Callable[[], None]) -> None:
        """Calls ``begin`` now or in a later turn."""
        if self._left and not self._waiting:
            self._left -= 1
            begin()
        else:
            self.deferred += 1
            self._waiting.append(begin)
        self._look_again()

    def _turn(self) -> None:
        self._scheduled = False
        self._left = self._per_turn
        try:
            while self._waiting and self._left:
                self._left -= 1
                self._waiting.popleft()()
        finally:
            if self._waiting:
                self._look_again()

    def _look_again(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._turn)
