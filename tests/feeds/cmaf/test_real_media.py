"""Real clips through the feed, demuxed and decoded by FFmpeg."""

import io
import subprocess
from collections import Counter

import av
import pytest

from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind
from tests import media_factory
from tests.feeds.cmaf.helpers_stream import (
    check_promises,
    check_samples,
    demux,
    package,
    parts_of,
    segment_bytes,
)
from tests.media_factory import Clip

CLIPS = {
    "h264": lambda: media_factory.h264_aac(seconds=5.0),
    "h264 with b-frames": lambda: media_factory.h264_aac(seconds=5.0, b_frames=2),
    "hevc with b-frames": lambda: media_factory.hevc_aac(seconds=3.0, b_frames=2),
    "av1": lambda: media_factory.av1_aac(seconds=3.0),
    "vp9 and opus": lambda: media_factory.vp9_opus(seconds=3.0),
    "audio alone": lambda: media_factory.audio_only(seconds=5.0),
    "opus alone": lambda: media_factory.audio_only(seconds=5.0, codec="libopus"),
    "mp3 alone": lambda: media_factory.audio_only(
        seconds=5.0, codec="libmp3lame", sample_rate=44_100
    ),
    "video alone": lambda: media_factory.video_only(seconds=5.0, b_frames=2),
}


@pytest.fixture(params=list(CLIPS))
def clip(request: pytest.FixtureRequest) -> Clip:
    return CLIPS[request.param]()


def sent(clip: Clip) -> list[Packet]:
    """What the feed can use: everything from the first keyframe on."""
    first = next((p.dts for p in clip.packets if p.is_video and p.keyframe), 0)
    return [p for p in clip.packets if not p.is_video or p.dts >= first]


def test_every_frame_arrives_with_its_exact_time(clip):
    feed, items = package(clip.packets, clip.tracks)
    check_promises(items)
    check_samples(items, sent(clip))
    assert feed.init is not None
    whole = feed.init.data + b"".join(part.data for part in parts_of(items))
    packets = demux(whole)
    counts = Counter(packet.index for packet in packets)
    for index, track in enumerate(feed.init.tracks):
        expected = [packet for packet in sent(clip) if packet.track is track]
        assert counts[index] == len(expected)
        mine = [packet for packet in packets if packet.index == index]
        if track.kind is Kind.VIDEO:
            assert [packet.pts for packet in mine] == [packet.pts for packet in expected]
            assert [packet.is_keyframe for packet in mine] == [p.keyframe for p in expected]
        if track.codec is not Codec.AV1:  # whose demuxer puts the temporal delimiter back
            assert [packet.data for packet in mine] == [packet.data for packet in expected]
        ends = [packet.dts + packet.duration for packet in mine]
        if track.codec is Codec.VP9:  # whose demuxer tells no durations
            continue
        assert [packet.dts for packet in mine[1:]] == ends[:-1]


def test_each_segment_decodes_by_itself(clip):
    _, items = package(clip.packets, clip.tracks)
    decoded: Counter[str] = Counter()
    segments = segment_bytes(items)
    for init, data in segments:
        with av.open(io.BytesIO(init.data + data), "r", format="mp4") as container:
            for frame in container.decode():
                decoded[type(frame).__name__] += 1
    pictures = sum(packet.is_video for packet in sent(clip))
    # x265's groups are open: two frames before each later keyframe need the group before it.
    open_groups = clip.tracks[0].codec is Codec.H265
    leading = 2 * (len(segments) - 1) if open_groups else 0
    assert decoded["VideoFrame"] == pictures - leading
    assert bool(decoded["AudioFrame"]) == any(not packet.is_video for packet in clip.packets)


@pytest.mark.peer
def test_ffmpeg_of_debian_decodes_without_a_word(clip, tmp_path):
    feed, items = package(clip.packets, clip.tracks)
    assert feed.init is not None
    path = tmp_path / "whole.mp4"
    path.write_bytes(feed.init.data + b"".join(part.data for part in parts_of(items)))
    run = subprocess.run(
        ["/usr/bin/ffmpeg", "-v", "error", "-i", path, "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
