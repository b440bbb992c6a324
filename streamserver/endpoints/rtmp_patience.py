"""How much of a publisher's media has to be there before the process is woken for it.

A message of its own wakes the loop some 80 times a second and stream, and finds every cache cold:
that is half of what a publisher costs. While nobody reads a stream packet by packet (few viewers
over RTMP or FLV, one over WebRTC) the kernel may collect a little (SO_RCVLOWAT, socket(7)): most
of the time this has the sound wait for the next picture. While nobody watches at all it may
collect more.
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

_ALONE_MS: Final = 100
"""While nobody does. Destinations join what they send for longer."""

_MOST_BYTES: Final = 32 * 1024
"""Half of what the kernel keeps for a publisher."""

_LEAST_BYTES: Final = 1024
"""Less is not worth it: many frames would be smaller."""


class Patience:
    """Sets the low-water mark of one connection."""

    __slots__ = ("_before", "_received", "_transport", "mark")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.mark = 1
        """Bytes that have to be there; 1 is no patience."""
        self._transport = transport
        self._received = 0
        self._before = 0

    def tick(self, received_bytes: int, *, hurried: bool, watched: bool) -> None:
        """Follows the bit rate, four times a second.

        ``received_bytes`` counts from the beginning; ``hurried``: whether somebody reads packet by
        packet, ``watched``: whether anybody watches. Who falls silent is read to the last byte at
        the next tick.
        """
        came, self._received = received_bytes - self._received, received_bytes
        # The smaller of two ticks: a keyframe says little about what comes after it.
        usual, self._before = min(came, self._before), came
        mark = min(usual * (_WATCHED_MS if watched else _ALONE_MS) // _TICK_MS, _MOST_BYTES)
        # A power of two: a mark for each tick would be as many system calls.
        self._set(1 if hurried or mark < _LEAST_BYTES else 1 << (mark.bit_length() - 1))

    def end(self) -> None:
        """What comes from here on is no media."""
        self._set(1)

    def _set(self, mark: int) -> None:
        # Behind a closed transport the number of its socket may be another's.
        if mark == self.mark or self._transport.is_closing():
            return
        self.mark = mark
        sock = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # a system that has no such mark
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
