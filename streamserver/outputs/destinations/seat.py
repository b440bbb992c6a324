"""One destination's place on the line of those that are level: a round costs it one write.

Its session, its reader and its progress are told what was sent when somebody asks, once a second,
and not in each round: between two rounds all of them have left the caches of the processor.
"""

import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from streamserver.outputs.destinations.line import Line, Mark
from streamserver.outputs.destinations.progress import Progress
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.chunk_encoder import Tails

__all__ = ["Ready", "Seat", "write_all"]


class Holds(Protocol):
    """What is asked of ``FarConnection`` here."""

    @property
    def unsent_bytes(self) -> int:
        """What waits in the transport."""

    def put(self, data: bytes) -> int:
        """Writes to the transport; answers how many bytes, which are all."""


class Shares(Protocol):
    """What is asked of ``ClientSession`` here."""

    @property
    def bytes_sent(self) -> int:
        """Bytes handed out."""

    def is_level(self, tails: Tails, origin_ms: int) -> bool:
        """Whether these messages were the last media sent, and nothing waits to be sent."""

    def were_sent(self, tails: Tails, origin_ms: int, size: int) -> None:
        """So many bytes were sent past it, and these messages were the last."""


class Seat:
    """Follows a line while its transport holds nothing, and past it where there is no TLS."""

    def __init__(
        self,
        sender: Sender,
        session: Shares,
        connection: Holds,
        progress: Progress,
        own: socket.socket | None,
        failed: Callable[[Exception], None],
    ) -> None:
        """``own``: see `own_socket`; closed by `close`. Without it the transport is written to.
        ``failed`` is told what went wrong behind its turn, where nothing may be raised."""
        self._sender = sender
        self._session = session
        self._connection = connection
        self._progress = progress
        self._own = own
        self._write: Write = connection.put if own is None else partial(os.write, own.fileno())
        self.failed = failed
        """Told what ends this destination, and is no business of the others in the round."""
        self._line: Line | None = None
        self._told: Mark | None = None
        """Up to where sender and progress know."""
        self._sent: Mark | None = None
        """Up to where it was written."""
        self._origin_ms = 0
        """Of the sender."""

    @property
    def taken(self) -> bool:
        """Whether it follows a line: sender and progress know of it only after `settle`."""
        return self._line is not None

    def follow(self, line: Line, ready: "list[Ready] | None") -> bool:
        """Adds to ``ready`` what this round brings; None: outside of a turn nobody would write it.

        False where it is not level: the sender knows of everything that was sent then, and has to
        go on by itself.
        """
        if self._line is not line:
            if self._line is not None:
                self.leave()
            if ready is None or not self._sit(line):
                return False
        if self._sent is not line.before or ready is None or not self._has_room(line):
            self.leave()
            return False
        if line.pieces:
            ready.append((self._write, line.pieces, self))
        self._sent = line.last
        return True

    def fell_behind(self, mark: Mark, rest: bytes) -> None:
        """The kernel took all up to ``mark`` but ``rest``, which the transport gets; what would
        come behind it in this round was not sent."""
        try:
            self._sent = mark
            self.leave()
            self._connection.put(rest)
        except Exception as error:  # It belongs to this destination, not to the round.
            self.failed(error)

    def settle(self) -> None:
        """Tells sender and progress what was written since."""
        line, told, sent = self._line, self._told, self._sent
        if line is None or told is None or sent is None or told is sent:
            return
        session = self._session
        base = session.bytes_sent - told.total_bytes
        for mark in line.between(told, sent):
            self._progress.wrote(base + mark.total_bytes, mark.time_ms)
        session.were_sent(sent.tails, self._origin_ms, sent.total_bytes - told.total_bytes)
        self._sender.was_sent(sent.position, sent.time_ms)
        self._told = sent

    def leave(self) -> None:
        """From now on the sender goes on by itself. A second call does nothing."""
        self.settle()
        self._line = self._told = self._sent = None

    def close(self) -> None:
        """Lets go of the socket."""
        self.leave()
        if self._own is not None:
            self._own.close()

    def _has_room(self, line: Line) -> bool:
        """A transport takes whatever it is given, and is given one piece at most."""
        if self._own is not None:
            return True
        return len(line.pieces) < 2 and not self._connection.unsent_bytes

    def _sit(self, line: Line) -> bool:
        sender, before = self._sender, line.before
        origin_ms = sender.origin_ms
        # A line that brings nothing is not worth it; behind the end of the log there are only such.
        if (
            origin_ms is None
            or self._connection.unsent_bytes
            or not line.pieces
            or not self._progress.confirmed
            or not sender.stands_at(before.position)
            or not self._session.is_level(before.tails, origin_ms)
        ):
            return False
        self._line = line
        self._told = self._sent = before
        self._origin_ms = origin_ms
        return True


Write = Callable[[bytes], int]
"""Answers how many bytes were taken, or raises."""

Ready = tuple[Write, list[tuple[bytes, Mark]], Seat]
"""What writes, what is written, and who is told when it was not taken."""


def write_all(ready: Iterable[Ready]) -> None:
    """Writes to all, as far as their sockets take it. Raises nothing."""
    for write, pieces, seat in ready:
        for data, mark in pieces:
            try:
                sent = write(data)
            except OSError:  # No room, or an end: the transport will know which.
                sent = 0
            except Exception as error:  # What a transport throws may have been taken: not again.
                seat.failed(error)
                break
            if sent < len(data):
                seat.fell_behind(mark, data[sent:])
                break
