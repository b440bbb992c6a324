"""What browsers cannot play is said so that the publisher can change it."""

from dataclasses import replace

import pytest

from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.outputs.webrtc.playable import why_not_offered, why_unplayable
from tests import media_factory
from tests.fakes import Turns, audio_track, video_track
from tests.media_factory import Clip, encode, read_flv


def log_of(packets: list[Packet]) -> Log[Packet]:
    log: Log[Packet] = Log(max_ms=60_000, max_bytes=1 << 26, schedule=Turns())
    for one in packets:
        log.append(one, size=len(one.data), at_ms=one.dts_ms, keyframe=one.keyframe)
    return log


def clip(b_frames: int, pix_fmt: str = "yuv420p") -> Clip:
    return read_flv(encode(audio=None, b_frames=b_frames, pix_fmt=pix_fmt))


def test_a_stream_without_b_frames_is_playable() -> None:
    found = clip(0)
    assert why_unplayable(found.tracks, log_of(list(found.packets))) is None


def test_b_frames_are_refused_with_a_word_on_obs() -> None:
    found = clip(2)
    reason = why_unplayable(found.tracks, log_of(list(found.packets)))
    assert reason is not None
    assert "B-frames" in reason
    assert "OBS" in reason


def test_b_frames_that_the_encoder_announces_are_refused_before_one_has_come() -> None:
    found = clip(2)
    assert why_unplayable(found.tracks, log_of(list(found.packets[:1]))) is not None


def test_a_constant_distance_of_decoding_and_showing_is_no_b_frame() -> None:
    track = video_track()
    shifted = [
        Packet(track, dts + 6_000, dts, 3_000, dts == 0, b"x", 0)
        for dts in range(0, 300_000, 3_000)
    ]
    assert why_unplayable([track], log_of(shifted)) is None


@pytest.mark.parametrize("chroma", ["4:2:2", "4:4:4"])
def test_other_colours_than_420_are_refused(chroma: str) -> None:
    track = replace(video_track(), chroma_format=chroma)
    reason = why_unplayable([track], None)
    assert reason is not None
    assert chroma in reason


def test_ten_bits_are_refused_but_for_av1() -> None:
    reason = why_unplayable([replace(video_track(codec=Codec.H265), bit_depth=10)], None)
    assert reason is not None
    assert "10 bits" in reason
    assert why_unplayable([replace(video_track(codec=Codec.AV1), bit_depth=10)], None) is None


def test_sound_alone_is_playable() -> None:
    assert why_unplayable([audio_track()], None) is None


def test_a_codec_that_is_not_offered_is_named() -> None:
    track: Track = media_factory.hevc_aac().track(Kind.VIDEO)
    reason = why_not_offered(track, {Codec.H264, Codec.OPUS})
    assert reason is not None
    assert "H.265" in reason
    assert why_not_offered(track, {Codec.H265}) is None
