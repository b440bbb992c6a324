"""What everybody who is level is sent, round by round, as one line of bytes."""

from collections import deque
from typing import Final, NamedTuple

from streamserver.rtmp.chunk_encoder import Tails

__all__ = ["Line", "Mark"]

_KEPT_MARKS: Final = 128
"""Each second somebody asks where the bytes of each round ended; beyond that they are forgotten,
and what waits at the far side is told with less precision."""


class Mark(NamedTuple):
    """Where a connection that follows the line stands after one of its pieces."""

    position: int
    """In the log of bodies."""

    time_ms: int
    """The latest time in the log so far."""

    total_bytes: int
    """Of the line, from its beginning."""

    tails: Tails
    """The last message of each type, with its time in the log."""


class Line:
    """Grows by what came in each round, until there is something that not all can be sent alike.

    A connection whose last messages were those of a mark goes on from there with the same bytes as
    all others. Who follows it need not be told of each round: what was sent to him is the
    difference between two marks.
    """

    def __init__(self, begin: Mark) -> None:
        self.before = begin
        """Where it stood before this round."""
        self.last = begin
        """Where it stands."""
        self.pieces: list[tuple[bytes, Mark]] = []
        """What came in this round, and where each of it ends."""
        self._marks: deque[Mark] = deque(maxlen=_KEPT_MARKS)

    def rest(self) -> None:
        """A round begins: nothing has come in it."""
        self.before = self.last
        self.pieces = []

    def add(self, data: bytes, mark: Mark) -> None:
        """A piece of this round."""
        self.pieces.append((data, mark))
        self._marks.append(mark)
        self.last = mark

    def between(self, first: Mark, last: Mark) -> list[Mark]:
        """The marks behind one, up to another, as far as they are kept."""
        found = []
        for mark in reversed(self._marks):
            if mark.total_bytes <= first.total_bytes:
                break
            if mark.total_bytes <= last.total_bytes:
                found.append(mark)
        found.reverse()
        return found
