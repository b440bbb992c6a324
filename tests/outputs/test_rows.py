"""Viewers who are together, without a fan-out."""

import os
import socket

from streamserver.outputs.blocks import Block
from streamserver.outputs.rows import Row, Rows
from streamserver.outputs.viewer import Place, Viewer
from tests.outputs.helpers_live import FakeTransport, World, header

WORLD = World()
HEADER = header()


def enter(rows: Rows, count: int = 1, position: int = 7) -> list[Viewer]:
    viewers = [WORLD.viewer() for _ in range(count)]
    for viewer in viewers:
        viewer.place = Place(position, HEADER, 40)
        rows.enter(viewer)
    return viewers


def block(first: int = 7, data: bytes = b"data") -> Block:
    return Block(first, first + 2, data, None, 80)


def write(rows: Rows, what: Block) -> list[Viewer]:
    """Answers who was left out."""
    here = [row for row in rows if row.position == what.first]
    return [viewer for row in here for viewer, _ in rows.write(row, what, 1_000)]


def test_who_is_at_the_same_place_shares_a_row_of_eight():
    rows = Rows()
    enter(rows, 9)
    enter(rows, 2, position=8)
    assert [(row.position, len(row.viewers)) for row in rows] == [(7, 8), (7, 1), (8, 2)]


def test_a_place_that_was_left_is_taken_again():
    rows = Rows()
    viewers = enter(rows, 16)
    rows.leave(viewers[3])
    enter(rows)
    assert [len(row.viewers) for row in rows] == [8, 8]


def test_whoever_has_another_header_or_envelope_sits_elsewhere():
    rows = Rows()
    enter(rows)
    other, wrapped = WORLD.viewer(), WORLD.viewer(envelope=bytes)
    other.place, wrapped.place = Place(7, None, 40), Place(7, HEADER, 40)
    rows.enter(other)
    rows.enter(wrapped)
    assert [row.viewers[-1] for row in rows][1:] == [other, wrapped]


def test_who_leaves_has_counted_what_it_got_and_stays_where_it_was():
    rows = Rows()
    one, two = enter(rows, 2)
    one.session.bytes_sent = 100
    write(rows, block())
    assert (one.session.bytes_sent, two.session.bytes_sent) == (104, 4)
    rows.leave(one)
    write(rows, block(9))
    assert (one.session.bytes_sent, two.session.bytes_sent) == (104, 8)
    assert (one.place.position, one.place.header, one.place.last_ms) == (9, HEADER, 80)
    assert (two.place.position, two.place.last_ms) == (11, 80)
    rows.leave(one)
    assert one.place.position == 9


def test_who_is_left_out_of_a_write_has_neither_its_bytes_nor_its_place():
    rows = Rows()
    closing, fails, full, good = enter(rows, 4)
    closing.transport.closing = fails.transport.fails = True  # type: ignore[attr-defined]
    full.transport.kernel = 0  # type: ignore[attr-defined]
    full.transport.write(b"x" * 1_001)
    assert write(rows, block()) == [closing, fails, full]
    for viewer in (closing, fails, full):
        assert not isinstance(viewer.place, Row)
        assert viewer.place.position == 7
        assert viewer.session.bytes_sent == 0
    assert good.place.position == 9
    assert [row.viewers for row in rows] == [[good]]


def test_an_envelope_that_fails_leaves_all_of_its_row_out():
    rows = Rows()

    def broken(data: bytes) -> bytes:
        raise ValueError("no")

    viewers = [WORLD.viewer(envelope=broken) for _ in range(2)]
    for viewer in viewers:
        rows.enter(viewer)
    assert write(rows, block(-1)) == viewers
    assert list(rows) == []


def test_rows_that_have_emptied_close_up():
    rows = Rows()
    viewers = enter(rows, 80)
    for number, viewer in enumerate(viewers):
        if number % 8:
            rows.leave(viewer)
    assert len(list(rows)) == 10
    write(rows, block())
    rows.close_up()
    assert [len(row.viewers) for row in rows] == [8, 2]
    assert {viewer.session.bytes_sent for viewer in viewers[::8]} == {4}
    write(rows, block(9))
    assert {viewer.session.bytes_sent for viewer in viewers[::8]} == {8}


def test_when_all_is_cleared_everybody_has_what_it_got_for_itself():
    rows = Rows()
    viewers = enter(rows, 9)
    write(rows, block())
    rows.clear()
    assert list(rows) == []
    assert all(viewer.session.tally is None for viewer in viewers)
    assert {viewer.session.bytes_sent for viewer in viewers} == {4}


def test_a_socket_is_written_to_and_what_it_does_not_take_goes_to_its_transport():
    rows = Rows()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        viewer = WORLD.viewer(socket=ours.fileno())
        viewer.place = Place(7, HEADER, 40)
        rows.enter(viewer)
        transport = viewer.transport
        assert isinstance(transport, FakeTransport)
        small = block(data=b"media")
        assert write(rows, small) == []
        assert (theirs.recv(100), transport.writes) == (b"media", [])
        large = os.urandom(8_000_000)
        assert write(rows, block(9, large)) == []
        assert 0 < transport.written < len(large)
        assert large.endswith(transport.data)
        # The transport holds something, or the socket is full: nothing may overtake that.
        transport.kernel = transport.written - 10
        theirs.recv(4_000_000)
        assert write(rows, block(11, b"behind")) == []
        assert transport.writes[-1] == b"behind"
        assert viewer.session.bytes_sent == len(large) + 11


def test_a_socket_that_is_broken_is_left_to_its_transport():
    rows = Rows()
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        viewer = WORLD.viewer(socket=ours.fileno())
        viewer.place = Place(7, HEADER, 40)
        rows.enter(viewer)
        assert write(rows, block()) == []
        assert isinstance(viewer.transport, FakeTransport)
        assert viewer.transport.writes == [b"data"]
        viewer.transport.closing = True
        assert write(rows, block(9)) == [viewer]
