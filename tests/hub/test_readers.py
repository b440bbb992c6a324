from hypothesis import given
from hypothesis import strategies as st

from streamserver.hub.readers import Reader
from streamserver.log import Log
from tests.fakes import Turns


def make(max_ms: int = 10_000, max_bytes: int = 100_000) -> Log[int]:
    return Log(max_ms=max_ms, max_bytes=max_bytes, schedule=Turns())


def fill(log: Log[int], count: int, *, gop: int = 10, size: int = 10, step_ms: int = 40) -> None:
    for _ in range(count):
        index = log.end
        log.append(index, size=size, at_ms=index * step_ms, keyframe=index % gop == 0)


def test_a_new_reader_begins_at_the_newest_keyframe():
    log = make()
    fill(log, 25)
    assert Reader(log, max_lag_ms=5000).read(room_bytes=10_000) == [20, 21, 22, 23, 24]


def test_without_a_keyframe_it_waits_for_the_next_one():
    log = make()
    log.append(0, size=1, at_ms=0)
    reader = Reader(log, max_lag_ms=5000)
    assert reader.waits_for_keyframe
    log.append(1, size=1, at_ms=1)
    assert reader.read(room_bytes=100) == []
    log.append(2, size=1, at_ms=2, keyframe=True)
    log.append(3, size=1, at_ms=3)
    assert reader.read(room_bytes=100) == [2, 3]
    assert reader.skipped == 1


def test_a_full_transport_stops_it_within_one_item():
    log = make()
    fill(log, 10)
    reader = Reader(log, max_lag_ms=5000)
    assert reader.read(room_bytes=25) == [0, 1, 2]
    assert reader.read(room_bytes=0) == []
    assert reader.read(room_bytes=1) == [3]


def test_a_reader_that_lags_jumps_to_the_newest_keyframe_and_counts_what_it_skips():
    log = make()
    fill(log, 10)
    reader = Reader(log, max_lag_ms=1000)
    reader.read(room_bytes=1)
    fill(log, 45)
    assert reader.read(room_bytes=10_000) == [50, 51, 52, 53, 54]
    assert (reader.skipped, reader.jumps) == (49, 1)


def test_without_a_newer_keyframe_it_reads_on_however_late():
    log = make()
    fill(log, 60, gop=1000)
    reader = Reader(log, max_lag_ms=100)
    assert reader.read(room_bytes=15) == [0, 1]
    assert reader.lag_ms == 57 * 40


def test_what_was_evicted_before_it_was_read_is_counted():
    log = make(max_bytes=100)
    fill(log, 5, gop=1000)
    reader = Reader(log, max_lag_ms=100_000)
    reader.read(room_bytes=15)
    fill(log, 30, gop=1000)
    assert reader.read(room_bytes=1000) == []
    assert reader.waits_for_keyframe
    assert reader.skipped == 33


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 60), st.booleans()),
            st.tuples(st.just("read"), st.integers(0, 200), st.just(False)),
            st.tuples(st.just("stall"), st.integers(1, 300), st.just(False)),
            st.tuples(st.just("skip"), st.just(0), st.just(False)),
        ),
        max_size=300,
    )
)
def test_everything_is_delivered_or_counted_once_and_in_order(steps):
    log = make(max_ms=400, max_bytes=600)
    log.append(0, size=1, at_ms=0, keyframe=True)
    reader = Reader(log, max_lag_ms=200)
    at_ms = 0
    seen: list[int] = []
    jumped = False
    for what, amount, keyframe in steps:
        if what == "append":
            at_ms += 10
            log.append(log.end, size=amount, at_ms=at_ms, keyframe=keyframe)
        elif what == "stall":
            at_ms += amount
        elif what == "skip":
            reader.skip_to_keyframe()
            jumped = True
        else:
            before = reader.position
            batch = reader.read(room_bytes=amount)
            if batch and batch[0] != before:
                jumped = True
            if batch:
                # The bound on the transport holds to within the item that crosses it.
                assert log.size_between(batch[0], batch[-1]) < amount
            seen.extend(batch)
        assert reader.position <= max(log.end, reader.position)
        assert reader.delivered + reader.skipped == reader.position
    assert seen == sorted(set(seen))
    assert len(seen) == reader.delivered
    if not jumped and not reader.skipped:
        assert seen == list(range(len(seen)))
