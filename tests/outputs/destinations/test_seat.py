"""Destinations that are level, over real sockets of which the test says when they are read."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.clock import SystemClock
from streamserver.feeds.body import Body, Header
from streamserver.log import Log
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.outputs.destinations.progress import Progress
from streamserver.outputs.destinations.runs import SharedRuns
from streamserver.outputs.destinations.seat import Ready, Seat, write_all
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.message import AUDIO, PING_REQUEST, VIDEO, Message, user_control
from tests.fakes import Turns, audio_track, video_track
from tests.outputs.helpers_live import SocketTransport
from tests.rtmp.pair import Pair, client_settings

ROOM = 20_000
BOTH = (VIDEO, AUDIO)
PING = ChunkEncoder().encode(user_control(PING_REQUEST, 1), 2)


def header(tag: bytes) -> Header:
    return Header((video_track(), audio_track()), ((VIDEO, b"vh" + tag), (AUDIO, b"ah" + tag)))


class Far(FarConnection):
    """A connection whose far side has agreed."""

    def __init__(self, session: ClientSession, transport: SocketTransport) -> None:
        super().__init__(client_settings(), SystemClock(), ROOM)
        self._session = session
        self._transport = transport  # type: ignore[assignment]  # has all that a FarConnection asks of one


class Member:
    """One destination, as `Sending` sends, and its far side."""

    def __init__(self, log: Log[Body], runs: SharedRuns, kernel: int, sealed: bool) -> None:
        self.pair = Pair().pump()
        self.session = self.pair.client
        self.transport = SocketTransport(kernel)
        self.connection = Far(self.session, self.transport)
        self.runs = runs
        self.sender = Sender(log, self.session, max_lag_ms=10**9, runs=runs)
        self.progress = Progress()
        self.progress.begin(0, 0)
        self.progress.look(acked_bytes=1, pending_bytes=1, total_bytes=1, now_ns=0)
        self.failed: list[Exception] = []
        self.seat = Seat(
            self.sender, self.session, self.connection, self.progress,
            None if sealed else self.transport.own(), self.failed.append,
        )  # fmt: skip
        self.connection.on_held = self.seat.leave
        self.first: int | None = None
        """Where in the log it began."""

    def write(self, ready: list[Ready] | None) -> None:
        if self.seat.follow(self.runs.line, ready):
            return
        while self.sender.pump(ROOM - self.connection.unsent_bytes):
            self.connection.flush()
            self.progress.wrote(self.session.bytes_sent, self.sender.sent_ms)

    def waits(self) -> bool:
        """Whether its sender has something to send, as far as it knows."""
        return self.sender.behind

    def ping(self) -> None:
        self.session.receive(PING, 0)
        self.connection.flush()

    def room(self) -> None:
        """The loop sees that the transport's socket has room."""
        self.transport.flush()
        if self.sender.behind and not self.seat.taken:
            self.write(None)

    def read(self, size: int) -> None:
        self.transport.take(size)
        data = bytes(self.transport.data)
        self.transport.data.clear()
        self.pair.server.receive(data, 0)
        self.pair._server_events()

    def read_all(self) -> None:
        while True:
            self.room()
            before = self.transport.held[:]
            self.read(1 << 20)
            if not before:
                return

    @property
    def media(self) -> list[tuple[int, int, bytes]]:
        return [
            (one.type_id, one.timestamp, one.body)
            for one in self.pair.sent(Message)
            if one.body[:2] not in (b"vh", b"ah")
        ]

    def close(self) -> None:
        self.seat.close()
        self.transport.close()


class World:
    """A log, and who sends it in rounds."""

    def __init__(self) -> None:
        self.log: Log[Body] = Log(max_ms=10**9, max_bytes=1 << 26, schedule=Turns())
        self.runs = SharedRuns(self.log)
        self.members: list[Member] = []
        self.header = header(b"1")
        self.ms = 0
        self._number = itertools.count()

    def join(self, kernel: int = 1 << 20, *, sealed: bool = False) -> Member:
        member = Member(self.log, self.runs, kernel, sealed)
        newest = self.log.newest_keyframe
        member.first = self.log.end if newest is None else newest
        member.write(None)
        self.members.append(member)
        return member

    def come(self, *sizes: int, key: bool = False, kinds: Sequence[int] = BOTH) -> None:
        """Pictures of such sizes, and some sound."""
        for size in sizes:
            for kind in kinds:
                is_key = key and kind == VIDEO
                data = (b"%d@%d" % (kind, self.ms)).ljust(size if kind == VIDEO else 0, b".")
                body = Body(kind, self.ms, data, is_key, self.header, True)
                self.log.append(body, size=len(data), at_ms=self.ms, keyframe=is_key)
                self.ms += 7
            key = False

    def round(self) -> None:
        ready: list[Ready] = []
        number = next(self._number)
        for member in self.members:
            if self.runs.round != number:
                self.runs.next_round(number, lambda: None)
            member.write(ready)
        write_all(ready)

    def miss(self) -> None:
        """A round in which nobody has a turn."""
        self.runs.next_round(next(self._number), lambda: None)

    def check(self) -> None:
        """Everything arrived, in order, once, at its time."""
        for member in self.members:
            assert member.first is not None
            items = self.log.since(member.first)
            origin_ms = items[0].time_ms if items else 0
            assert member.media == [(one.kind, one.time_ms - origin_ms, one.data) for one in items]
            assert not member.failed
            assert member.sender.sent_ms == (items[-1].time_ms if items else 0)
            assert member.session.bytes_sent > sum(len(one.data) for one in items)

    def close(self) -> None:
        for member in self.members:
            member.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def level(world: World, *members: Member) -> None:
    """Some rounds, until these are level."""
    for _ in range(2):
        world.come(900, 900)
        world.round()
    assert all(member.seat.taken for member in members)


