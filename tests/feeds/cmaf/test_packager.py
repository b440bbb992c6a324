"""Epochs, numbers, and what is left out."""

from dataclasses import replace

import pytest
from msgspec import structs

from streamserver.errors import RemoteProtocolError
from streamserver.feeds.items import SegmentEnd
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from tests.feeds.cmaf.helpers_stream import (
    aac,
    audio_packets,
    check_promises,
    check_samples,
    h264,
    interleave,
    package,
    parts_of,
    segments_of,
    steady_video,
)


def epoch(number: int, start_ms: int, seconds: float = 5) -> tuple[list[Track], list[Packet]]:
    video, sound = h264(number), aac(number)
    return [video, sound], interleave(
        steady_video(video, 30, seconds, gop=60, start_ms=start_ms),
        audio_packets(sound, seconds, start_ms=start_ms),
    )


def test_a_new_epoch_ends_the_segment_and_begins_with_its_own_init_and_a_discontinuity():
    tracks, packets = [], []
    for number in range(3):
        more_tracks, more_packets = epoch(number, 1_000 + 6_000 * number)
        tracks += more_tracks
        packets += more_packets
    feed, items = package(packets, tracks)
    check_promises(items, steady=False)
    check_samples(items, packets)
    marked = [part for part in parts_of(items) if part.discontinuity]
    assert [(part.init.epoch, part.index, part.start_ms) for part in marked] == [
        (1, 0, 7_000),
        (2, 0, 13_000),
    ]
    inits = list(dict.fromkeys(part.init for part in parts_of(items)))
    assert [init.epoch for init in inits] == [0, 1, 2]
    numbers = [segment.msn for segment in segments_of(items)]
    assert numbers == list(range(1_000, 1_000 + len(numbers)))
    assert feed.init is inits[-1]


def test_an_epoch_that_made_nothing_takes_no_number():
    first, packets = epoch(0, 1_000)
    second, silent = epoch(1, 7_000)
    third, more = epoch(2, 8_000)
    no_keyframe = [packet for packet in silent if not packet.keyframe][:5]
    feed, items = package(packets + no_keyframe + more, first + second + third)
    check_promises(items, steady=False)
    assert feed.counters.before_keyframe == 5
    assert [part.init.epoch for part in parts_of(items) if part.discontinuity] == [2]


def test_the_first_epoch_is_no_discontinuity_whatever_its_number():
    tracks, packets = epoch(7, 1_000)
    _, items = package(packets, tracks)
    assert not any(part.discontinuity for part in parts_of(items))


def test_packets_of_an_epoch_that_is_over_are_dropped_and_counted():
    first, packets = epoch(0, 1_000)
    second, more = epoch(1, 7_000)
    feed, items = package([*packets[:-3], *more[:10], *packets[-3:], *more[10:]], first + second)
    assert feed.counters.stale == 3
    check_samples(items, packets[:-3] + more)


def test_an_epoch_may_gain_and_lose_a_track():
    video = h264(0)
    both, later = epoch(1, 7_000)
    sound = aac(2)
    packets = [
        *steady_video(video, 30, 5, gop=60),
        *later,
        *audio_packets(sound, 5, start_ms=13_000),
    ]
    _, items = package(packets, [video, *both, sound])
    check_promises(items, steady=False)
    check_samples(items, packets)
    assert [len(i.tracks) for i in dict.fromkeys(p.init for p in parts_of(items))] == [1, 2, 1]


def test_what_cmaf_cannot_carry_is_left_out_and_named():
    vp8 = Track(Codec.VP8, VIDEO_CLOCK, b"", width=640, height=360)
    sound, second = aac(), aac()
    packets = audio_packets(sound, 4)
    strangers = [structs.replace(packet, track=vp8) for packet in packets[:5]]
    strangers += [structs.replace(packet, track=second) for packet in packets[:5]]
    feed, items = package(packets + strangers, [vp8, sound, second])
    assert feed.unsupported == (vp8, second)
    assert feed.counters.skipped == 10
    assert parts_of(items)[0].init.tracks == (sound,)
    check_samples(items, packets)


def test_a_stream_without_any_track_that_fits_makes_nothing():
    vp8 = Track(Codec.VP8, VIDEO_CLOCK, b"", width=640, height=360)
    feed, items = package(steady_video(vp8, 30, 3, gop=30), [vp8])
    assert items == []
    assert feed.init is None
    assert feed.unsupported == (vp8,)


def test_a_malformed_config_raises_what_a_peer_may_cause():
    broken = replace(aac(), config=b"\x12")
    with pytest.raises(RemoteProtocolError):
        package(audio_packets(broken, 1), [broken], close=False)


def test_a_stream_too_short_for_a_group_still_has_a_target_at_its_end():
    tracks, packets = epoch(0, 1_000, seconds=0.7)
    feed, items = package(packets, tracks)
    check_promises(items)
    assert feed.target is not None
    assert isinstance(items[-2], SegmentEnd)


def test_packets_without_data_are_dropped_and_counted():
    tracks, packets = epoch(0, 1_000)
    hollow = [structs.replace(packet, data=b"") for packet in packets[20:24]]
    feed, items = package([*packets[:20], *hollow, *packets[24:]], tracks)
    assert feed.counters.empty == 4
    check_samples(items, packets[:20] + packets[24:], continuous=False)


def test_frames_stay_apart_and_uncopied_until_somebody_asks():
    track = h264()
    packets = [
        structs.replace(packet, data=bytes([index]) * 2_000)
        for index, packet in enumerate(steady_video(track, 30, 3, gop=60))
    ]
    _, items = package(packets, [track])
    frames = [piece for part in parts_of(items) for piece in part.pieces[1:]]
    assert all(piece is packet.data for piece, packet in zip(frames, packets, strict=True))
    assert all(part.size == len(part.data) for part in parts_of(items))


def test_small_frames_are_joined_at_once_so_that_bounds_of_bytes_bound_memory():
    track = h264()
    _, items = package(steady_video(track, 30, 3, gop=60), [track])
    assert all(part.pieces == (part.data,) for part in parts_of(items))
    assert all(part.size == len(part.data) for part in parts_of(items))
