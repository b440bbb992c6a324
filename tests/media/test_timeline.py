"""The time line: whatever a publisher's clock does, the log's runs forward and in sync."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media.timeline import (
    HEAD_ROOM_MS,
    Stamp,
    Timeline,
    ms_to_ticks,
    rescale,
)
from streamserver.media.track import Kind

V, A = Kind.VIDEO, Kind.AUDIO


class Publisher:
    """Feeds a time line; arrival follows ``now_ms``."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.now_ms = 5_000

    def send(self, kind: Kind, wire_ms: int) -> Stamp | None:
        return self.timeline.stamp(kind, wire_ms & 0xFFFF_FFFF, self.now_ms * 1_000_000)

    def at(self, kind: Kind, wire_ms: int) -> int | None:
        stamp = self.send(kind, wire_ms)
        return stamp.time_ms if stamp else None


def test_the_first_packet_has_the_head_room_wherever_the_clock_stands():
    for first in (0, 77, 3_000_000_000):
        assert Publisher().send(V, first) == Stamp(HEAD_ROOM_MS, False)


def test_a_late_track_that_begins_earlier_keeps_its_place():
    publisher = Publisher()
    assert publisher.at(A, 10_500) == 1000
    assert publisher.at(V, 9_600) == 100
    assert publisher.at(A, 10_523) == 1023
    assert publisher.timeline.clamped == publisher.timeline.dropped == 0


@pytest.mark.parametrize("bits", [31, 32])
def test_the_clock_wraps(bits):
    publisher = Publisher()
    start = (1 << bits) - 50
    for step in range(0, 200, 10):
        kind = V if step % 20 else A
        assert publisher.at(kind, (start + step) % (1 << bits)) == 1000 + step
    assert publisher.timeline.jumps == 0


@pytest.mark.parametrize("bits", [31, 32])
def test_tracks_interleave_over_the_wrap(bits):
    publisher = Publisher()
    top = 1 << bits
    assert publisher.at(V, top - 20) == 1000
    assert publisher.at(A, top - 30) == 990
    assert publisher.at(V, 13) == 1033
    assert publisher.at(A, top - 7) == 1013
    assert publisher.at(A, 16) == 1036
    assert publisher.timeline.jumps == 0


def test_the_middle_of_the_range_is_no_wrap_for_a_clock_of_32_bits():
    publisher = Publisher()
    middle = 1 << 31
    assert [publisher.at(V, middle + step) for step in (-20, -10, 0, 10)] == [
        1000,
        1010,
        1020,
        1030,
    ]


def test_a_small_step_back_is_clamped_and_counted():
    publisher = Publisher()
    publisher.send(V, 0)
    assert publisher.at(V, 100) == 1100
    assert publisher.at(V, 60) == 1100
    assert publisher.at(V, 133) == 1133
    assert publisher.timeline.clamped == 1


def test_a_silent_track_that_resumes_is_no_jump():
    publisher = Publisher()
    publisher.send(A, 0)
    for time in range(0, 60_000, 100):
        publisher.send(V, time)
    assert publisher.send(A, 59_950) == Stamp(60_950, False)
    assert publisher.timeline.jumps == 0


def test_a_loop_of_the_encoder_begins_an_epoch_at_the_end_of_the_log():
    publisher = Publisher()
    for time in range(0, 20_000, 40):
        publisher.now_ms = 5_000 + time
        publisher.send(V, time)
        publisher.send(A, time)
    publisher.now_ms = 5_000 + 20_000
    assert publisher.send(V, 0) == Stamp(21_000, True)
    assert publisher.send(A, 0) == Stamp(21_000, False)
    assert publisher.send(V, 40) == Stamp(21_040, False)
    assert publisher.timeline.jumps == 1


def test_a_clock_far_ahead_begins_an_epoch_at_its_arrival():
    publisher = Publisher()
    publisher.send(V, 0)
    publisher.now_ms += 30_000
    assert publisher.send(V, 1_000_000) == Stamp(31_000, True)


def test_ten_seconds_without_media_are_no_jump():
    publisher = Publisher()
    publisher.send(V, 0)
    assert publisher.send(V, 10_000) == Stamp(11_000, False)


def test_leftovers_of_the_old_clock_are_dropped_until_their_track_jumps():
    publisher = Publisher()
    for time in range(60_000, 61_000, 20):
        publisher.send(V, time)
        publisher.send(A, time)
    assert publisher.send(V, 0) == Stamp(2_000, True)
    assert publisher.send(A, 61_000) is None
    assert publisher.send(A, 61_020) is None
    assert publisher.send(V, 20) == Stamp(2_020, False)
    assert publisher.send(A, 0) == Stamp(2_000, False)
    assert publisher.timeline.dropped == 2
    assert publisher.timeline.jumps == 1


