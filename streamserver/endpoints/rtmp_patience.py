"""How much of a publisher's media has to be there before the process is woken for it.

A message of its own wakes the loop some 80 times a second and stream, and finds every cache cold:
that is half of what a publisher costs. While nobody reads a stream packet by packet (few viewers
over RTMP or FLV, one over WebRTC) the kernel may collect a little (SO_RCVLOWAT, socket(7)): most
of the time this has the sound wait for the next picture. While nobody watches at all it may
collect a fifth of a second.
"""

import asyncio
import contextlib
import socket
from typing import Final

__all__ = ["Patience"]

_TICK_MS: Final = 250
"""How often the bit rate is looked at."""

_WATCHED_MS: Final = 20
"""Milliseconds of media that may be collected while somebody watches: less than one picture."""

_ALONE_MS: Final = 200
"""While nobody does: less than a tick, so that something comes in each. Destinations join what they
send for longer, and whoever comes has the rest read at once (`Patience.hurry`)."""

_WATCHED_BYTES: Final = 32 * 1024
_ALONE_BYTES: Final = 64 * 1024
"""More is never left in the kernel. It begins with twice as much for a publisher (tcp_rmem in
tcp(7)), and gives more where reads are large: 2 MB after some seconds with an MSS of 1448."""

_LEAST_BYTES: Final = 1024
"""Less is not worth it: many frames would be smaller."""


class Patience:
    """Sets the low-water mark of one connection."""

    __slots__ = ("_last", "_received", "_transport", "after_read", "mark")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.mark = 1
        """Bytes that have to be there; 1 is no patience."""
        self.after_read = 0
        """What the mark becomes with `resume`, which is due at the next read; 0: nothing is due."""
        self._transport = transport
        self._received = 0
        self._last = (0, 0, 0, 0)
        """Bytes that came in each of the last ticks, the oldest first."""

    def tick(self, received_bytes: int, *, hurried: bool, watched: bool) -> None:
        """Follows the bit rate, four times a second.

        ``received_bytes`` counts from the beginning; ``hurried``: whether somebody reads packet by
        packet, ``watched``: whether anybody watches. Who falls silent, or sends so little that
        nothing was read since the last tick, is read to the last byte.
        """
        came, self._received = received_bytes - self._received, received_bytes
        self._last = last = (*self._last[1:], came)
        if hurried:
            self._set(1)
        elif watched:
            # The smaller of two ticks: a keyframe says little about what comes after it.
            mark = min(min(last[2:]) * _WATCHED_MS // _TICK_MS, _WATCHED_BYTES)
            # A power of two: a mark for each tick would be as many system calls.
            self._set(1 if mark < _LEAST_BYTES else 1 << (mark.bit_length() - 1))
        else:
            # What comes in one tick may be one read, or two, or none.
            mark = min(sum(last) * _ALONE_MS // (_TICK_MS * len(last)), _ALONE_BYTES)
            if mark < _LEAST_BYTES:
                self._set(1)
            elif not came and self.mark > 1:
                self._set(1)
                self.after_read = mark
            elif not self.mark * 3 <= mark * 4 <= self.mark * 5:
                self._set(mark)

    def resume(self) -> None:
        """What was there has been read: patience again."""
        self._set(self.after_read)

    def hurry(self) -> None:
        """Somebody new wants what there is: it comes with the next turn of the loop."""
        self._set(1)

    def end(self) -> None:
        """What comes from here on is no media."""
        self._set(1)

    def _set(self, mark: int) -> None:
        self.after_read = 0
        # Behind a closed transport the number of its socket may be another's.
        if mark == self.mark or self._transport.is_closing():
            return
        self.mark = mark
        sock = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # a system that has no such mark
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
