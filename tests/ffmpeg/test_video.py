"""Pictures converted by FFmpeg itself, read back by it."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from msgspec import structs

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.transcode_wire import Begin, Coded, Configured, Picture
from streamserver.ffmpeg.video import VideoTranscoder
from streamserver.media.h264 import track_from_avcc
from streamserver.media.packet import Packet
from streamserver.media.track import Kind, Track
from tests import media_factory
from tests.media_factory import Clip


def clip(**form: Any) -> Clip:
    return media_factory.read_flv(media_factory.encode(audio=None, **{"seconds": 1.0, **form}))


def begin(track: Track, **other: Any) -> Begin:
    return replace(Begin(1, track.codec.value, track.config, 1_000_000, 30), **other)


def coded(packet: Packet, *, late: bool = False) -> Coded:
    return Coded(packet.pts, packet.dts, late, packet.data)


def convert(
    transcoder: VideoTranscoder, packets: Iterable[Packet]
) -> tuple[list[Track], list[Picture]]:
    tracks, pictures = [], []
    for packet in packets:
        for made in transcoder.feed(coded(packet)):
            if isinstance(made, Configured):
                tracks.append(track_from_avcc(made.config))
            else:
                pictures.append(made)
    return tracks, pictures


def decoded(track: Track, pictures: Iterable[Picture]) -> list[Any]:
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.extradata = track.config
    frames = []
    for picture in pictures:
        packet = av.Packet(picture.data)
        packet.pts = packet.dts = picture.pts
        frames += decoder.decode(packet)
    return [*frames, *decoder.decode(None)]


@pytest.mark.parametrize(
    "form",
    [
        {"b_frames": 3, "options": {"profile": "high"}},
        {"pix_fmt": "yuv422p"},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
        {"video": "libx265", "b_frames": 3},
        {"video": "libsvtav1"},
        {"video": "libvpx-vp9"},
    ],
    ids=str,
)
def test_pictures_of_every_kind_become_what_every_browser_plays(form: dict[str, Any]):
    source = clip(gop=15, **form)
    track = source.track(Kind.VIDEO)
    (made,), pictures = convert(VideoTranscoder(begin(track)), source.packets)
    assert (made.profile, made.chroma_format, made.bit_depth) == (
        "Constrained Baseline", "4:2:0", 8,
    )  # fmt: skip
    assert (made.width, made.height) == (320, 180)
    # In the order in which they are shown, and none waits for what comes later without need.
    times = sorted(packet.pts for packet in source.packets)
    assert [picture.pts for picture in pictures] == times[: len(pictures)]
    assert len(times) - len(pictures) <= (3 if "b_frames" in form else 0)
    shown = decoded(made, pictures)
    assert len(shown) == len(pictures)
    assert {frame.format.name for frame in shown} == {"yuv420p"}
    # The gradient moves to the left: what is shown is what was published.
    first, last = (np.asarray(one.to_ndarray(format="gray"), int) for one in (shown[0], shown[9]))
    assert np.abs(first - last).mean() > 5
    assert [picture.keyframe for picture in pictures[:16]] == [True, *[False] * 14, True]


def test_there_is_a_keyframe_every_two_seconds_where_the_source_has_none():
    source = clip(seconds=5.0, gop=300, size=(64, 64))
    _, pictures = convert(VideoTranscoder(begin(source.tracks[0])), source.packets)
    keyframes = [picture.pts for picture in pictures if picture.keyframe]
    distances = [round((after - before) / 90_000) for before, after in pairwise(keyframes)]
    assert distances == [2, 2]


def test_a_keyframe_comes_when_it_is_wanted():
    source = clip(size=(64, 64))
    transcoder = VideoTranscoder(begin(source.tracks[0]))
    _, before = convert(transcoder, source.packets[:5])
    transcoder.want_keyframe()
    _, after = convert(transcoder, source.packets[5:8])
    assert [picture.keyframe for picture in before + after] == [
        True, False, False, False, False, True, False, False,
    ]  # fmt: skip


def test_what_is_late_is_decoded_and_not_shown():
    source = clip(size=(64, 64))
    transcoder = VideoTranscoder(begin(source.tracks[0]))
    for packet in source.packets[:10]:
        assert list(transcoder.feed(coded(packet, late=True))) == []
    (made,), pictures = convert(transcoder, source.packets[10:12])
    assert [picture.pts for picture in pictures] == [one.pts for one in source.packets[10:12]]
    assert pictures[0].keyframe
    assert len(decoded(made, pictures)) == 2


def test_damage_is_counted_and_the_rest_goes_on():
    source = clip(gop=10, size=(64, 64))
    transcoder = VideoTranscoder(begin(source.tracks[0]))
    broken = structs.replace(source.packets[3], data=b"\x00\x00\x00\x05nonse")
    damaged = [*source.packets[:3], broken, *source.packets[4:]]
    _, pictures = convert(transcoder, damaged)
    assert transcoder.damaged == 1
    assert len(pictures) >= 20
    assert pictures[-1].pts == source.packets[-1].pts


def test_pictures_that_change_their_size_are_configured_anew():
    small, large = clip(video="libvpx-vp9", size=(64, 64)), clip(video="libvpx-vp9", size=(97, 65))
    transcoder = VideoTranscoder(begin(small.tracks[0]))
    later = 90_000 * 10
    moved = [
        structs.replace(one, pts=one.pts + later, dts=one.dts + later) for one in large.packets
    ]
    tracks, pictures = convert(transcoder, [*small.packets[:5], *moved[:5]])
    assert [(track.width, track.height) for track in tracks] == [(64, 64), (96, 64)]
    assert [picture.keyframe for picture in pictures[4:7]] == [False, True, False]


def test_the_rate_is_not_exceeded():
    source = clip(seconds=4.0, size=(640, 360), options={"qp": "5"})
    _, pictures = convert(
        VideoTranscoder(begin(source.tracks[0], bit_rate=400_000)), source.packets
    )
    # Over four seconds, with the buffer of one.
    assert sum(len(picture.data) for picture in pictures) * 8 < 400_000 * 6


@pytest.mark.parametrize("codec", ["aac", "nonsense"])
def test_what_is_no_video_is_refused(codec: str):
    with pytest.raises(RemoteProtocolError):
        VideoTranscoder(Begin(1, codec, b"", 1_000_000, 30))


def test_a_picture_that_is_too_large_is_refused_by_the_decoder():
    source = clip(seconds=0.1, size=(4352, 2304))
    transcoder = VideoTranscoder(begin(source.tracks[0]))
    assert convert(transcoder, source.packets) == ([], [])
    assert transcoder.damaged == len(source.packets)
