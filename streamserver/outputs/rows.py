"""Viewers in rows: those who are together are written to, and counted, many at a time."""

import os
from collections.abc import Iterator
from typing import Final

from streamserver.hub.sessions import Tally
from streamserver.outputs.blocks import Block
from streamserver.outputs.viewer import Place, Viewer

__all__ = ["LeftOut", "Row", "Rows"]

LeftOut = tuple[Viewer, Exception | None]
"""Who is out of its row, and what its transport threw. `Place.position` says whether it got the
block."""

_SEATS: Final = 32
"""A row is a turn of a job of the slicer: some half a millisecond. Between two rows everything but
the media comes from an emptied cache, so that rows of eight cost a tenth more."""

_LOOK_AT: Final = 4
"""So many rows with free seats are tried before there is a new one."""


class Row(Place):
    """A few viewers who have got the same up to here, and get the same from here on.

    Their place and the bytes that they are handed are kept once, for all of them.
    """

    __slots__ = ("_sockets", "envelope", "tally", "viewers")

    def __init__(self, viewer: Viewer, *, direct: bool) -> None:
        """A row for this viewer and its like; it is not in it yet.

        ``direct``: they are written to past their transports, which hold nothing.
        """
        place = viewer.place
        super().__init__(place.position, place.header, place.last_ms)
        self.envelope = viewer.envelope
        self.tally = Tally()
        self.viewers: list[Viewer] = []
        self._sockets: list[int] | None = [] if direct else None
        """The numbers of their own sockets, in the same order: nothing else of a viewer is fetched
        into a cache that the media before it has emptied. None where they are not direct."""

    def suits(self, viewer: Viewer, *, direct: bool) -> bool:
        """Whether a viewer is at this very place, and is written to in the same way."""
        place = viewer.place
        return (
            place.position == self.position
            and place.header is self.header
            and place.last_ms == self.last_ms
            and viewer.envelope is self.envelope
            and direct is (self._sockets is not None)
        )

    def write(self, block: Block, most_unsent: int) -> list[LeftOut]:
        """Writes a block to all; answers those who are out of the row now.

        They did not get it, or, in a direct row, have the rest of it in their transport. In others
        who holds more than ``most_unsent`` gets nothing, and nobody does whose connection is
        closing.
        """
        if self._sockets is not None:
            left_out = self._send(block.data, self._sockets)
            self._advance(block, len(block.data))
            self._let_all_out(left_out)
            return left_out
        data = block.data
        try:
            if self.envelope is not None:
                data = self.envelope(data)
            left_out = self._hand_over(data, most_unsent)
        except Exception as error:  # None of them can be sent anything.
            left_out = [(viewer, error) for viewer in self.viewers]
        self._let_all_out(left_out)
        self._advance(block, len(data))
        return left_out

    def _send(self, data: bytes, sockets: list[int]) -> list[LeftOut]:
        """Writes past the transports, which hold nothing; they get what a socket does not take.

        The one loop that is run per viewer and join: what is not in it need not be fast. That a
        connection is closing is noticed when its socket fails, or by `FanOut`.
        """
        write, size = os.write, len(data)
        short: list[tuple[int, int]] = []
        for socket in sockets:
            try:
                sent = write(socket, data)
            except OSError:  # It is full, or broken, which its transport finds out for itself.
                sent = 0
            if sent != size:
                short.append((socket, sent))
        left_out: list[LeftOut] = []
        for socket, sent in short:
            viewer = self.viewers[sockets.index(socket)]
            error: Exception | None = None
            try:
                if not viewer.transport.is_closing():
                    viewer.transport.write(data[sent:])
            except Exception as thrown:  # It must not stop the others.
                error = thrown
            left_out.append((viewer, error))
        return left_out

    def _hand_over(self, data: bytes, most_unsent: int) -> list[LeftOut]:
        """Writes to the transports."""
        left_out: list[LeftOut] = []
        for viewer in self.viewers:
            transport = viewer.transport
            try:
                unsent = transport.get_write_buffer_size()
                # An empty transport takes any block: one frame may be larger than the bound.
                if transport.is_closing() or (unsent > most_unsent and unsent):
                    left_out.append((viewer, None))
                else:
                    transport.write(data)
            except Exception as error:  # It must not stop the others.
                left_out.append((viewer, error))
        return left_out

    def _advance(self, block: Block, size: int) -> None:
        """All who are here have got a block."""
        self.tally.bytes += size
        self.position = block.last
        self.last_ms = block.time_ms
        if block.header is not None:
            self.header = block.header

    def _let_all_out(self, left_out: list[LeftOut]) -> None:
        for viewer, _ in left_out:
            self.let_out(viewer)

    def emptied(self) -> list[Viewer]:
        """Those who could be in a direct row, and are in another."""
        if self._sockets is not None:
            return []
        return [
            viewer
            for viewer in self.viewers
            if viewer.socket is not None and not viewer.transport.get_write_buffer_size()
        ]

    def let_in(self, viewer: Viewer) -> None:
        """It is where the row is, from now on."""
        self.viewers.append(viewer)
        if self._sockets is not None and viewer.socket is not None:
            self._sockets.append(viewer.socket.fileno())
        viewer.place = self
        viewer.session.count_with(self.tally)

    def let_out(self, viewer: Viewer) -> None:
        """It stays where the row is now."""
        index = self.viewers.index(viewer)
        del self.viewers[index]
        if self._sockets is not None:
            del self._sockets[index]
        viewer.place = Place(self.position, self.header, self.last_ms)
        viewer.session.count_with(None)


