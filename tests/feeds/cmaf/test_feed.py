"""The feed between two logs."""

from dataclasses import replace

import pytest
from msgspec import structs

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.feeds.cmaf import CmafFeed, CmafSettings
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track
from tests.fakes import Turns
from tests.feeds.cmaf.helpers_stream import (
    aac,
    audio_packets,
    h264,
    interleave,
    jittered,
    now,
    outline,
    package,
    parts_of,
    steady_video,
    video_packets,
)


def media(seconds: float = 8) -> tuple[tuple[Track, ...], list[Packet]]:
    video, sound = h264(), aac()
    packets = interleave(steady_video(video, 30, seconds, gop=60), audio_packets(sound, seconds))
    return (video, sound), packets


def packet_log(max_ms: int = 60_000) -> Log[Packet]:
    return Log(max_ms=max_ms, max_bytes=10**9, schedule=now)


def append(log: Log[Packet], packets: list[Packet]) -> None:
    for packet in packets:
        log.append(packet, size=len(packet.data), at_ms=packet.dts_ms, keyframe=packet.keyframe)


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_pumping_in_any_portions_gives_the_same_as_pushing(step):
    tracks, packets = media()
    _, expected = package(packets, tracks)
    log = packet_log()
    feed = CmafFeed(lambda _: tracks, 1_000, CmafSettings(), now)
    for at in range(0, len(packets), step):
        append(log, packets[at : at + step])
        feed.pump(log)
    feed.close("over")
    assert outline(feed.log.since(0)) == outline(expected)
    assert feed.position == log.end
    assert feed.counters.missed == 0


@pytest.mark.parametrize(
    ("late_ms", "burst_ms", "spread_ms"), [(0, 1, 0), (40, 1, 0), (0, 60, 0), (0, 1, 3)]
)
def test_pumping_only_when_the_log_wakes_makes_each_part_with_the_same_packet(
    late_ms, burst_ms, spread_ms
):
    video, sound = tracks = h264(), aac()
    times = jittered(240, 1000 / 30, spread_ms, seed=1)
    packets = interleave(
        video_packets(video, times, keyframes=range(0, 240, 60)),
        audio_packets(sound, 8),
        late_ms=(0, late_ms),
        burst_ms=burst_ms,
    )
    log, turns = packet_log(), Turns()
    quiet_log: Log[Packet] = Log(max_ms=60_000, max_bytes=10**9, schedule=turns)
    eager, lazy = (CmafFeed(lambda _: tracks, 1_000, CmafSettings(), now) for _ in range(2))
    quiet_log.wake(lambda: lazy.pump(quiet_log), quiet_until_ms=lambda: lazy.quiet_until_ms)
    wakes = 0
    for packet in packets:
        keyframe = packet.is_video and packet.keyframe
        for each in (log, quiet_log):
            each.append(packet, size=len(packet.data), at_ms=packet.dts_ms, keyframe=keyframe)
        eager.pump(log)
        wakes += turns.run()
        assert lazy.log.end == eager.log.end
    assert outline(lazy.log.since(0)) == outline(eager.log.since(0))
    assert wakes < len(packets) * 2 // 5


def test_packets_that_left_the_log_before_they_were_read_are_counted():
    tracks, packets = media()
    log = packet_log(max_ms=3_000)
    feed = CmafFeed(lambda _: tracks, 1_000, CmafSettings(), now)
    append(log, packets)
    feed.pump(log)
    assert feed.counters.missed == log.start > 0


def test_the_first_part_of_each_segment_is_an_entry_of_the_log():
    tracks, packets = media()
    feed, items = package(packets, tracks)
    position: int | None = 0
    entries = []
    while position is not None and (position := feed.log.keyframe_after(position)) is not None:
        entries.append(feed.log.get(position))
        position += 1
    assert entries == [part for part in parts_of(items) if part.index == 0]


def test_the_log_stays_within_its_bounds_and_the_promise_outlives_its_item():
    tracks, packets = media(30)
    settings = CmafSettings(window_ms=5_000, window_bytes=20_000)
    feed = CmafFeed(lambda _: tracks, 1_000, settings, now)
    for packet in packets:
        feed.push(packet)
        assert feed.log.span_ms <= 5_000
        assert feed.log.bytes <= 20_000
    assert feed.log.start > 0
    assert feed.target is not None


def test_readers_of_the_log_are_woken_when_a_part_is_there():
    tracks, packets = media()
    feed = CmafFeed(lambda _: tracks, 1_000, CmafSettings(), now)
    seen: list[int] = []
    feed.log.wake(lambda: seen.append(feed.log.end))
    for packet in packets:
        feed.push(packet)
    assert seen == sorted(set(seen))
    assert seen[-1] == feed.log.end


def test_closing_completes_the_segment_once_and_later_packets_change_nothing():
    tracks, packets = media()
    feed = CmafFeed(lambda _: tracks, 1_000, CmafSettings(), now)
    for packet in packets[:300]:
        feed.push(packet)
    feed.close("over")
    end = feed.log.end
    feed.close("again")
    feed.flush()
    for packet in packets[300:]:
        feed.push(packet)
    assert feed.log.closed == "over"
    assert feed.log.end == end


def test_a_feed_that_closes_before_any_packet_is_empty():
    feed = CmafFeed(lambda _: (), 1_000, CmafSettings(), now)
    feed.close("nobody came")
    assert feed.log.since(0) == []


def test_a_packet_log_with_a_malformed_track_is_read_up_to_it_and_the_error_is_told():
    broken = aac()
    broken = type(broken)(broken.codec, 48_000, b"", sample_rate=48_000, channels=2)
    log = packet_log()
    append(log, audio_packets(broken, 1))
    feed = CmafFeed(lambda _: (broken,), 1_000, CmafSettings(), now)
    with pytest.raises(RemoteProtocolError):
        feed.pump(log)


@pytest.mark.parametrize(
    "values",
    [
        {"part_ms": 0},
        {"segment_ms": 500},
        {"segment_ms": 20_000},
        {"target_duration_s": -1},
        {"window_ms": 0},
        {"window_bytes": 0},
        {"max_part_bytes": 0},
    ],
)
def test_settings_that_make_no_playlist_are_refused(values):
    with pytest.raises(LocalProtocolError):
        CmafSettings(**values)


@pytest.mark.parametrize(("picture", "frame"), [(700, 24), (24, 900)])
def test_runs_are_cut_at_the_same_bytes_as_single_packets(picture, frame):
    """`package` compares the two ways."""
    video, sound = h264(), aac()
    packets = [
        structs.replace(packet, data=bytes(picture if packet.is_video else frame))
        for packet in interleave(steady_video(video, 30, 8, gop=60), audio_packets(sound, 8))
    ]
    settings = CmafSettings(max_part_bytes=5_000, window_ms=10**9, window_bytes=10**9)
    feed, _ = package(packets, (video, sound), settings)
    assert feed.counters.forced_parts > 20


def test_a_run_of_an_audio_clock_that_is_not_the_files_is_packaged_like_single_packets():
    """HE-AAC: packets count in the output's clock, the file in the core's."""
    video = h264()
    sound = replace(
        aac(), clock_rate=48_000, config=bytes.fromhex("2b098800"), codec_string="mp4a.40.5"
    )
    lanes = (steady_video(video, 30, 6, gop=60), audio_packets(sound, 6, frame=2_048))
    package(interleave(*lanes), (video, sound))
