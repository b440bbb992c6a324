"""Sequence numbers of one viewer: the feed's, without those of frames that it was not sent."""

from bisect import bisect_right
from typing import Final

__all__ = ["SequenceMap"]

_MAX_RUNS: Final = 64
"""Skips that are remembered: a packet from before them can no longer be asked for."""


class SequenceMap:
    """Maps the numbers of a feed, which never wrap, to the 16 bits on the wire, and back.

    Between two skips the distance of both is constant. The first number on the wire is below
    2^15, so that 2^15 packets pass before it wraps: SRTP counts the wraps without telling, and a
    receiver that loses the packets around the first one never finds in (RFC 3711, 3.3.1).
    As long as nothing is left out, most viewers have the feed's numbers.
    """

    __slots__ = ("_begun", "_offsets", "_starts", "next", "offset")

    def __init__(self, first: int) -> None:
        """``first`` is the feed's number of the first packet that will be sent."""
        self.next = first
        """The feed's number that comes next."""
        self.offset = 0
        """What is added to a feed's number, modulo 2^16."""
        self._begun = False
        self._starts: list[int] = []
        self._offsets: list[int] = []
        self._begin(first)

    def sent(self, end: int) -> None:
        """Everything from `next` up to, not including, ``end`` has got its number."""
        self._begun = True
        self.next = end

    def skip(self, first: int) -> None:
        """Goes on at a later number of the feed, without a gap on the wire."""
        if not self._begun:
            self._begin(first)
            return
        if first == self.next:
            return
        self.offset -= first - self.next
        self.next = first
        self._starts.append(first + self.offset)
        self._offsets.append(self.offset)
        if len(self._starts) > _MAX_RUNS:
            del self._starts[0], self._offsets[0]

    def find(self, wire: int) -> int | None:
        """The feed's number of the newest packet that was sent with a number on the wire."""
        newest = self.next + self.offset - 1
        number = newest - (newest - wire & 0xFFFF)
        index = bisect_right(self._starts, number) - 1
        if index < 0 or not self._begun:
            return None
        return number - self._offsets[index]

    def _begin(self, first: int) -> None:
        self.next = first
        self.offset = -(first & 0x8000)
        self._starts = [first + self.offset]
        self._offsets = [self.offset]
