"""MPEG-TS segments made of CMAF segments."""

import io
from collections.abc import Iterator

import av
import numpy as np
import pytest
from msgspec.structs import replace

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.ts import PACKET, continue_counters, remux_segment
from streamserver.ffmpeg.ts_support import supports
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from tests import media_factory
from tests.feeds.cmaf.helpers_stream import demux, package, segment_bytes
from tests.media_factory import Clip

WRAP = 1 << 33


def shifted(clip: Clip, seconds: int) -> list[Packet]:
    return [
        replace(
            packet,
            pts=packet.pts + seconds * packet.track.clock_rate,
            dts=packet.dts + seconds * packet.track.clock_rate,
        )
        for packet in clip.packets
    ]


def remuxed(clip: Clip, seconds: int = 0) -> list[bytes]:
    _, items = package(shifted(clip, seconds), clip.tracks)
    counters: dict[int, int] = {}
    return [remux_segment(init.data, data, counters) for init, data in segment_bytes(items)]


def ts_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    assert len(data) % PACKET == 0
    for at in range(0, len(data), PACKET):
        packet = data[at : at + PACKET]
        assert packet[0] == 0x47
        yield (packet[1] & 0x1F) << 8 | packet[2], packet


def clock_references(data: bytes) -> list[int]:
    return [
        int.from_bytes(packet[6:10]) << 1 | packet[10] >> 7
        for _, packet in ts_packets(data)
        if packet[3] & 0x20 and packet[4] and packet[5] & 0x10
    ]


@pytest.fixture(params=["h264", "b-frames", "hevc", "audio", "mp3", "video"])
def clip(request: pytest.FixtureRequest) -> Clip:
    match request.param:
        case "h264":
            return media_factory.h264_aac(seconds=5.0)
        case "b-frames":
            return media_factory.h264_aac(seconds=5.0, b_frames=2)
        case "hevc":
            return media_factory.hevc_aac(seconds=3.0, b_frames=2)
        case "audio":
            return media_factory.audio_only(seconds=5.0)
        case "mp3":
            return media_factory.audio_only(seconds=5.0, codec="libmp3lame", sample_rate=44_100)
    return media_factory.video_only(seconds=5.0, b_frames=2)