def begun(world: World, **options: Any) -> Member:
    world.come(1_000, key=True)
    world.round()
    return world.join(**options)


def finish(world: World) -> None:
    for _ in range(3):
        for member in world.members:
            member.read_all()
        world.round()
    for member in world.members:
        member.read_all()
        member.seat.settle()
    world.check()


def test_who_is_level_is_written_to_past_its_transport_and_told_when_it_asks(world: World):
    one = begun(world)
    two = world.join()
    level(world, one, two)
    one.seat.settle()
    writes, sent, position_ms = one.transport.writes, one.session.bytes_sent, one.sender.sent_ms
    for _ in range(3):
        world.come(500)
        world.round()
    assert (one.transport.writes, one.session.bytes_sent) == (writes, sent)
    assert one.sender.sent_ms == position_ms
    one.seat.settle()
    assert one.sender.sent_ms == world.ms - 7
    assert one.session.bytes_sent > sent + 1_500
    one.read_all()
    total = one.session.bytes_sent
    # The three rounds have marks of their own: two thirds of it have not arrived.
    waiting = one.progress.queued_ms(total, total - sent - 600, one.sender.newest_ms)
    assert 14 <= waiting < 42
    finish(world)


def test_a_far_side_that_takes_less_goes_on_over_its_transport_and_comes_back(world: World):
    slow, fast = begun(world, kernel=4_608), world.join()
    slow.read_all()
    level(world, slow, fast)
    world.come(9_000, 9_000)
    world.round()
    assert slow.transport.held
    assert not slow.seat.taken
    assert fast.seat.taken
    # What comes meanwhile waits behind it, and not in the transport beyond its bound.
    for _ in range(5):
        world.come(9_000)
        world.round()
    assert len(slow.transport.held) < ROOM + 9_100
    assert slow.waits()
    for _ in range(20):
        slow.read_all()
    assert not slow.waits()
    level(world, slow, fast)
    finish(world)


def test_what_is_longer_than_one_write_is_read_on_where_the_kernel_stopped(world: World):
    slow = begun(world, kernel=4_608)
    level(world, slow)
    world.come(*[60_000] * 5)
    world.round()
    assert len(world.runs.line.pieces) > 2
    assert not slow.seat.taken
    # One piece is in the transport, and no more: the rest can still be passed over.
    assert len(slow.transport.held) < 120 * 1024
    assert slow.waits()
    for _ in range(100):
        slow.read_all()
    finish(world)


def test_over_tls_it_sits_while_its_transport_holds_nothing(world: World):
    one = begun(world, kernel=4_608, sealed=True)
    one.read_all()
    level(world, one)
    writes, sent = one.transport.writes, one.session.bytes_sent
    world.come(500)
    world.round()
    assert (one.transport.writes, one.session.bytes_sent) == (writes + 1, sent)
    world.come(60_000)
    world.round()
    held = len(one.transport.held)
    assert (held > 0, one.seat.taken) == (True, True)
    world.come(60_000)
    world.round()
    assert (len(one.transport.held), one.seat.taken) == (held, False)
    one.read_all()
    level(world, one)
    # More than one piece is for the sender, who knows how much may wait.
    world.come(*[60_000] * 5)
    world.round()
    assert len(one.transport.held) < 120 * 1024
    for _ in range(100):
        one.read_all()
    finish(world)


def test_an_answer_that_is_left_in_the_transport_is_not_overtaken(world: World):
    one = begun(world, kernel=4_608)
    one.read_all()
    level(world, one)
    world.come(*[100] * 3)
    while not one.transport.held:
        one.ping()
    assert not one.seat.taken
    finish(world)


def test_a_new_header_is_sent_by_each_and_then_all_are_level_again(world: World):
    one, two = begun(world), world.join()
    level(world, one, two)
    world.header = header(b"2")
    world.come(700, key=True)
    world.round()
    assert not one.seat.taken
    level(world, one, two)
    finish(world)
    assert sum(message.body == b"vh2" for message in one.pair.sent(Message)) == 1


