"""The fan-out with transports that take what the test lets them."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.feeds.framed import Framed
from streamserver.hub.stream import LogBounds
from streamserver.outputs.viewer import Viewer
from tests.outputs.helpers_live import AUDIO, FakeTransport, SocketTransport, World, numbers


def fill(world: World, count: int, *, gop: int = 10, size: int = 0) -> None:
    for _ in range(count):
        world.append(keyframe=world.count % gop == 0, size=size)


def got(viewer: Viewer) -> bytes:
    assert isinstance(viewer.transport, FakeTransport)
    return viewer.transport.data


def test_a_new_viewer_gets_greeting_headers_and_the_newest_group_at_once():
    world = World()
    fill(world, 25)
    world.settle()
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.settle()
    assert got(viewer) == b"<hello><mh><vh>[20][21][22][23][24]"
    assert viewer.session.bytes_sent == len(got(viewer))
    assert viewer.session.dropped_frames == 0


def test_without_a_keyframe_it_waits_for_the_next_one_and_counts_no_loss():
    world = World()
    world.append()
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.append()
    world.settle()
    assert got(viewer) == b""
    world.append(keyframe=True)
    world.append()
    world.settle()
    assert numbers(got(viewer)) == [2, 3]
    assert viewer.session.dropped_frames == 0


def test_all_who_are_together_are_handed_the_same_object():
    world = World()
    fill(world, 5)
    viewers = [world.viewer() for _ in range(3)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    for viewer in viewers:
        viewer.transport.writes.clear()  # type: ignore[attr-defined]
    world.append()
    world.append()
    world.settle()
    writes = [viewer.transport.writes for viewer in viewers]  # type: ignore[attr-defined]
    assert writes[0] == [b"[5][6]"]
    assert writes[0][0] is writes[1][0] is writes[2][0]


def test_a_few_viewers_get_everything_as_it_comes_and_many_get_it_joined():
    world = World(max_join_ms=100)
    fill(world, 1)
    world.settle()
    viewers = [world.viewer() for _ in range(8)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    assert world.fan_out.join_ms == 0
    hurried = [world.bodies.hurried]
    for _ in range(3):
        world.append()
        world.settle()
    assert len(viewers[0].transport.writes) == 4  # type: ignore[attr-defined]
    more = [world.viewer() for _ in range(192)]
    for viewer in more:
        world.fan_out.add(viewer)
    world.settle()
    assert world.fan_out.join_ms == 100
    hurried.append(world.bodies.hurried)
    assert hurried == [True, False]
    world.append()
    world.settle()
    joins = world.stats.joins
    for _ in range(4):
        world.append()
        world.pass_ms(20)
    assert world.stats.joins == joins
    world.pass_ms(100)
    assert world.stats.joins == joins + 1
    assert numbers(got(more[-1])) == list(range(9))
    world.fan_out.remove(more[0])
    for _ in range(2000):
        world.fan_out.add(world.viewer())
    assert world.fan_out.join_ms == 100


def many(world: World, count: int = 24) -> list[Viewer]:
    """So many viewers, all of them together; 24 are joined for 40 ms."""
    fill(world, 1)
    viewers = [world.viewer() for _ in range(count)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    world.pass_ms(world.fan_out.join_ms)
    return viewers


def test_between_two_joins_for_many_nothing_wakes_the_fan_out_and_the_timer_keeps_time():
    world = World()
    viewers = many(world)
    assert world.fan_out.join_ms == 40
    world.append()
    world.pass_ms(100)
    before = world.stats.joins
    began_ns = world.clock.now_ns
    for _ in range(50):
        world.append()
        world.settle()
        assert world.stats.joins - before == (world.clock.now_ns - began_ns) // 40_000_000
        assert not world.bodies.hurried
        world.append()
        world.pass_ms(20)
    assert numbers(got(viewers[-1])) == list(range(world.count))


@pytest.mark.parametrize("sealed", [False, True])
def test_the_publisher_is_asked_for_what_it_has_just_before_a_join(sealed: bool):
    world = World()
    viewers = many(world)

    class Asked:
        def hurry(self) -> None:
            """Nobody new comes here."""

        def look(self) -> bool:
            world.append()
            return sealed

    world.bodies.feeder = Asked()
    world.append()
    world.settle()
    for count in range(3, 6):
        while world.count < count:
            world.pass_ms(1)
        assert numbers(got(viewers[0])) == list(range(count))


def test_a_pause_of_the_publisher_holds_nothing_back_and_costs_no_timer():
    world = World()
    viewers = many(world)
    world.append()
    world.pass_ms(41)
    assert numbers(got(viewers[0])) == [0, 1]
    world.append()
    world.pass_ms(41)
    assert numbers(got(viewers[0])) == [0, 1, 2]
    world.pass_ms(500)
    assert world.timers == []
    world.append()
    world.settle()
    assert numbers(got(viewers[0])) == [0, 1, 2, 3]


def test_what_comes_late_for_its_join_waits_for_no_other():
    world = World()
    viewers = many(world)
    world.append()
    world.pass_ms(41)
    assert numbers(got(viewers[0])) == [0, 1]
    world.pass_ms(45)
    world.append()
    world.settle()
    assert numbers(got(viewers[0])) == [0, 1, 2]
    world.append()
    world.pass_ms(39)
    assert numbers(got(viewers[0])) == [0, 1, 2]
    world.pass_ms(1)
    assert numbers(got(viewers[0])) == [0, 1, 2, 3]


def test_the_end_of_a_stream_is_told_to_many_with_the_next_join():
    world = World()
    many(world)
    world.append()
    world.pass_ms(41)
    world.append()
    world.settle()
    world.bodies.close("the publisher stopped")
    world.pass_ms(41)
    assert len(world.ended) == 24
    assert all(numbers(got(viewer)) == [0, 1, 2] for viewer, _, _ in world.ended)


def test_when_many_have_become_few_everything_comes_at_once_again():
    world = World()
    viewers = many(world)
    world.append()
    world.settle()
    for viewer in viewers[8:]:
        world.fan_out.remove(viewer)
    world.pass_ms(41)
    for number in range(2, 5):
        world.append()
        world.settle()
        assert numbers(got(viewers[0])) == list(range(number + 1))
    assert world.bodies.hurried


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 120), st.lists(st.integers(0, 150), min_size=1, max_size=30))
def test_nothing_waits_longer_than_a_join(count, pauses):
    world = World()
    viewer = many(world, count)[0]
    waiting: dict[int, int] = {}
    for pause_ms in pauses:
        waiting[world.count] = world.clock.now_ns
        world.append()
        for _ in range(pause_ms + 1):
            world.settle()
            for number in numbers(got(viewer)):
                came_ns = waiting.pop(number, world.clock.now_ns)
                assert world.clock.now_ns - came_ns <= world.fan_out.join_ms * 1_000_000
            world.pass_ms(1)
    world.pass_ms(world.fan_out.join_ms)
    assert numbers(got(viewer)) == list(range(world.count))


def test_a_large_join_goes_out_in_several_writes():
    world = World()
    fill(world, 1)
    world.settle()
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.settle()
    for _ in range(5):
        world.append(size=100_000)
    world.settle()
    assert [len(w) for w in viewer.transport.writes[1:]] == [200_000, 200_000, 100_000]  # type: ignore[attr-defined]


def test_a_slow_viewer_is_passed_over_then_jumps_to_the_newest_keyframe():
    world = World(max_unsent_bytes=2_000)
    fill(world, 1, size=500)
    slow, quick = world.viewer(FakeTransport(kernel=1_000)), world.viewer()
    world.fan_out.add(slow)
    world.fan_out.add(quick)
    world.settle()
    for _ in range(100):
        fill(world, 1, size=500)
        world.settle()
    assert numbers(got(quick)) == list(range(101))
    assert quick.session.dropped_frames == 0
    held = numbers(got(slow))
    assert held == list(range(len(held)))
    slow.transport.take(10**9)  # type: ignore[attr-defined]
    for _ in range(10):
        fill(world, 1, size=500)
        world.settle()
    seen = numbers(got(slow))
    # More than three seconds behind it went on at keyframe 80, and read all that came since.
    assert seen[len(held) :] == list(range(80, 111))
    assert slow.session.dropped_frames == 80 - len(held)
    assert world.stats.jumps > 0
    # It is together with the others again.
    assert slow.transport.writes[-1] is quick.transport.writes[-1]  # type: ignore[attr-defined]


def test_no_more_waits_in_a_transport_than_the_bound_and_one_write():
    world = World(max_unsent_bytes=3_000)
    fill(world, 1, size=700)
    stalled = world.viewer(FakeTransport(kernel=0))
    world.fan_out.add(stalled)
    world.settle()
    for _ in range(200):
        fill(world, 1, size=700)
        world.settle()
    assert stalled.transport.peak <= 3_000 + 700  # type: ignore[attr-defined]


def test_who_reads_nothing_is_let_go_beyond_the_bound():
    world = World(max_unsent_bytes=1_000, max_lag_ms=5_000)
    fill(world, 1, size=600)
    stalled, quick = world.viewer(FakeTransport(kernel=0)), world.viewer()
    world.fan_out.add(stalled)
    world.fan_out.add(quick)
    world.settle()
    for _ in range(200):
        fill(world, 1, size=600)
        world.pass_ms(40)
    assert [viewer for viewer, _, _ in world.ended] == [stalled]
    _, reason, over = world.ended[0]
    assert reason.startswith("it reads too slowly: 5")
    assert not over
    assert world.stats.too_slow == 1
    assert numbers(got(quick)) == list(range(201))


def test_who_reads_slowly_stays_and_keeps_getting_new_keyframes():
    world = World(max_unsent_bytes=5_000, max_lag_ms=10_000)
    fill(world, 1, gop=25, size=1_000)
    slow = world.viewer(FakeTransport(kernel=0))
    world.fan_out.add(slow)
    for _ in range(3_000):
        fill(world, 1, gop=25, size=1_000)
        slow.transport.take(500)  # type: ignore[attr-defined]
        world.pass_ms(40)
    seen = numbers(got(slow))
    assert world.ended == []
    assert seen == sorted(set(seen))
    assert seen[-1] > 2_900
    assert any(number % 25 == 0 for number in seen[-60:])
    assert abs(len(seen) + slow.session.dropped_frames - seen[-1] - 1) < 3


def test_a_failing_transport_costs_the_others_nothing():
    world = World()
    fill(world, 1)
    bad, good = world.viewer(), world.viewer()
    world.fan_out.add(bad)
    world.fan_out.add(good)
    world.settle()
    bad.transport.fails = True  # type: ignore[attr-defined]
    world.append()
    world.settle()
    world.append()
    world.settle()
    assert numbers(got(good)) == [0, 1, 2]
    assert world.ended == [(bad, "sending to it failed", False)]
    assert world.stats.failed == 1


def test_a_closed_transport_is_noticed_with_the_next_write_or_within_a_second():
    world = World()
    fill(world, 1)
    one, two = world.viewer(), world.viewer()
    world.fan_out.add(one)
    world.fan_out.add(two)
    world.settle()
    one.transport.closing = True  # type: ignore[attr-defined]
    world.append()
    world.settle()
    assert world.ended == [(one, "the connection was lost", False)]
    two.transport.closing = True  # type: ignore[attr-defined]
    world.pass_ms(1_500)
    assert len(world.fan_out) == 0


def test_new_headers_come_in_band_to_all_and_only_once():
    world = World()
    fill(world, 3)
    world.settle()
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.settle()
    world.new_epoch(b"2")
    fill(world, 1, gop=1)
    world.settle()
    late = world.viewer()
    world.fan_out.add(late)
    world.settle()
    assert got(viewer) == b"<hello><mh><vh>[0][1][2]<m2><v2>[3]"
    assert got(late) == b"<hello><m2><v2>[3]"


def test_who_jumps_over_new_headers_gets_them_first():
    world = World(max_unsent_bytes=1_000)
    fill(world, 1, size=600)
    slow = world.viewer(FakeTransport(kernel=0))
    world.fan_out.add(slow)
    world.settle()
    fill(world, 50, size=600)
    world.new_epoch(b"2")
    fill(world, 100, size=600)
    world.settle()
    slow.transport.take(10**9)  # type: ignore[attr-defined]
    fill(world, 1, size=600)
    world.settle()
    newest = world.count - 1 - (world.count - 1) % 10
    data = got(slow)
    assert data.count(b"<hello>") == 1
    assert f"<m2><v2>[{newest}]".encode() in data


def test_a_paused_viewer_gets_nothing_and_goes_on_at_the_newest_keyframe():
    world = World()
    fill(world, 5)
    world.settle()
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.settle()
    world.fan_out.pause(viewer, paused=True)
    fill(world, 20)
    world.settle()
    assert numbers(got(viewer)) == [0, 1, 2, 3, 4]
    world.fan_out.pause(viewer, paused=False)
    fill(world, 1)
    world.settle()
    assert numbers(got(viewer)) == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24, 25]
    assert got(viewer).count(b"<mh>") == 1
    assert viewer.session.dropped_frames == 0


def test_a_viewer_with_a_choice_gets_what_it_chose_and_may_fall_in_again():
    world = World()
    fill(world, 1)
    viewer, other = world.viewer(), world.viewer()
    world.fan_out.add(viewer)
    world.fan_out.add(other)
    world.settle()

    def only_audio(item: Framed) -> bytes | None:
        return item.data if item.kind == AUDIO else None

    world.fan_out.choose(viewer, only_audio)
    world.append()
    world.append(kind=AUDIO)
    world.append()
    world.settle()
    world.fan_out.choose(viewer, None)
    world.append()
    world.settle()
    world.append()
    world.settle()
    assert numbers(got(viewer)) == [0, 2, 4, 5]
    assert viewer.transport.writes[-1] is other.transport.writes[-1]  # type: ignore[attr-defined]
    assert viewer.session.dropped_frames == 0


def test_an_envelope_is_put_around_each_write():
    world = World()
    fill(world, 1)
    viewer = world.viewer(envelope=lambda data: b"{" + data + b"}")
    world.fan_out.add(viewer)
    world.settle()
    world.append()
    world.settle()
    assert got(viewer) == b"{<hello><mh><vh>[0]}{[1]}"


def test_at_the_end_all_get_the_rest_and_are_told():
    world = World(max_unsent_bytes=1_000)
    fill(world, 1, size=600)
    slow, quick = world.viewer(FakeTransport(kernel=0)), world.viewer()
    paused, waiting = world.viewer(), world.viewer()
    for viewer in (slow, quick, paused):
        world.fan_out.add(viewer)
    world.settle()
    world.fan_out.pause(paused, paused=True)
    fill(world, 4, size=600)
    world.bodies.close("the publisher stopped")
    world.settle()
    assert [(v, r, o) for v, r, o in world.ended] == [
        (quick, "the publisher stopped", True),
        (paused, "the publisher stopped", True),
    ]
    assert numbers(got(quick)) == [0, 1, 2, 3, 4]
    slow.transport.take(10**9)  # type: ignore[attr-defined]
    world.pass_ms(500)
    assert numbers(got(slow)) == [0, 1, 2, 3, 4]
    assert world.ended[2] == (slow, "the publisher stopped", True)
    # Whoever comes now is told as well.
    world.fan_out.add(waiting)
    world.pass_ms(500)
    assert world.ended[3][0] is waiting
    assert len(world.fan_out) == 0


def test_who_is_still_behind_long_after_the_end_is_let_go():
    world = World(max_unsent_bytes=1_000, max_lag_ms=600_000)
    fill(world, 1, size=600)
    stalled = world.viewer(FakeTransport(kernel=0))
    world.fan_out.add(stalled)
    world.settle()
    fill(world, 5, size=600)
    world.bodies.close("over")
    world.settle()
    assert world.ended == []
    world.pass_ms(6_000)
    assert world.ended == [(stalled, "over", True)]


def test_a_burst_larger_than_the_log_moves_everyone_to_a_keyframe():
    world = World(LogBounds(12_000, 3_000))
    fill(world, 1, size=200)
    viewer = world.viewer()
    world.fan_out.add(viewer)
    world.settle()
    fill(world, 49, gop=5, size=200)
    world.settle()
    seen = numbers(got(viewer))
    assert seen[0] == 0
    assert seen[1] % 5 == 0
    assert seen[-1] == 49
    assert viewer.session.dropped_frames + world.feed.missed == 50 - len(seen)


def test_a_removed_viewer_is_not_written_to_even_within_a_join():
    world = World(max_join_ms=8)
    fill(world, 1)
    viewers = [world.viewer() for _ in range(32)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    viewers += [world.viewer() for _ in range(8)]
    for viewer in viewers[32:]:
        world.fan_out.add(viewer)
    world.settle()
    # A row fills a turn of the slicer.
    world.look_ns = world.slicer.budget_ns
    world.append()
    world.pass_ms(10)
    for _ in range(100):
        world.turns.run()
    before = [numbers(got(viewer)) for viewer in viewers]
    assert before == [[0, 1]] * 40
    world.append()
    world.clock.advance(s=1)
    while numbers(got(viewers[0])) == [0, 1]:
        world.turns.run()
    for viewer in viewers:
        world.fan_out.remove(viewer)
    world.settle()
    assert [numbers(got(viewer)) for viewer in viewers] == [[0, 1, 2]] * 32 + [[0, 1]] * 8


def test_what_was_sent_is_exact_whoever_asks_even_within_a_join():
    world = World(max_join_ms=8)
    fill(world, 1)
    viewers = [world.viewer() for _ in range(80)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    world.look_ns = world.slicer.budget_ns
    world.append()
    world.clock.advance(s=1)
    unlike = 0
    for _ in range(20):
        world.turns.run()
        assert [viewer.session.bytes_sent for viewer in viewers] == [len(got(v)) for v in viewers]
        unlike += len({len(got(viewer)) for viewer in viewers}) > 1
    assert unlike
    assert world.stats.writes == 80


def test_rows_that_close_up_within_a_join_leave_nobody_behind():
    world = World()
    fill(world, 1)
    viewers = [world.viewer() for _ in range(160)]
    for viewer in viewers:
        world.fan_out.add(viewer)
    world.settle()
    world.pass_ms(500)
    for number, viewer in enumerate(viewers):
        if number % 8:
            world.fan_out.remove(viewer)
    world.look_ns = world.slicer.budget_ns
    world.append()
    world.clock.advance(s=2)
    stays = viewers[::8]
    while not any(1 in numbers(got(viewer)) for viewer in stays):
        world.turns.run()
    assert not all(1 in numbers(got(viewer)) for viewer in stays)
    world.fan_out.tick(world.clock.now_ns)
    world.settle()
    world.look_ns = 0
    for _ in range(3):
        world.append()
        world.pass_ms(1_100)
    assert [numbers(got(viewer)) for viewer in stays] == [list(range(5))] * 20


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 30), st.integers(10, 400)),
    st.tuples(st.just("keyframe"), st.just(0), st.integers(10, 2_000)),
    st.tuples(st.just("join"), st.integers(0, 3_000), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("take"), st.integers(0, 7), st.integers(1, 5_000)),
    st.tuples(st.just("pause"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("close"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("epoch"), st.just(0), st.just(0)),
    st.tuples(st.just("turn"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 600), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_nothing_vanishes_or_comes_twice_but_what_is_counted(steps):
    world = World(LogBounds(4_000, 40_000), max_unsent_bytes=2_000, max_lag_ms=3_000)
    world.append(keyframe=True)
    viewers: list[Viewer] = []
    paused: set[Viewer] = set()
    largest = 0
    for what, a, b in steps:
        at = viewers[a % len(viewers)] if viewers and what != "join" else None
        match what:
            case "append":
                for _ in range(a):
                    largest = max(largest, len(world.append(size=b)))
            case "keyframe":
                largest = max(largest, len(world.append(keyframe=True, size=b)))
            case "join" if len(viewers) < 12:
                viewers.append(world.viewer(FakeTransport(kernel=a)))
                world.fan_out.add(viewers[-1])
            case "leave" if at is not None:
                world.fan_out.remove(at)
            case "take" if at is not None:
                at.transport.take(b)
            case "pause" if at is not None:
                world.fan_out.pause(at, paused=not at.paused)
                paused.add(at)
            case "close" if at is not None:
                at.transport.closing = True
            case "epoch":
                world.new_epoch(b"x")
            case "turn":
                for _ in range(a):
                    world.turns.run()
            case "wait":
                world.pass_ms(a)
    for viewer in viewers:
        viewer.transport.take(10**9)  # type: ignore[attr-defined]
    world.append(keyframe=True)
    world.pass_ms(10_000)
    gone = {viewer for viewer, _, _ in world.ended}
    for viewer in viewers:
        transport = viewer.transport
        assert isinstance(transport, FakeTransport)
        assert viewer.session.bytes_sent == transport.written
        seen = numbers(transport.data)
        assert all(count == 1 for count in Counter(seen).values()) or viewer in paused
        assert transport.peak <= 2_000 + largest + len(b"<hello><mx><vx>")
        if viewer in paused:
            continue
        assert seen == sorted(seen)
        left_out = seen[-1] - seen[0] + 1 - len(seen) if seen else 0
        # Headers in the log count as items too.
        headers = transport.data.count(b"<mx>") + transport.data.count(b"<vx>")
        assert viewer.session.dropped_frames >= left_out or viewer in gone
        if left_out == 0 and not headers:
            assert viewer.session.dropped_frames <= 2 * sum(1 for s in steps if s[0] == "epoch")
        if viewer in world.fan_out._viewers:
            assert seen[-1] == world.count - 1


def socketed(world: World, kernel: int = 4_608) -> tuple[Viewer, SocketTransport]:
    """A viewer with a socket of its own, in the fan-out."""
    transport = SocketTransport(kernel)
    viewer = world.viewer(transport, socket=transport.own())
    world.fan_out.add(viewer)
    world.settle()
    return viewer, transport


def drain(transport: SocketTransport) -> None:
    """The other end reads all."""
    while transport.held:
        transport.take(1 << 20)
        transport.flush()
    transport.take(1 << 20)


def test_a_socket_of_its_own_is_written_to_only_while_the_transport_holds_nothing():
    world = World()
    fill(world, 1)
    world.settle()
    viewer, transport = socketed(world)
    assert transport.writes == 1
    for _ in range(3):
        world.append(size=100)
        world.settle()
    assert transport.writes == 1
    before = world.stats.writes
    world.append(size=100_000)
    world.settle()
    # What was written is one write, whichever way the bytes went.
    assert (transport.writes, world.stats.writes) == (2, before + 1)
    world.append(size=100)
    world.settle()
    assert (transport.writes, world.stats.writes) == (3, before + 1)
    # It goes on with its like, by its transport, until that was seen to be empty.
    world.append(size=100)
    world.settle()
    assert (transport.writes, world.stats.writes) == (4, before + 2)
    drain(transport)
    world.pass_ms(1_100)
    world.append(size=100)
    world.settle()
    assert (transport.writes, world.stats.writes) == (4, before + 3)
    drain(transport)
    assert numbers(bytes(transport.data)) == list(range(8))
    assert viewer.session.bytes_sent == len(transport.data)
    world.fan_out.close()
    transport.close()


def test_an_answer_that_was_left_in_the_transport_is_not_overtaken():
    world = World()
    fill(world, 1)
    world.settle()
    viewer, transport = socketed(world)
    transport.write(b"<a%s>" % (b"," * 100_000))
    assert transport.held
    world.fan_out.part(viewer)
    for _ in range(3):
        # There is room, of which the transport has not heard.
        transport.take(1 << 20)
        world.append(size=100)
        world.pass_ms(300)
    assert transport.held
    drain(transport)
    world.pass_ms(1_100)
    writes = transport.writes
    world.append(size=100)
    world.settle()
    drain(transport)
    assert transport.writes == writes
    answer = transport.data.index(b"<a")
    assert transport.data[answer:].startswith(b"<a%s>[1]" % (b"," * 100_000))
    assert numbers(bytes(transport.data)) == list(range(5))
    world.fan_out.close()
    transport.close()


def test_who_leaves_lets_go_of_its_socket_so_that_the_peer_sees_the_end():
    world = World()
    fill(world, 1)
    viewers = [socketed(world) for _ in range(2)]
    world.fan_out.remove(viewers[0][0])
    world.fan_out.close()
    for viewer, transport in viewers:
        assert viewer.socket is None
        transport.near.close()
        transport.take(1 << 20)
        assert transport.far.recv(1) == b""
        transport.close()


WITH_SOCKETS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 5), st.integers(10, 4_000)),
    st.tuples(st.just("keyframe"), st.just(0), st.integers(10, 9_000)),
    st.tuples(st.just("join"), st.integers(2_000, 20_000), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("take"), st.integers(0, 7), st.integers(1, 20_000)),
    st.tuples(st.just("flush"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("answer"), st.integers(0, 7), st.integers(3, 20_000)),
    st.tuples(st.just("turn"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 600), st.just(0)),
)
TOKENS = re.compile(rb"(?:<hello>|<[mv]h>|<a\d+,*>|\[\d+\]\.*)*")


@settings(max_examples=100, deadline=None)
@given(st.lists(WITH_SOCKETS, max_size=60))
def test_nothing_overtakes_what_a_transport_holds(steps):
    world = World(max_unsent_bytes=20_000)
    world.append(keyframe=True)
    viewers: list[tuple[Viewer, SocketTransport]] = []
    answers = 0
    for what, a, b in steps:
        at = viewers[a % len(viewers)] if viewers and what != "join" else None
        match what:
            case "append":
                for _ in range(a):
                    world.append(size=b)
            case "keyframe":
                world.append(keyframe=True, size=b)
            case "join" if len(viewers) < 4:
                viewers.append(socketed(world, a))
            case "leave" if at is not None:
                world.fan_out.remove(at[0])
            case "take" if at is not None:
                at[1].take(b)
            case "flush" if at is not None:
                at[1].flush()
            case "answer" if at is not None:
                # As an RTMP connection answers its player.
                answers += 1
                at[1].write(b"<a%d%s>" % (answers, b"," * b))
                if at[1].get_write_buffer_size():
                    world.fan_out.part(at[0])
            case "turn":
                for _ in range(a):
                    world.turns.run()
            case "wait":
                world.pass_ms(a)
        world.turns.run()
    world.append(keyframe=True)
    for _ in range(20):
        world.pass_ms(300)
        for _, transport in viewers:
            drain(transport)
    given = b"".join(item.data for item in world.feed.log.since(0))
    assert numbers(given) == list(range(world.count))
    found = 0
    for viewer, transport in viewers:
        assert TOKENS.fullmatch(transport.data)
        said = [int(number) for number in re.findall(rb"<a(\d+)", transport.data)]
        assert said == sorted(said)
        found += len(said)
        media = re.sub(rb"<[^>]*>", b"", transport.data)
        seen = numbers(media)
        assert seen == sorted(set(seen))
        # Each item is whole.
        for item in re.findall(rb"\[\d+\]\.*", media):
            assert item + b"[" in given + b"["
        if viewer in world.fan_out._viewers:
            assert seen[-1] == world.count - 1
    assert found == answers
    world.fan_out.close()
    for _, transport in viewers:
        transport.close()
