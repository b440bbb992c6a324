"""Where parts and segments end, for every kind of stream."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamserver.feeds.cmaf import CmafSettings
from streamserver.feeds.items import SegmentEnd, Target
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from tests.feeds.cmaf.helpers_stream import (
    aac,
    audio_packets,
    body,
    check_promises,
    check_samples,
    h264,
    interleave,
    jittered,
    opus,
    package,
    parts_of,
    samples_of,
    segments_of,
    steady_video,
    video_packets,
)

WIDE = {"window_ms": 10**9, "window_bytes": 10**9}


@pytest.mark.parametrize(
    ("fps", "gop", "part_target_ms"),
    [
        (10, 20, 310),
        (15, 30, 344),
        (24000 / 1001, 48, 344),
        (25, 50, 330),
        (30000 / 1001, 60, 344),
        (30, 60, 344),
        (50, 100, 350),
        (60, 120, 344),
    ],
)
def test_parts_are_whole_frames_of_one_length_at_every_usual_rate(fps, gop, part_target_ms):
    video, sound = h264(), aac()
    packets = interleave(
        steady_video(video, fps, 9, gop=gop), audio_packets(sound, 9), late_ms=(0, 30)
    )
    feed, items = package(packets, (video, sound))
    check_promises(items)
    check_samples(items, packets)
    assert feed.target is not None
    assert feed.target.target_duration_s == 2
    assert abs(feed.target.part_target_ms - part_target_ms) <= 2
    full = [part.duration for part in parts_of(items)[1:-2]]
    assert max(full) - min(full) <= 3 * 90 or fps == 15 or gop != 60
    assert feed.counters.long_gops == 0


def test_a_part_leaves_with_its_last_frame_and_waits_for_no_other():
    video = h264()
    packets = steady_video(video, 30, 4, gop=60)
    feed, _ = package([], (video,))
    feed, _ = package(packets[:9], (video,), close=False)
    assert feed.counters.parts == 0
    feed.push(packets[9])
    assert feed.counters.parts == 1


def test_each_segment_begins_with_a_keyframe_and_says_so():
    video, sound = h264(), aac()
    packets = interleave(steady_video(video, 30, 10, gop=60), audio_packets(sound, 10))
    _, items = package(packets, (video, sound))
    firsts = [part for part in parts_of(items) if part.index == 0]
    assert all(part.independent for part in firsts)
    assert [part.independent for part in parts_of(items)].count(True) == len(firsts)
    assert [segment.duration for segment in segments_of(items)][:-1] == [
        pytest.approx(180_000, abs=180)
    ] * 4
    assert [segment.msn for segment in segments_of(items)] == [1000, 1001, 1002, 1003, 1004]


@pytest.mark.parametrize(
    ("gop_s", "seconds", "target"),
    [(0.5, 6, 2), (1, 6, 2), (2, 8, 2), (2.3, 8, 2), (3, 10, 3), (4, 12, 4), (8.333, 30, 10)],
)
def test_the_target_duration_comes_from_the_first_group_of_pictures(gop_s, seconds, target):
    video = h264()
    packets = steady_video(video, 30, seconds, gop=round(gop_s * 30))
    feed, items = package(packets, (video,))
    assert feed.target is not None
    assert feed.target.target_duration_s == target
    assert feed.counters.long_gops == 0
    check_promises(items)


def test_without_a_second_keyframe_the_longest_target_comes_after_four_seconds():
    video = h264()
    feed, items = package(steady_video(video, 30, 25, gop=10_000), (video,))
    at = items.index(Target(10, 344))
    assert 4_000 <= sum(part.duration for part in parts_of(items[:at])) // 90 <= 4_500
    assert feed.counters.long_gops == 2
    check_promises(items)
    assert [part.independent for part in parts_of(items) if part.index == 0] == [True, False, False]


@pytest.mark.parametrize("declared", ["1/100", "1", "25", "30", "60", "100000"])
def test_a_declared_frame_rate_is_believed_only_when_frames_agree(declared):
    video = h264(frame_rate=Fraction(declared))
    packets = steady_video(video, 30, 6, gop=60)
    feed, items = package(packets, (video,))
    assert feed.target is not None
    assert abs(feed.target.part_target_ms - 344) <= 1
    check_promises(items)
    check_samples(items, packets)


def test_two_keyframes_at_the_start_do_not_pass_for_a_group():
    video = h264()
    times = [1_000 + number * 1000 / 30 for number in range(300)]
    packets = video_packets(video, times, keyframes=(0, 3, 63, 123, 183, 243))
    feed, _ = package(packets, (video,))
    assert feed.target == Target(2, 344)
    assert feed.counters.long_gops == 0


def test_a_configured_target_holds_from_the_first_part_on():
    video = h264()
    feed, items = package(
        steady_video(video, 30, 20, gop=240),
        (video,),
        CmafSettings(target_duration_s=6, **WIDE),
    )
    assert isinstance(items[1], Target)
    assert feed.target == Target(6, 344)
    assert feed.counters.long_gops == 2
    check_promises(items)


def test_a_later_longer_group_is_cut_within_and_the_next_keyframe_begins_a_segment():
    video, sound = h264(), aac()
    times = [1_000 + number * 1000 / 30 for number in range(600)]
    packets = interleave(
        video_packets(video, times, keyframes=(0, 60, 120, 370, 430, 490)),
        audio_packets(sound, 20),
    )
    feed, items = package(packets, (video, sound))
    check_promises(items)
    check_samples(items, packets)
    assert feed.counters.long_gops >= 3
    firsts = [part for part in parts_of(items) if part.index == 0]
    keyframe_ms = round(times[370])
    assert any(abs(part.start_ms - keyframe_ms) <= 1 and part.independent for part in firsts)


def test_a_scene_cut_ends_a_segment_early_when_the_next_keyframe_would_be_too_late():
    video = h264()
    times = [1_000 + number * 1000 / 30 for number in range(300)]
    packets = video_packets(video, times, keyframes=(0, 60, 105, 165, 225, 285))
    feed, items = package(packets, (video,))
    assert feed.counters.long_gops == 0
    assert [round(segment.duration / 90_000, 1) for segment in segments_of(items)][:3] == [
        2.0,
        1.5,
        2.0,
    ]


def test_composition_offsets_keep_presentation_times_exact_with_b_frames():
    video, sound = h264(), aac()
    times = [1_000 + number * 1000 / 30 for number in range(180)]
    lane = video_packets(video, times, keyframes=range(0, 180, 60), reorder_ms=(67, 133, 33, 33))
    packets = interleave(lane, audio_packets(sound, 6))
    _, items = package(packets, (video, sound))
    check_promises(items)
    check_samples(items, packets)
    first = samples_of(parts_of(items)[0].data)[0]
    assert (first.dts, first.pts) == (90_000, 90_000 + 67 * 90)


def test_a_steady_rate_in_milliseconds_makes_no_negative_composition_offset():
    video = h264()
    packets = steady_video(video, 60, 20, gop=120)
    _, items = package(packets, (video,))
    samples = [sample for part in parts_of(items) for sample in samples_of(part.data)]
    assert all(sample.pts >= sample.dts for sample in samples)


def test_audio_runs_on_a_clock_of_samples():
    sound, video = aac(), h264()
    packets = interleave(steady_video(video, 30, 6, gop=60), audio_packets(sound, 6))
    _, items = package(packets, (video, sound))
    audio = [s for part in parts_of(items) for s in samples_of(part.data) if s.track == 2]
    assert [sample.dts for sample in audio] == [48_000 + n * 1_024 for n in range(len(audio))]
    assert {sample.duration for sample in audio} == {1_024}


def test_audio_lies_in_the_part_in_whose_time_it_begins():
    video, sound = h264(), aac()
    packets = interleave(
        steady_video(video, 30, 6, gop=60), audio_packets(sound, 6), late_ms=(60, 0)
    )
    _, items = package(packets, (video, sound))
    for part in parts_of(items)[1:-1]:
        begin = part.start_ms * 48
        end = begin + part.duration * 48_000 // 90_000
        times = [s.dts for s in samples_of(part.data) if s.track == 2]
        assert all(begin - 48 <= at <= end + 48 for at in times)


def test_late_audio_goes_into_the_next_part_with_its_own_time():
    video, sound = h264(), aac()
    packets = interleave(
        steady_video(video, 30, 6, gop=60), audio_packets(sound, 6), late_ms=(0, 200)
    )
    feed, items = package(packets, (video, sound))
    check_promises(items)
    check_samples(items, packets)
    assert feed.counters.audio_overlaps == 0


def test_audio_that_skips_leaves_a_hole_and_delays_nothing():
    video, sound = h264(), aac()
    lane = audio_packets(sound, 8)
    lane = lane[:100] + lane[200:]
    packets = interleave(steady_video(video, 30, 8, gop=60), lane)
    feed, items = package(packets, (video, sound))
    check_promises(items)
    check_samples(items, packets, continuous=False)
    assert feed.counters.audio_holes == 1
    audio = [s for part in parts_of(items) for s in samples_of(part.data) if s.track == 2]
    assert all(abs(s.dts - p.pts) <= 96 for s, p in zip(audio, lane, strict=True))


def test_a_short_skip_of_audio_stretches_the_frame_before_it():
    video, sound = h264(), aac()
    lane = audio_packets(sound, 4)
    at = next(n for n, p in enumerate(lane) if p.dts_ms >= 1_100)
    lane = lane[: at + 1] + lane[at + 7 :]
    packets = interleave(steady_video(video, 30, 4, gop=60), lane)
    feed, items = package(packets, (video, sound))
    check_samples(items, packets)
    assert feed.counters.audio_holes == 1


def test_audio_over_time_that_is_filled_is_dropped_and_counted():
    video, sound = h264(), aac()
    lane = audio_packets(sound, 4)
    back = [
        Packet(sound, packet.pts - 48_000, packet.dts, 0, True, packet.data, 0)
        for packet in lane[100:110]
    ]
    feed, items = package(
        interleave(steady_video(video, 30, 4, gop=60), lane[:100], lane[110:]) + back,
        (video, sound),
    )
    assert feed.counters.audio_overlaps == 10
    check_promises(items)


def test_missing_audio_delays_no_video():
    video, sound = h264(), aac()
    lane = steady_video(video, 30, 6, gop=60)
    alone, _ = package(lane, (video,), close=False)
    waiting, items = package(lane, (video, sound), close=False)
    assert waiting.counters.parts == alone.counters.parts > 10
    assert all({s.track for s in samples_of(part.data)} == {1} for part in parts_of(items))


def test_parts_keep_coming_on_the_clock_of_audio_while_video_is_frozen():
    video, sound = h264(), aac()
    lane = steady_video(video, 30, 16, gop=60)
    frozen = [packet for packet in lane if not 5_050 <= packet.dts_ms < 11_000]
    packets = interleave(frozen, audio_packets(sound, 16))
    feed, _ = package([], (video, sound), close=False)
    behind = []
    for packet in packets:
        feed.push(packet)
        part = next((p for p in reversed(parts_of(feed.log.since(0)))), None)
        if part is not None:
            behind.append(packet.dts_ms - part.start_ms - part.duration // 90)
    feed, items = package(packets, (video, sound))
    assert max(behind[100:]) <= 2 * 344 + 30
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert feed.counters.video_holes == 1
    assert feed.counters.jumps == 0
    starts = [part.start_ms for part in parts_of(items)]
    ends = [part.start_ms + part.duration / 90 for part in parts_of(items)]
    assert all(abs(a - b) <= 1 for a, b in zip(starts[1:], ends[:-1], strict=True))
    first_again = next(
        part
        for part in parts_of(items)
        if any(s.track == 1 and s.dts >= 10_900 * 90 for s in samples_of(part.data))
    )
    assert first_again.independent
    assert first_again.index == 0


def test_a_picture_twice_a_second_beside_audio_stalls_nothing():
    video, sound = h264(), aac()
    times = [1_000 + number * 1000 / 30 for number in range(120)]
    times += [5_000 + number * 500 for number in range(30)]
    packets = interleave(
        video_packets(video, times, keyframes=(0, 60, 120, 140)), audio_packets(sound, 19)
    )
    feed, items = package(packets, (video, sound))
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert feed.counters.jumps == 0


def test_video_that_is_late_by_seconds_is_not_lost():
    video, sound = h264(), aac()
    packets = interleave(
        steady_video(video, 30, 8, gop=60), audio_packets(sound, 10), late_ms=(1_500, 0)
    )
    feed, items = package(packets, (video, sound))
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert feed.counters.jumps == 0


def test_a_slow_stream_has_parts_of_one_frame_and_a_part_target_to_match():
    video = h264()
    feed, items = package(steady_video(video, 2, 30, gop=4), (video,))
    assert feed.target == Target(2, 510)
    check_promises(items)
    assert all(abs(part.duration - 45_000) <= 9 for part in parts_of(items))


def test_time_jumps_when_nothing_at_all_came_for_a_while():
    video, sound = h264(), aac()
    lane = [p for p in steady_video(video, 30, 16, gop=60) if not 5_000 <= p.dts_ms < 9_000]
    noise = [p for p in audio_packets(sound, 16) if not 5_000 <= p.dts_ms < 9_000]
    packets = interleave(lane, noise)
    feed, items = package(packets, (video, sound))
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert feed.counters.jumps == 1
    after = next(part for part in parts_of(items) if part.start_ms >= 8_900)
    assert after.discontinuity
    assert after.index == 0
    assert after.start_ms == 9_000


def test_still_pictures_without_audio_do_not_make_a_segment_each():
    video = h264()
    times = [1_000 + number * 1000 / 30 for number in range(120)]
    times += [5_000 + number * 900 for number in range(20)]
    packets = video_packets(video, times, keyframes=(0, 60, 120, 125, 130, 135))
    feed, items = package(packets, (video,))
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert feed.counters.segments < 15
    assert not any(part.discontinuity for part in parts_of(items))


def test_audio_alone_has_parts_of_whole_frames_and_its_target_at_once():
    sound = aac()
    packets = audio_packets(sound, 12)
    feed, items = package(packets, (sound,))
    assert items[0] == Target(2, 342)
    check_promises(items)
    check_samples(items, packets)
    assert {part.duration for part in parts_of(items)[:-1]} == {30_720}
    assert all(part.independent for part in parts_of(items))
    assert [segment.parts for segment in segments_of(items)][:-1] == [6] * 5
    assert feed.counters.long_gops == 0


def test_audio_alone_keeps_a_configured_target_that_is_shorter_than_a_segment():
    sound = aac()
    packets = audio_packets(sound, 8)
    _, items = package(packets, (sound,), CmafSettings(target_duration_s=1, **WIDE))
    check_promises(items)
    check_samples(items, packets)


@pytest.mark.parametrize("start_ms", [0, 1, 7, 1_003, 99_999_999])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_audio_alone_keeps_its_promises_at_every_rate_and_start(rate, start_ms):
    index = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000,
             11_025, 8_000].index(rate)  # fmt: skip
    config = (2 << 11 | index << 7 | 2 << 3).to_bytes(2)
    sound = aac()
    sound = type(sound)(sound.codec, rate, config, sample_rate=rate, channels=2)
    packets = audio_packets(sound, 8, start_ms=start_ms)
    _, items = package(packets, (sound,))
    check_promises(items)
    check_samples(items, packets)
    sizes = {len(samples_of(part.data)) for part in parts_of(items)[:-1]}
    assert len(sizes) == 1


def test_opus_packets_say_their_own_length():
    sound = opus()
    packets, at = [], 48_000
    for number in range(400):
        toc, samples = [(0xFC, 960), (0xF4, 480), (0xFD, 1_920)][number % 3]
        packets.append(Packet(sound, at, at, 0, True, bytes([toc]) + body(number), 0))
        at += samples
    _, items = package(packets, (sound,))
    check_promises(items, steady=False)
    check_samples(items, packets)
    durations = [s.duration for part in parts_of(items) for s in samples_of(part.data)]
    assert durations[:3] == [960, 480, 1_920]


def test_he_aac_counts_in_frames_of_its_core_whatever_clock_its_packets_have():
    config = bytes.fromhex("2b118800")
    sound = Track(Codec.AAC, 48_000, config, sample_rate=48_000, channels=2)
    for duration in (0, 2_048):
        packets = [
            replace(packet, duration=duration) for packet in audio_packets(sound, 8, frame=2_048)
        ]
        feed, items = package(packets, (sound,))
        check_promises(items)
        check_samples(items, packets)
        samples = [s for part in parts_of(items) for s in samples_of(part.data)]
        assert {sample.duration for sample in samples} == {1_024}
        assert samples[0].dts == 24_000
        assert feed.target == Target(2, 342)


def test_frames_with_one_and_the_same_time_are_bounded_in_bytes():
    video, sound = h264(), aac()
    packets = [Packet(video, 9_000, 9_000, 0, n == 0, body(n, 1_000), 0) for n in range(500)]
    feed, items = package(
        packets, (video, sound), CmafSettings(max_part_bytes=100_000, **WIDE), close=False
    )
    assert feed.counters.forced_parts >= 4
    assert max(len(part.data) for part in parts_of(items)) < 120_000
    feed.close("over")
    check_samples(feed.log.since(0), packets)


def test_heavy_audio_is_bounded_in_bytes_before_video_comes_and_after():
    video, sound = h264(), aac()
    lane = [
        Packet(sound, p.pts, p.dts, 0, True, body(n, 50_000), 0)
        for n, p in enumerate(audio_packets(sound, 2))
    ]
    for tracks in ((video, sound), (sound,)):
        feed, items = package(
            lane, tracks, CmafSettings(max_part_bytes=200_000, **WIDE), close=False
        )
        assert feed.counters.forced_parts > 5
        assert max(len(part.data) for part in parts_of(items)) < 300_000
        feed.close("over")
        check_samples(feed.log.since(0), lane)


def test_video_before_the_first_keyframe_is_dropped_and_counted():
    video = h264()
    packets = steady_video(video, 30, 6, gop=60)
    feed, items = package(packets[7:], (video,))
    assert feed.counters.before_keyframe == 53
    check_samples(items, packets[60:])


def test_a_flush_in_the_middle_completes_the_segment_and_goes_on_after_a_discontinuity():
    video, sound = h264(), aac()
    packets = interleave(steady_video(video, 30, 8, gop=60), audio_packets(sound, 8))
    half = next(n for n, p in enumerate(packets) if p.dts_ms >= 5_000)
    feed, _ = package(packets[:half], (video, sound), close=False)
    feed.flush()
    assert isinstance(feed.log.since(0)[-1], SegmentEnd)
    for packet in packets[half:]:
        feed.push(packet)
    feed.close("over")
    items = feed.log.since(0)
    check_promises(items, steady=False)
    check_samples(items, packets, continuous=False)
    assert [part.start_ms for part in parts_of(items) if part.discontinuity] == [5_000]


@settings(max_examples=120, deadline=None)
@given(
    fps=st.sampled_from([10, 15, 24, 25, 30, 50, 60]),
    gop_s=st.sampled_from([0.4, 1, 2, 2.5, 4, 7]),
    spread=st.sampled_from([0, 1, 4, 9]),
    reorder=st.sampled_from([(0,), (40, 80, 0), (67, 133, 33, 33)]),
    late=st.tuples(st.integers(0, 150), st.integers(0, 200)),
    burst_ms=st.sampled_from([1, 60, 150]),
    epochs=st.integers(1, 2),
    sound_codec=st.sampled_from(["aac", "opus", "none"]),
    part_ms=st.sampled_from([200, 333, 500]),
    seed=st.integers(0, 1_000),
)
def test_promises_hold_for_any_jitter_reordering_group_and_arrival(
    fps, gop_s, spread, reorder, late, burst_ms, epochs, sound_codec, part_ms, seed
):
    packets: list[Packet] = []
    tracks: list[Track] = []
    count = 14 * fps
    for epoch in range(epochs):
        start_ms = 15_000 * epoch
        video = h264(epoch)
        tracks.append(video)
        # A frame keeps less than half of its interval of jitter: more is a variable rate.
        times = jittered(count, 1000 / fps, min(spread, 400 / fps), seed)
        keyframes = range(0, count, max(round(gop_s * fps), 1))
        shifted = [start_ms + time for time in times]
        lanes = [video_packets(video, shifted, keyframes=keyframes, reorder_ms=reorder)]
        if sound_codec != "none":
            sound = opus(epoch) if sound_codec == "opus" else aac(epoch)
            tracks.append(sound)
            frame, toc = (960, b"\xfc") if sound_codec == "opus" else (1_024, b"")
            noise = audio_packets(sound, 14, start_ms=1_000 + start_ms, frame=frame)
            lanes.append([replace(packet, data=toc + packet.data) for packet in noise])
        packets += interleave(*lanes, late_ms=late, burst_ms=burst_ms)
    feed, items = package(packets, tracks, CmafSettings(part_ms=part_ms, **WIDE))
    check_promises(items, steady=fps >= 24 and part_ms >= 333 and epochs == 1)
    check_samples(items, packets)
    assert feed.counters.jumps == feed.counters.video_holes == 0
    if gop_s <= 4:
        assert feed.counters.long_gops == 0


@settings(max_examples=120, deadline=None)
@example(
    # The last frame comes so early that it would end before its part begins.
    steps=[
        (0, False, "v"),
        (690, True, "v"),
        (623, False, "v"),
        (11, True, "v"),
        (329, False, "v"),
    ],
    with_sound=False,
)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 700), st.booleans(), st.sampled_from(["v", "a", "va"])),
        min_size=2,
        max_size=150,
    ),
    with_sound=st.booleans(),
)
def test_promises_hold_for_times_without_any_order(steps, with_sound):
    video, sound = h264(), aac()
    packets: list[Packet] = []
    at = 500
    for number, (step, key, kinds) in enumerate(steps):
        at += step
        if "v" in kinds:
            packets.append(Packet(video, at * 90, at * 90, 0, key or not packets, body(number), 0))
        if "a" in kinds and with_sound:
            packets.append(Packet(sound, at * 48, at * 48, 0, True, body(number), 0))
    tracks = (video, sound) if with_sound else (video,)
    feed, items = package(packets, tracks)
    counters = feed.counters
    if parts_of(items):
        check_promises(items, steady=False)
    written = sum(len(samples_of(part.data)) for part in parts_of(items))
    dropped = counters.before_keyframe + counters.audio_overlaps + counters.empty
    assert written + dropped == len(packets)
    video_samples = [s for part in parts_of(items) for s in samples_of(part.data) if s.track == 1]
    times = [sample.dts for sample in video_samples]
    assert times == sorted(set(times))