def test_who_was_never_sent_a_kind_of_message_is_not_level_with_those_who_were(world: World):
    one = begun(world)
    level(world, one)
    world.come(900, key=True, kinds=[VIDEO])
    late = world.join()
    for _ in range(3):
        world.come(300, kinds=[VIDEO])
        world.round()
    assert [member.seat.taken for member in world.members] == [True, False]
    for kinds in (BOTH, [VIDEO], BOTH):
        world.come(300, kinds=kinds)
        world.round()
    assert late.seat.taken
    finish(world)


def test_a_message_that_repeats_the_one_before_is_not_taken_for_it(world: World):
    one = begun(world)
    level(world, one)
    one.seat.leave()
    for _ in range(2):
        world.come(0, kinds=[AUDIO])
        world.ms -= 7
    world.miss()
    assert one.sender.pump(1)
    one.connection.flush()
    assert one.waits()
    world.ms += 7
    world.come(500)
    world.round()
    finish(world)


def test_who_missed_a_round_goes_on_by_itself(world: World):
    one = begun(world)
    level(world, one)
    world.come(500)
    world.miss()
    world.come(500)
    world.round()
    finish(world)


def test_nobody_sits_down_before_something_arrived(world: World):
    one = begun(world)
    one.progress.confirmed = False
    for _ in range(3):
        world.come(500)
        world.round()
    assert not one.seat.taken


@pytest.mark.parametrize("more", [True, False])
def test_the_end_of_the_log_is_seen_by_who_is_level(world: World, more: bool):
    one = begun(world)
    level(world, one)
    if more:
        world.come(700)
    world.log.close("over")
    for _ in range(2):
        world.round()
    # Whoever sits is not asked whether he is done.
    assert not one.seat.taken
    assert one.sender.done
    finish(world)


def test_a_closed_connection_costs_nobody_else_anything(world: World):
    gone, one = begun(world), world.join()
    level(world, gone, one)
    world.members.remove(gone)
    gone.transport.far.close()
    gone.transport.closing = True
    ready: list[Ready] = []
    world.come(700)
    world.runs.next_round(100, lambda: None)
    assert gone.seat.follow(world.runs.line, ready)
    assert one.seat.follow(world.runs.line, ready)
    write_all(ready)
    assert not gone.seat.taken
    assert not gone.failed
    assert one.seat.taken
    gone.close()
    finish(world)


def test_a_transport_that_throws_is_not_written_to_again_and_costs_nobody_else_anything(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    bad, one = begun(world, sealed=True), world.join()
    level(world, bad, one)
    thrown = []

    def throw(data: bytes) -> None:
        thrown.append(data)
        raise RuntimeError("no")

    monkeypatch.setattr(bad.transport, "write", throw)
    world.come(700)
    world.round()
    assert len(thrown) == 1
    assert [str(error) for error in bad.failed] == ["no"]
    assert one.seat.taken
    bad.close()
    world.members.remove(bad)
    finish(world)


def test_outside_of_a_turn_nobody_sits_down(world: World):
    one = begun(world)
    world.come(500)
    world.runs.next_round(50, lambda: None)
    assert not one.seat.follow(world.runs.line, None)
    assert not one.seat.taken


ACTIONS = st.one_of(
    st.tuples(
        st.just("come"),
        st.lists(st.integers(20, 9_000), min_size=1, max_size=4),
        st.booleans(),
        st.sampled_from([BOTH, BOTH, (VIDEO,), (AUDIO,)]),
    ),
    st.tuples(st.just("miss")),
    st.tuples(st.just("round")),
    st.tuples(st.just("round")),
    st.tuples(st.just("take"), st.integers(0, 3), st.integers(1, 30_000)),
    st.tuples(st.just("room"), st.integers(0, 3)),
    st.tuples(st.just("ping"), st.integers(0, 3)),
    st.tuples(st.just("settle"), st.integers(0, 3)),
    st.tuples(st.just("join"), st.sampled_from([4_608, 20_000, 1 << 20]), st.booleans()),
    st.tuples(st.just("header"), st.binary(min_size=1, max_size=1)),
)  # fmt: skip


@given(st.lists(ACTIONS, max_size=60))
def test_whatever_happens_everybody_gets_everything_in_order_once(actions):
    world = World()
    try:
        begun(world)
        for name, *values in actions:
            member = world.members[values[0] % len(world.members)] if name in WITH_MEMBER else None
            match name:
                case "come":
                    world.come(*values[0], key=values[1], kinds=values[2])
                case "miss":
                    world.miss()
                case "round":
                    world.round()
                case "join" if len(world.members) < 4:
                    world.join(values[0], sealed=values[1])
                case "header":
                    world.header = header(values[0])
                    world.come(100, key=True)
            if member is not None:
                match name:
                    case "take":
                        member.read(values[1])
                    case "room":
                        member.room()
                    case "ping":
                        member.ping()
                    case "settle":
                        member.seat.settle()
        for _ in range(200):
            if not any(one.transport.held or one.waits() for one in world.members):
                break
            for one in world.members:
                one.read_all()
            world.round()
        finish(world)
    finally:
        world.close()


WITH_MEMBER = {"take", "room", "ping", "settle"}
