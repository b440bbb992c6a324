"""Viewers who are together, without a fan-out."""

import os
from collections.abc import Iterator

import pytest

from streamserver.outputs.blocks import Block
from streamserver.outputs.rows import Row, Rows
from streamserver.outputs.viewer import Place, Viewer
from tests.outputs.helpers_live import SocketTransport, World, header

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


def test_who_is_at_the_same_place_shares_a_row_of_thirty_two():
    rows = Rows()
    enter(rows, 33)
    enter(rows, 2, position=8)
    assert [(row.position, len(row.viewers)) for row in rows] == [(7, 32), (7, 1), (8, 2)]


def test_a_place_that_was_left_is_taken_again():
    rows = Rows()
    viewers = enter(rows, 64)
    rows.leave(viewers[3])
    enter(rows)
    assert [len(row.viewers) for row in rows] == [32, 32]


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
    viewers = enter(rows, 320)
    for number, viewer in enumerate(viewers):
        if number % 8:
            rows.leave(viewer)
    assert len(list(rows)) == 10
    write(rows, block())
    rows.close_up()
    assert [len(row.viewers) for row in rows] == [32, 8]
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


@pytest.fixture
def transport() -> Iterator[SocketTransport]:
    one = SocketTransport(kernel=100_000)
    yield one
    one.close()


def with_socket(rows: Rows, transport: SocketTransport) -> Viewer:
    viewer = WORLD.viewer(transport, socket=transport.own())
    viewer.place = Place(7, HEADER, 40)
    rows.enter(viewer)
    return viewer


def test_what_a_socket_does_not_take_goes_to_its_transport_and_the_viewer_is_out(
    transport: SocketTransport,
):
    rows = Rows()
    viewer = with_socket(rows, transport)
    assert write(rows, block(data=b"media")) == []
    assert (transport.writes, viewer.place.position) == (0, 9)
    large = os.urandom(8_000_000)
    assert write(rows, block(9, large)) == [viewer]
    assert 0 < transport.get_write_buffer_size() < len(large)
    # It has all of it, and is where the next block begins.
    assert (viewer.place.position, viewer.session.bytes_sent) == (11, len(large) + 5)
    assert list(rows) == []
    while transport.held:
        transport.take(1 << 30)
        transport.flush()
    transport.take(1 << 30)
    assert transport.data == b"media" + large
    viewer.close_socket()


def test_a_socket_that_takes_nothing_leaves_all_to_its_transport(transport: SocketTransport):
    rows = Rows()
    viewer = with_socket(rows, transport)
    while True:
        try:
            transport.near.send(b"x" * 1_000)
        except BlockingIOError:
            break
    assert write(rows, block()) == [viewer]
    assert transport.held == b"data"
    viewer.close_socket()


def test_a_socket_that_is_broken_is_left_to_its_transport(transport: SocketTransport):
    rows = Rows()
    viewer = with_socket(rows, transport)
    transport.far.close()
    failed = [error for row in rows for _, error in rows.write(row, block(), 1_000)]
    assert [type(error) for error in failed] == [BrokenPipeError]
    viewer.close_socket()


def test_of_a_connection_that_is_closing_only_its_own_socket_is_written_to(
    transport: SocketTransport,
):
    rows = Rows()
    viewer = with_socket(rows, transport)
    transport.closing = True
    assert write(rows, block()) == []
    transport.far.close()
    assert write(rows, block(9)) == [viewer]
    viewer.close_socket()


def test_who_has_a_socket_of_its_own_sits_elsewhere(transport: SocketTransport):
    rows = Rows()
    (plain,) = enter(rows)
    viewer = with_socket(rows, transport)
    assert [row.viewers for row in rows] == [[plain], [viewer]]
    assert write(rows, block()) == []
    transport.take(100)
    assert transport.data == b"data"
    assert plain.session.bytes_sent == viewer.session.bytes_sent == 4
    viewer.close_socket()