class Rows:
    """All rows of a fan-out."""

    def __init__(self) -> None:
        self._rows: dict[Row, None] = {}
        self._roomy: dict[Row, None] = {}
        """Those with a free seat."""

    def __iter__(self) -> Iterator[Row]:
        """Those that there are now, whatever happens meanwhile."""
        return iter(list(self._rows))

    def enter(self, viewer: Viewer) -> None:
        """Gives a viewer that is in no row a seat among its like."""
        # What its transport holds must not be overtaken by what is written past it.
        direct = viewer.socket is not None and not viewer.transport.get_write_buffer_size()
        for _, row in zip(range(_LOOK_AT), reversed(self._roomy), strict=False):
            if row.suits(viewer, direct=direct):
                break
        else:
            row = Row(viewer, direct=direct)
            self._rows[row] = self._roomy[row] = None
        row.let_in(viewer)
        if len(row.viewers) == _SEATS:
            del self._roomy[row]

    def leave(self, viewer: Viewer) -> None:
        """Gives it a place of its own; one that has that is ignored."""
        row = viewer.place
        if isinstance(row, Row):
            row.let_out(viewer)
            self._left(row)

    def write(self, row: Row, block: Block, most_unsent: int) -> list[LeftOut]:
        """See `Row.write`."""
        left_out = row.write(block, most_unsent)
        if left_out:
            self._left(row)
        return left_out

    def close_up(self) -> None:
        """Whose transport has emptied goes to a direct row; and fewer rows, where more than half
        of the seats are free."""
        for row in self:
            for viewer in row.emptied():
                self.leave(viewer)
                self.enter(viewer)
        free = sum(_SEATS - len(row.viewers) for row in self._roomy)
        if 2 * free <= len(self._rows) * _SEATS:
            return
        scattered = [viewer for row in self._roomy for viewer in row.viewers]
        for viewer in scattered:
            self.leave(viewer)
        for viewer in scattered:
            self.enter(viewer)

    def clear(self) -> None:
        """Everybody leaves."""
        for row in self._rows:
            for viewer in list(row.viewers):
                row.let_out(viewer)
        self._rows.clear()
        self._roomy.clear()

    def _left(self, row: Row) -> None:
        """Somebody has left a row."""
        if row.viewers:
            self._roomy[row] = None
        else:
            self._rows.pop(row, None)
            self._roomy.pop(row, None)