def test_leftovers_near_the_new_clock_are_dropped_too():
    publisher = Publisher()
    for time in range(60_000, 61_000, 20):
        publisher.send(V, time)
        publisher.send(A, time)
    assert publisher.send(V, 56_000) == Stamp(2_000, True)
    assert publisher.send(A, 61_000) is None
    assert publisher.send(A, 56_010) == Stamp(2_010, False)


def test_audio_before_the_start_of_an_epoch_is_dropped_and_video_moved_to_it():
    publisher = Publisher()
    publisher.send(V, 100_000)
    publisher.send(A, 100_000)
    assert publisher.send(A, 500) == Stamp(1_001, True)
    assert publisher.send(V, 400) == Stamp(1_001, False)
    assert publisher.send(V, 533) == Stamp(1_034, False)
    assert publisher.timeline.clamped == 1

    publisher = Publisher()
    publisher.send(V, 100_000)
    publisher.send(A, 100_000)
    assert publisher.send(V, 500) == Stamp(1_001, True)
    assert publisher.send(A, 480) is None
    assert publisher.send(A, 503) == Stamp(1_004, False)


def test_tracks_that_always_differ_by_seconds_do_not_flip_flop():
    publisher = Publisher()
    times = []
    for step in range(0, 10_000, 20):
        publisher.now_ms = 5_000 + step
        publisher.send(A, 5_000 + step)
        times.append(publisher.at(V, step))
    assert publisher.timeline.jumps == 1
    assert None not in times
    # Sound is lost for the second in which it could have been a leftover, then has its offset.
    assert publisher.timeline.dropped <= 52
    sound, picture = publisher.at(A, 15_000), publisher.at(V, 10_000)
    assert sound is not None
    assert picture is not None
    assert sound - picture == 5_000


def test_a_track_of_a_hopelessly_different_clock_is_dropped_and_time_runs_on():
    publisher = Publisher()
    for step in range(0, 20_000, 20):
        publisher.now_ms = 5_000 + step
        publisher.send(A, 1_000_000_000 + step)
        publisher.send(V, step)
    assert publisher.timeline.jumps == 1
    assert publisher.timeline.dropped == 999


def test_a_single_wrong_stamp_costs_two_epochs_and_no_more():
    publisher = Publisher()
    publisher.send(V, 0)
    publisher.send(A, 0)
    assert publisher.send(V, 900_000) == Stamp(1_001, True)
    for step in range(20, 200, 20):
        publisher.now_ms += 20
        publisher.send(V, step)
        publisher.send(A, step)
    assert publisher.timeline.jumps == 2
    assert publisher.send(A, 200) is not None


def test_a_wrong_stamp_of_a_track_that_then_falls_silent_heals_after_a_second():
    publisher = Publisher()
    publisher.send(V, 0)
    publisher.send(A, 0)
    assert publisher.send(A, 900_000) == Stamp(1_001, True)
    for step in range(20, 3_000, 20):
        publisher.now_ms += 20
        publisher.send(V, step)
    assert publisher.timeline.jumps == 2
    assert 0 < publisher.timeline.dropped < 60


def test_a_publisher_that_returns_continues_at_its_arrival():
    publisher = Publisher()
    publisher.send(V, 70_000)
    publisher.send(A, 70_000)
    publisher.now_ms += 8_000
    publisher.timeline.resume()
    assert publisher.send(A, 3) == Stamp(9_000, True)
    assert publisher.send(V, 0) == Stamp(8_997, False)
    assert publisher.timeline.jumps == 0


def test_a_publisher_that_returns_never_overtakes_what_the_log_holds():
    publisher = Publisher()
    publisher.send(V, 0)
    publisher.send(V, 9_000)
    publisher.timeline.resume()
    assert publisher.send(V, 0) == Stamp(11_000, True)


def test_resuming_before_anything_came_changes_nothing():
    timeline = Timeline()
    timeline.resume()
    assert timeline.stamp(V, 5, 0) == Stamp(HEAD_ROOM_MS, False)
    assert timeline.end_ms == HEAD_ROOM_MS + 1


def test_a_whole_day_keeps_exact_time():
    publisher = Publisher()
    start = (1 << 32) - 40_000_000
    for step in range(0, 86_400_000, 9_000):
        assert publisher.at(V, start + step) == 1000 + step
        assert publisher.at(A, start + step + 17) == 1017 + step
    assert publisher.timeline.jumps == publisher.timeline.dropped == 0


_STEPS = st.lists(
    st.tuples(
        st.sampled_from([V, A]),
        st.one_of(
            st.integers(-60, 60),
            st.integers(-2_000, 12_000),
            st.integers(0, 2**32 - 1),
        ),
        st.integers(0, 1_500),
    ),
    max_size=60,
)


_STEPS_OF_RUNS = st.tuples(
    st.sampled_from([V, A]),
    st.one_of(
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from((-1, -30, -1_001, 9_999, 10_001, -60_000, 2**31, 2**30)),
    ),
)


