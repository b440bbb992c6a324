"""Real frames, cut into payloads and put together again by the code of the other direction."""

from collections.abc import Callable

import pytest

from streamserver.media.nal import join_nals, split_prefixed
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.rtp.depacketize.av1 import Av1Depacketizer
from streamserver.rtp.depacketize.base import Depacketizer
from streamserver.rtp.depacketize.h264 import H264Depacketizer
from streamserver.rtp.depacketize.h265 import H265Depacketizer
from streamserver.rtp.depacketize.vp8 import Vp8Depacketizer
from streamserver.rtp.depacketize.vp9 import Vp9Depacketizer
from streamserver.rtp.packetize.factory import make_packetizer
from tests import media_factory
from tests.fakes import packet, video_track
from tests.media_factory import Clip

DEPACKETIZERS: dict[Codec, Callable[[], Depacketizer]] = {
    Codec.H264: H264Depacketizer,
    Codec.H265: H265Depacketizer,
    Codec.AV1: Av1Depacketizer,
    Codec.VP8: Vp8Depacketizer,
    Codec.VP9: Vp9Depacketizer,
}


def through(track: Track, packets: list[Packet]) -> list[tuple[bytes, bool]]:
    packetizer = make_packetizer(track)
    assert packetizer is not None
    depacketizer = DEPACKETIZERS[track.codec]()
    frames = []
    for one in packets:
        payloads = packetizer.packetize(one)
        assert depacketizer.begins(payloads[0]) or not one.keyframe
        for payload in payloads:
            depacketizer.add(payload)
        frame = depacketizer.take()
        assert frame is not None
        frames.append((frame.data, frame.keyframe))
    return frames


@pytest.mark.parametrize("make", [media_factory.h264_aac, media_factory.hevc_aac])
def test_slices_of_h264_and_h265_come_through(make: Callable[[], Clip]) -> None:
    clip = make()
    packets = clip.of(Kind.VIDEO)
    track = clip.track(Kind.VIDEO)
    is_slice = (lambda nal: nal[0] & 0x1F <= 5) if track.codec is Codec.H264 else _is_hevc_slice
    for one, (data, keyframe) in zip(packets, through(track, packets), strict=True):
        assert _slices(data, is_slice) == _slices(one.data, is_slice)
        assert keyframe is one.keyframe


def test_av1_comes_through() -> None:
    clip = media_factory.av1_aac()
    packets = clip.of(Kind.VIDEO)
    for one, (data, keyframe) in zip(
        packets, through(clip.track(Kind.VIDEO), packets), strict=True
    ):
        assert keyframe is one.keyframe
        assert data.endswith(one.data[-64:])


def test_vp9_comes_through() -> None:
    clip = media_factory.vp9_opus()
    packets = clip.of(Kind.VIDEO)
    frames = through(clip.track(Kind.VIDEO), packets)
    assert frames == [(one.data, one.keyframe) for one in packets]


@pytest.mark.parametrize("size", [1, 10, 1_187, 1_188, 50_000])
def test_vp8_comes_through(size: int) -> None:
    track = video_track(codec=Codec.VP8)
    data = b"\x10" + packet(track, 0, size=size).data
    one = Packet(track, 0, 0, 0, True, data, 0)
    assert through(track, [one])[0][0] == data


def _slices(data: bytes, is_slice: Callable[[bytes], bool]) -> bytes:
    return join_nals(nal for nal in split_prefixed(data, 4) if is_slice(nal))


def _is_hevc_slice(nal: bytes) -> bool:
    return nal[0] >> 1 & 0x3F < 32