def test_every_frame_arrives_and_times_stay_those_of_the_log(clip):
    packets = demux(b"".join(remuxed(clip)), "mpegts")
    for index, track in enumerate(clip.tracks):
        mine = [packet for packet in packets if packet.index == index]
        expected = [packet for packet in clip.packets if packet.track is track]
        assert len(mine) == len(expected)
        rate = track.clock_rate
        room = 0 if track.width else 2 * 90  # a sample clock instead of milliseconds
        assert all(
            abs(packet.pts - original.pts * 90_000 // rate) <= room + 1
            for packet, original in zip(mine, expected, strict=True)
        )


def test_every_segment_decodes_by_itself_from_its_first_frame(clip):
    for segment in remuxed(clip):
        with av.open(io.BytesIO(segment), "r", format="mpegts") as container:
            frames = list(container.decode())
        assert frames
        if clip.tracks[0].width:
            first = next(packet for packet in demux(segment, "mpegts") if packet.index == 0)
            assert first.is_keyframe


def test_continuity_counters_go_on_over_the_segments(clip):
    last: dict[int, int] = {}
    for pid, packet in ts_packets(b"".join(remuxed(clip))):
        counter = packet[3] & 15
        if packet[3] & 0x10:
            assert pid not in last or counter == (last[pid] + 1) & 15
            last[pid] = counter
        else:
            assert counter == last[pid]


def test_the_clock_reference_runs_ahead_of_decoding_and_never_back(clip):
    data = b"".join(remuxed(clip))
    clocks = clock_references(data)
    assert clocks == sorted(clocks)
    assert max(np.diff(clocks)) <= 100 * 90
    first = min(packet.dts for packet in demux(data, "mpegts"))
    assert 0 < first - clocks[0] <= 90_000 // 2


def test_log_time_wraps_at_33_bits_after_26_hours_and_a_half():
    clip = media_factory.h264_aac(seconds=5.0, b_frames=2)
    seconds = WRAP // 90_000 - 2
    plain, late = remuxed(clip), remuxed(clip, seconds)
    shift = seconds * 90_000
    for before, after in zip(plain, late, strict=True):
        expected = [(clock + shift) % WRAP for clock in clock_references(before)]
        assert clock_references(after) == expected
        first, first_late = demux(before, "mpegts")[0], demux(after, "mpegts")[0]
        assert (first.pts + shift - first_late.pts) % WRAP == 0
    assert any(clock < 90_000 * 3 for segment in late for clock in clock_references(segment))


def test_time_zero_is_no_trouble_for_a_clock_that_runs_ahead():
    clip = media_factory.h264_aac(seconds=2.0)
    start = min(packet.dts_ms for packet in clip.packets)
    video = next(packet for packet in clip.packets if packet.is_video)
    early = [
        replace(
            packet,
            pts=packet.pts - start * packet.track.clock_rate // 1000,
            dts=packet.dts - start * packet.track.clock_rate // 1000,
        )
        for packet in clip.packets
    ]
    _, items = package(early, clip.tracks)
    init, data = segment_bytes(items)[0]
    packets = demux(remux_segment(init.data, data, {}), "mpegts")
    first = next(packet.dts for packet in packets if packet.index == 0)
    assert abs(first - (video.dts - start * 90)) <= 90


def control(pid: int, counter: int, payload: bool) -> bytes:
    head = bytes((0x47, pid >> 8, pid & 0xFF, (0x30 if payload else 0x20) | counter))
    return head + bytes(PACKET - 4)


def counters_in(data: bytes) -> list[int]:
    return [packet[3] & 15 for _, packet in ts_packets(data)]


def test_packets_without_payload_do_not_count():
    segment = b"".join(
        control(256, counter, payload)
        for counter, payload in [(0, True), (0, False), (1, True), (1, False), (2, True)]
    )
    counters: dict[int, int] = {}
    assert counters_in(continue_counters(segment, counters)) == [0, 0, 1, 1, 2]
    assert counters == {256: 3}
    assert counters_in(continue_counters(segment, counters)) == [3, 3, 4, 4, 5]
    assert counters == {256: 6}


def test_counters_wrap_at_four_bits_for_each_stream_by_itself():
    segment = b"".join(control(256, n & 15, True) + control(17, n & 15, True) for n in range(20))
    counters = {256: 14, 17: 3}
    numbers = counters_in(continue_counters(segment, counters))
    assert numbers[0::2] == [(14 + n) & 15 for n in range(20)]
    assert numbers[1::2] == [(3 + n) & 15 for n in range(20)]
    assert counters == {256: (14 + 20) & 15, 17: (3 + 20) & 15}


def test_a_segment_that_does_not_begin_at_zero_is_shifted_all_the_same():
    segment = control(256, 9, True) + control(256, 10, True)
    assert counters_in(continue_counters(segment, {256: 3})) == [3, 4]


def test_a_track_of_which_nothing_was_counted_is_left_alone():
    segment = control(256, 5, payload=False)
    counters: dict[int, int] = {}
    assert continue_counters(segment, counters) == segment
    assert counters == {}


@pytest.mark.parametrize(
    ("codecs", "reason"),
    [
        ((Codec.H264, Codec.AAC), None),
        ((Codec.H265, Codec.MP3), None),
        ((Codec.AAC,), None),
        ((Codec.AV1, Codec.AAC), "AV1"),
        ((Codec.VP9, Codec.OPUS), "VP9"),
        ((Codec.H264, Codec.OPUS), "Opus"),
        ((), "no track"),
    ],
)
def test_what_old_players_cannot_take_is_told_in_a_sentence(codecs, reason):
    answer = supports(tuple(Track(codec, 90_000, b"") for codec in codecs))
    assert (answer is None) if reason is None else (answer is not None and reason in answer)


@pytest.mark.parametrize("media", [b"", b"\x00" * 100, b"garbage" * 50])
def test_bytes_that_are_no_segment_raise_what_a_peer_may_cause(media):
    with pytest.raises(RemoteProtocolError):
        remux_segment(b"", media, {})