@given(st.integers(0, 2**32 - 1), _STEPS)
def test_every_track_runs_forward_and_epochs_do_not_overlap(start, steps):
    publisher = Publisher()
    wire, end = start, 0
    last: dict[Kind, int] = {}
    for kind, step, pause in steps:
        wire = (wire + step) % 2**32
        publisher.now_ms += pause
        stamp = publisher.send(kind, wire)
        if stamp is None:
            continue
        if stamp.new_epoch:
            assert stamp.time_ms >= end
            last = dict.fromkeys((V, A), end)
        assert stamp.time_ms >= last.get(kind, 0)
        last[kind] = stamp.time_ms
        end = max(end, stamp.time_ms)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.sampled_from([V, A]), st.integers(0, 40)), min_size=2, max_size=80),
    st.integers(0, 79),
    st.integers(20_000, 2**31 - 20_000),
    st.booleans(),
)
def test_all_tracks_have_the_same_offset_within_an_epoch(start, steps, at, jump, wraps_at_31):
    publisher = Publisher()
    modulus = 1 << (31 if wraps_at_31 else 32)
    time = start
    offsets: set[int] = set()
    for index, (kind, step) in enumerate(steps):
        time += step + (jump if index == at else 0)
        publisher.now_ms += step
        clamped = publisher.timeline.clamped
        stamp = publisher.send(kind, time % modulus)
        assert stamp is not None
        if stamp.new_epoch:
            offsets.clear()
        if publisher.timeline.clamped == clamped:
            offsets.add(stamp.time_ms - time)
        assert len(offsets) <= 1


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 3_000), st.booleans(), st.lists(_STEPS_OF_RUNS, max_size=9))),
)
def test_a_run_is_placed_as_its_packets_one_by_one(start, runs):
    single, together = Publisher(), Publisher()
    wire = start
    for pause, resumes, steps in runs:
        packets = [(kind, wire := (wire + step) % 2**32) for kind, step in steps]
        for publisher in (single, together):
            publisher.now_ms += pause
            if resumes:
                publisher.timeline.resume()
        expected = [single.send(kind, at) for kind, at in packets]
        placed = place_at_pace(together.timeline, packets, together.now_ms * 1_000_000)
        assert [Stamp(log, False) for log in placed] == expected[: len(placed)]
        rest = [together.send(kind, at) for kind, at in packets[len(placed) :]]
        assert rest == expected[len(placed) :]
        assert _known(together.timeline) == _known(single.timeline)


def place_at_pace(
    timeline: Timeline, packets: list[tuple[Kind, int]], received_ns: int
) -> list[int]:
    """Log times of the packets up to the first that is not usual, as `Timeline.pace` says it."""
    shift, latest, *times = timeline.pace()
    steps, placed = [0, 0], []
    for kind, wire in packets:
        number = (V, A).index(kind)
        if not times[number] < wire <= latest:
            break
        steps[number], times[number] = wire - times[number], wire
        placed.append(wire + shift)
    if placed:
        timeline.keep_pace(times[0], steps[0], times[1], steps[1], received_ns)
    return placed


def _known(timeline: Timeline) -> dict[str, str]:
    return {name: repr(getattr(timeline, name)) for name in Timeline.__slots__}


def test_a_track_that_lags_or_pauses_does_not_slow_the_other():
    publisher = Publisher()
    assert (publisher.at(V, 5_000), publisher.at(A, 4_100)) == (1000, 100)
    run = [(V, 5_033), (A, 4_121), (V, 5_066), (A, 4_142)]
    assert place_at_pace(publisher.timeline, run, 0) == [1033, 121, 1066, 142]
    assert publisher.at(V, 5_500) == 1500
    run = [(V, 5_533), (V, 6_500), (A, 4_163)]
    assert place_at_pace(publisher.timeline, run, 0) == [1533, 2500]


def test_a_run_of_usual_packets_is_placed_whole():
    publisher = Publisher()
    assert place_at_pace(publisher.timeline, [(V, 0)], 0) == []
    assert (publisher.at(V, 500), publisher.at(A, 495)) == (1000, 995)
    run = [(V, 533), (A, 517), (A, 540), (V, 566)]
    assert place_at_pace(publisher.timeline, run, 0) == [1033, 1017, 1040, 1066]
    assert place_at_pace(publisher.timeline, [(A, 563), (V, 90_000), (A, 586)], 0) == [1063]


@given(st.integers(-(10**12), 10**12), st.integers(1, 200_000), st.integers(1, 200_000))
def test_rescaling_rounds_to_the_nearest(value, from_rate, to_rate):
    exact = Fraction(value * to_rate, from_rate)
    assert -Fraction(1, 2) <= rescale(value, from_rate, to_rate) - exact <= Fraction(1, 2)


def test_halves_round_up():
    assert rescale(1, 2, 1) == 1
    assert rescale(-1, 2, 1) == 0
    assert ms_to_ticks(1, 44_100) == 44
    assert ms_to_ticks(5, 44_100) == 221
    assert ms_to_ticks(21, 90_000) == 1_890
