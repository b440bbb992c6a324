"""VP9 configurations and frame headers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import VideoFrame, parse_video
from streamserver.media.track import Colour
from streamserver.media.vp9 import VpConfig, parse_frame, track_from_vpcc
from tests.media.helpers_reference import video_sample
from tests.media_factory import tags


def _frames(sample) -> list[bytes]:
    items = [item for tag in tags(sample.flv) for item in parse_video(tag.body)]
    return [item.data for item in items if isinstance(item, VideoFrame)]


@pytest.mark.parametrize(
    ("pix_fmt", "width", "height", "chroma", "depth", "profile"),
    [
        ("yuv420p", 64, 48, "4:2:0", 8, 0),
        ("yuv420p", 427, 239, "4:2:0", 8, 0),
        ("yuv444p", 64, 48, "4:4:4", 8, 1),
        ("yuv422p", 64, 48, "4:2:2", 8, 1),
    ],
)
def test_frames_and_configuration_agree_with_ffmpeg(pix_fmt, width, height, chroma, depth, profile):
    sample = video_sample("libvpx-vp9", pix_fmt, width, height)
    frames = _frames(sample)
    for config in (sample.config, b""):
        track = track_from_vpcc(config, keyframe=frames[0])
        assert (track.width, track.height) == (width, height)
        assert (track.chroma_format, track.bit_depth) == (chroma, depth)
        assert track.profile == f"Profile {profile}"
        assert track.codec_string.startswith(f"vp09.{profile:02d}.")
        assert len(track.config) == 8
    assert [parse_frame(frame).keyframe for frame in frames] == [True, False, False]


@pytest.mark.parametrize(
    ("samples", "chroma", "depth", "colour"),
    [
        ("10 00 0 0 0 010 0", "4:2:0", 8, Colour(1, 1, 1, False)),
        ("10 00 0 0 0 010 1", "4:2:0", 8, Colour(1, 1, 1, True)),
        ("10 10 0 0 0 001 0 1 1 0", "4:2:0", 8, Colour(6, 6, 6, False)),
        ("10 10 0 0 0 111 0", "4:4:4", 8, Colour(1, 13, 0, True)),
        ("10 10 0 0 0 000 0 0 1 0", "4:4:0", 8, None),
        ("10 01 0 0 0 0 101 0", "4:2:0", 10, Colour(9, 14, 9, False)),
        ("10 11 0 0 0 0 1 000 0 0 0 0", "4:4:4", 12, None),
        ("10 11 0 0 0 0 0 000 0 1 0 0", "4:2:2", 10, None),
    ],
)
def test_samples_and_colours_by_hand(samples, chroma, depth, colour):
    # Marker, profile, then zeros for existing frame, key frame and flags; libvpx here is 8 bit.
    fields = samples.replace(" ", "")
    profile = int(fields[2]) + 2 * int(fields[3])
    head = "10" + fields[2:4] + ("0" if profile == 3 else "") + "0000" + f"{0x498342:024b}"
    rest = fields[7 + (profile == 3) :]
    bits = head + rest + f"{639:016b}{359:016b}"
    bits += "0" * (-len(bits) % 8)
    track = track_from_vpcc(b"", keyframe=int(bits, 2).to_bytes(len(bits) // 8))
    assert (track.width, track.height) == (640, 360)
    assert (track.chroma_format, track.bit_depth, track.colour) == (chroma, depth, colour)


def test_the_full_box_header_of_ffmpeg_is_taken_off():
    config = video_sample("libvpx-vp9").config
    assert len(config) == 12
    assert VpConfig.parse(config) == VpConfig.parse(config[4:])
    assert track_from_vpcc(config).config == config[4:]


def test_without_a_key_frame_there_is_no_size():
    track = track_from_vpcc(video_sample("libvpx-vp9").config)
    assert (track.width, track.height) == (0, 0)


def test_a_colour_makes_the_codec_string_long():
    config = VpConfig(2, 31, 10, 1, Colour(9, 16, 9, False))
    assert config.codec_string == "vp09.02.31.10.01.09.16.09.00"
    assert VpConfig.parse(config.to_bytes()) == config


def test_a_shown_existing_frame_is_no_keyframe():
    assert not parse_frame(bytes((0b10001000,))).keyframe


@pytest.mark.parametrize("frame", ["", "00", "80", "8249834300", "c0"])
def test_broken_frames_are_damage(frame):
    with pytest.raises(DamagedFrameError):
        parse_frame(bytes.fromhex(frame))


@given(st.binary(max_size=40))
def test_random_bytes_raise_only_protocol_errors(data):
    for config, frame in ((data, b""), (b"", data), (b"", b"\x82\x49\x83\x42" + data)):
        with contextlib.suppress(RemoteProtocolError):
            track_from_vpcc(config, keyframe=frame)
