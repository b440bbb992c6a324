"""Viewers in rows: those who are together are written to, and counted, eight at a time."""

import os
from collections.abc import Iterator
from typing import Final

from streamserver.hub.sessions import Tally
from streamserver.hub.slicer import STEPS
from streamserver.outputs.blocks import Block
from streamserver.outputs.viewer import NO_SOCKET, Place, Transport, Viewer

__all__ = ["LeftOut", "Row", "Rows"]

LeftOut = tuple[Viewer, Exception | None]
"""Who did not get a block, and what its transport threw; None where it was not written to."""

_SEATS: Final = STEPS
"""A row is a turn of a job of the slicer."""

_LOOK_AT: Final = 4
"""So many rows with free seats are tried before there is a new one."""


class Row(Place):
    """A few viewers who have got the same up to here, and get the same from here on.

    Their place and the bytes that they are handed are kept once, for all of them.
    """

    __slots__ = ("_sockets", "_transports", "envelope", "tally", "viewers")

    def __init__(self, viewer: Viewer) -> None:
        """A row for this viewer and its like; it is not in it yet."""
        place = viewer.place
        super().__init__(place.position, place.header, place.last_ms)
        self.envelope = viewer.envelope
        self.tally = Tally()
        self.viewers: list[Viewer] = []
        self._transports: list[Transport] = []
        """Theirs, in the same order: what a write need not touch is not fetched into a cache that
        the media before it has emptied."""
        self._sockets: list[int] = []

    def suits(self, viewer: Viewer) -> bool:
        """Whether a viewer is at this very place."""
        place = viewer.place
        return (
            place.position == self.position
            and place.header is self.header
            and place.last_ms == self.last_ms
            and viewer.envelope is self.envelope
        )

    def write(self, block: Block, most_unsent: int) -> list[LeftOut]:
        """Writes a block to all; answers those who did not get it, with what was thrown.

        They are out of the row. Who holds more than ``most_unsent`` gets nothing, and nobody does
        whose connection is closing. The one loop that is run per viewer and join: what is not in
        it need not be fast. A transport that holds nothing is not needed for a write; what its
        socket does not take, for whatever reason, it gets.
        """
        data, write = block.data, os.write
        odd: dict[Transport, Exception | None] = {}
        try:
            if self.envelope is not None:
                data = self.envelope(data)
        except Exception as error:  # None of them can be sent anything.
            odd = dict.fromkeys(self._transports, error)
        size = len(data)
        for transport, socket in zip(self._transports, () if odd else self._sockets, strict=False):
            try:
                if transport.is_closing():
                    odd[transport] = None
                    continue
                unsent = transport.get_write_buffer_size()
                # An empty transport takes any block: one frame may be larger than the bound.
                if unsent > most_unsent and unsent:
                    odd[transport] = None
                elif unsent or socket == NO_SOCKET:
                    transport.write(data)
                else:
                    try:
                        sent = write(socket, data)
                    except OSError:
                        sent = 0
                    if sent != size:
                        transport.write(data[sent:])
            except Exception as error:  # It must not stop the others.
                odd[transport] = error
        left_out = []
        if odd:
            left_out = [(v, odd[v.transport]) for v in self.viewers if v.transport in odd]
        for viewer, _ in left_out:
            self.let_out(viewer)
        self.tally.bytes += size
        self.position = block.last
        self.last_ms = block.time_ms
        if block.header is not None:
            self.header = block.header
        return left_out

    def let_in(self, viewer: Viewer) -> None:
        """It is where the row is, from now on."""
        self.viewers.append(viewer)
        self._transports.append(viewer.transport)
        self._sockets.append(viewer.socket)
        viewer.place = self
        viewer.session.count_with(self.tally)

    def let_out(self, viewer: Viewer) -> None:
        """It stays where the row is now."""
        index = self.viewers.index(viewer)
        del self.viewers[index], self._transports[index], self._sockets[index]
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
        for _, row in zip(range(_LOOK_AT), reversed(self._roomy), strict=False):
            if row.suits(viewer):
                break
        else:
            row = Row(viewer)
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
        """Fewer rows, where more than half of the seats are free."""
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
