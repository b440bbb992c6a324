from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError
from streamserver.log import Log
from tests.fakes import Turns


def make(max_ms: int = 10_000, max_bytes: int = 10_000, first: int = 0) -> tuple[Log[str], Turns]:
    turns = Turns()
    return Log(max_ms=max_ms, max_bytes=max_bytes, schedule=turns, first=first), turns


def test_positions_begin_where_told_and_grow_by_one():
    log, _ = make(first=7)
    assert [log.append(c, size=1, at_ms=0) for c in "abc"] == [7, 8, 9]
    assert (log.start, log.end) == (7, 10)
    assert log.get(8) == "b"
    assert log.get(6) is None
    assert log.get(10) is None


def test_the_byte_bound_evicts_from_the_head():
    log, _ = make(max_bytes=10)
    for index in range(5):
        log.append(str(index), size=4, at_ms=index)
    assert log.bytes <= 10
    assert log.since(0) == ["3", "4"]
    assert log.evicted == 3


def test_the_time_bound_evicts_from_the_head():
    log, _ = make(max_ms=100)
    for at_ms in (0, 50, 120, 260):
        log.append(str(at_ms), size=1, at_ms=at_ms)
    assert log.since(0) == ["260"]


def test_an_item_larger_than_the_bound_is_still_delivered():
    log, _ = make(max_bytes=10)
    log.append("small", size=1, at_ms=0)
    log.append("large", size=1000, at_ms=0)
    assert log.since(0) == ["large"]


def test_a_group_larger_than_the_bound_loses_its_keyframe():
    log, _ = make(max_bytes=10)
    log.append("key", size=4, at_ms=0, keyframe=True)
    for index in range(4):
        log.append(str(index), size=4, at_ms=index)
    assert log.newest_keyframe is None


def test_keyframes_are_found_before_and_after_a_position():
    log, _ = make()
    for index in range(9):
        log.append(str(index), size=1, at_ms=0, keyframe=index % 3 == 0)
    assert log.newest_keyframe == 6
    assert log.keyframe_before(5) == 3
    assert log.keyframe_before(6) == 6
    assert log.keyframe_after(4) == 6
    assert log.keyframe_after(7) is None


def test_a_burst_wakes_each_waker_once():
    log, turns = make()
    woken: list[int] = []
    off = log.wake(lambda: woken.append(log.end))
    for index in range(5):
        log.append(str(index), size=1, at_ms=0)
    turns.run()
    assert woken == [5]
    off()
    log.append("x", size=1, at_ms=0)
    turns.run()
    assert woken == [5]


def test_a_waker_is_spared_what_comes_before_its_time_but_for_keyframes_and_large_items():
    log, turns = make(max_bytes=10_000_000)
    woken: list[int] = []
    until = [100]
    off = log.wake(lambda: woken.append(log.end), quiet_until_ms=lambda: until[0])
    for at_ms, size, keyframe in (
        (0, 1, False),  # the first append always wakes: the time is asked after a wake
        (99, 1, False),
        (100, 1, False),
        (50, 1, False),
        (50, 1, True),
        (50, 500_000, False),
    ):
        log.append("x", size=size, at_ms=at_ms, keyframe=keyframe)
        turns.run()
    assert woken == [1, 3, 5, 6]
    everything = log.wake(lambda: None)
    log.append("x", size=1, at_ms=0)
    turns.run()
    log.append("x", size=1, at_ms=0)
    turns.run()
    # Who wants to hear of everything is heard before who wants quiet.
    assert woken == [1, 3, 5, 6, 7, 8]
    everything()
    off()
    log.append("x", size=1, at_ms=1_000)
    assert turns.run() == 0


def test_closing_wakes_and_forbids_appending():
    log, turns = make()
    woken: list[str | None] = []
    log.wake(lambda: woken.append(log.closed))
    log.close("over")
    log.close("again")
    turns.run()
    assert woken == ["over"]
    with pytest.raises(LocalProtocolError, match="over"):
        log.append("x", size=1, at_ms=0)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 40), st.booleans()), min_size=1, max_size=1200
    )
)
def test_whatever_is_appended_bounds_hold_and_nothing_is_reordered(items):
    log, _ = make(max_ms=200, max_bytes=300)
    at_ms = 0
    for index, (size, step, keyframe) in enumerate(items):
        at_ms += step
        assert log.append(str(index), size=size, at_ms=at_ms, keyframe=keyframe) == index
        held = log.since(0)
        assert held == [str(i) for i in range(log.start, log.end)]
        assert log.end == index + 1
        assert log.bytes == log.size_between(log.start, log.end)
        assert log.bytes <= 300
        assert log.span_ms <= 200
        newest = log.newest_keyframe
        assert newest is None or log.start <= newest < log.end
    assert log.evicted + log.end - log.start == len(items)


def state(log: Log[str]) -> tuple[object, ...]:
    return (
        *(log.start, log.end, log.bytes, log.span_ms, log.evicted),
        *(log.newest_keyframe, log.keyframe_before(log.end), log.keyframe_after(log.start)),
        *(log.since(0), log.size_between(log.start, log.end), log.age_ms(log.start)),
    )


_ITEM = st.tuples(
    st.one_of(st.integers(0, 60), st.sampled_from([299, 301, 300_000])),
    st.one_of(st.integers(-10, 40), st.just(150)),
    st.sampled_from([False, False, True]),
)


@given(st.lists(st.lists(_ITEM, max_size=40), max_size=30), st.integers(-50, 1_000))
def test_a_run_does_what_the_same_items_do_one_by_one(runs, quiet_ms):
    (one, turns_of_one), (many, turns_of_many) = (
        make(max_ms=200, max_bytes=300, first=5) for _ in range(2)
    )
    woken: list[list[int]] = [[], []]
    for log, calls in ((one, woken[0]), (many, woken[1])):
        log.wake(partial(_note_end, log, calls), quiet_until_ms=partial(_end_times, log, quiet_ms))
    at_ms = count = 0
    for run in runs:
        names, times = [], []
        for size, step, keyframe in run:
            at_ms += step
            times.append(at_ms)
            names.append(str(count))
            one.append(str(count), size=size, at_ms=at_ms, keyframe=keyframe)
            count += 1
        many.extend(
            names,
            sizes=[size for size, _, _ in run],
            at_ms=times,
            keyframes=[index for index, (_, _, keyframe) in enumerate(run) if keyframe],
        )
        assert state(one) == state(many)
        turns_of_one.run()
        turns_of_many.run()
        assert woken[0] == woken[1]


def _end_times(log: Log[str], factor: int) -> int:
    return log.end * factor // 20


def _note_end(log: Log[str], calls: list[int]) -> None:
    calls.append(log.end)


def test_a_long_run_holds_no_more_than_its_bounds_and_lets_go_of_the_rest():
    log, _ = make(max_bytes=100)
    items = [str(index) for index in range(2_000)]
    log.extend(items, sizes=[30] * 2_000, at_ms=[0] * 2_000, keyframes=[0, 1_998])
    assert log.since(0) == ["1997", "1998", "1999"]
    assert (log.bytes, log.evicted) == (90, 1_997)
    assert log.keyframe_after(0) == log.newest_keyframe == 1_998


def test_a_closed_log_takes_no_run_either():
    log, _ = make()
    log.close("over")
    log.extend([], sizes=[], at_ms=[])
    with pytest.raises(LocalProtocolError, match="over"):
        log.extend(["x"], sizes=[1], at_ms=[0])
