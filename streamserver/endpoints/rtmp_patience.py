"""How much of a publisher's media has to be there before the process is woken for it.

A message of its own wakes the loop some 80 times a second and stream, and finds every cache cold:
that is half of what a publisher costs. While nobody reads a stream packet by packet (few viewers
over RTMP or FLV, one over WebRTC) the kernel may collect a little (SO_RCVLOWAT, socket(7)): most
of the time this has the sound wait for the next picture. While nobody follows its HLS either it
may collect a fifth of a second. Many viewers over RTMP or FLV are written to by a timer, and have
what is there read just before it (`Feeder.look`).
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["Patience"]

_TICK_MS: Final = 250
"""How often the bit rate is looked at."""

_FOLLOWED_MS: Final = 20
"""Milliseconds of media that may be collected while somebody waits for parts: not a picture."""

_ALONE_MS: Final = 200
"""While nobody does: less than a tick, so that something comes in each. Destinations join what they
send for longer, and whoever comes has the rest read at once (`Patience.hurry`)."""

_FOLLOWED_BYTES: Final = 32 * 1024
_ALONE_BYTES: Final = 64 * 1024
"""More is never left in the kernel. It begins with twice as much for a publisher (tcp_rmem in
tcp(7)), and gives more where reads are large: 2 MB after some seconds with an MSS of 1448."""

_LEAST_BYTES: Final = 1024
"""Less is not worth it: many frames would be smaller."""

_LOOK_BYTES: Final = 64 * 1024
_LOOKS: Final = 8
"""What is read at once, and how often, where somebody asks: more is left to the loop."""

logger = logging.getLogger(__name__)


class Patience:
    """Sets the low-water mark of one connection."""

    __slots__ = (
        "_last", "_received", "_sealed", "_socket", "_take", "_transport", "after_read", "mark",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, take: Callable[[bytes], None]) -> None:
        """``take`` gets what is read past the loop, as `asyncio.Protocol.data_received` does."""
        self.mark = 1
        """Bytes that have to be there; 1 is no patience."""
        self.after_read = 0
        """What the mark becomes with `resume`, which is due at the next read; 0: nothing is due."""
        self._transport = transport
        self._take = take
        self._sealed = transport.get_extra_info("sslcontext") is not None
        # Asking for it is a system call each time.
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._received = 0
        self._last = (0, 0, 0, 0)
        """Bytes that came in each of the last ticks, the oldest first."""

    def tick(self, received_bytes: int, *, hurried: bool, followed: bool) -> None:
        """Follows the bit rate, four times a second.

        ``received_bytes`` counts from the beginning; ``hurried``: whether somebody reads packet by
        packet, ``followed``: whether anybody waits for what is made of it. Who falls silent, or
        sends so little that nothing was read since the last tick, is read to the last byte.
        """
        came, self._received = received_bytes - self._received, received_bytes
        self._last = last = (*self._last[1:], came)
        if hurried:
            self._set(1)
        elif followed:
            # The smaller of two ticks: a keyframe says little about what comes after it.
            mark = min(min(last[2:]) * _FOLLOWED_MS // _TICK_MS, _FOLLOWED_BYTES)
            # A power of two: a mark for each tick would be as many system calls.
            self._set(1 if mark < _LEAST_BYTES else 1 << (mark.bit_length() - 1))
        else:
            # What comes in one tick may be one read, or two, or none.
            mark = min(sum(last) * _ALONE_MS // (_TICK_MS * len(last)), _ALONE_BYTES)
            if mark < _LEAST_BYTES:
                self._set(1)
            elif not came and self.mark > 1:
                if self.look():
                    self.after_read = mark
            elif not self.mark * 3 <= mark * 4 <= self.mark * 5:
                self._set(mark)

    def look(self) -> bool:
        """See `Feeder`. The mark stays where it is, so that nothing wakes the loop for the rest.

        What is sealed (TLS) only the loop can read, with the mark lowered for once.
        """
        if not self._sealed:
            self._read()
        elif self.mark > 1:
            mark = self.mark
            self._set(1)
            self.after_read = mark
        return self._sealed

    def _read(self) -> None:
        """What is there, without two turns of the loop and two system calls for the mark."""
        transport = self._transport
        for _ in range(_LOOKS):
            # Behind a closed transport the number of its socket may be another's.
            if transport.is_closing():
                return
            try:
                data = os.read(self._socket.fileno(), _LOOK_BYTES)
            except OSError:  # Nothing is there, or it broke: that the loop will see itself.
                return
            if data:
                self._hand_over(data)
            if len(data) < _LOOK_BYTES:
                return

    def _hand_over(self, data: bytes) -> None:
        try:
            self._take(data)
        except Exception:  # As the loop does it: whoever asked is not to fail with it.
            logger.exception("what a publisher sent could not be taken")
            self._transport.abort()

    def resume(self) -> None:
        """What was there has been read: patience again."""
        self._set(self.after_read)

    def hurry(self) -> None:
        """See `Feeder`: at the next tick it is looked how fast it need be."""
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
        with contextlib.suppress(OSError):  # a system that has no such mark
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
