"""AV1 sequence headers and units."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.av1 import (
    build_av1c,
    is_shown_key_frame,
    parse_obu,
    parse_sequence_header,
    sequence_header_of,
    split_obus,
    track_from_av1c,
)
from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Colour
from tests.media.helpers_reference import video_sample


@pytest.mark.parametrize(
    ("pix_fmt", "width", "height", "depth"),
    [("yuv420p", 64, 64, 8), ("yuv420p10le", 66, 98, 10), ("yuv420p", 427, 239, 8)],
)
def test_size_and_samples_are_what_ffmpeg_says(pix_fmt, width, height, depth):
    sample = video_sample("libsvtav1", pix_fmt, width, height)
    track = track_from_av1c(sample.config)
    assert (track.width, track.height) == (sample.width, sample.height)
    assert (track.width, track.height) == (width, height)
    assert (track.bit_depth, track.chroma_format, track.profile) == (depth, "4:2:0", "Main")
    assert track.codec_string == f"av01.0.{sample.config[1] & 31:02d}M.{depth:02d}"
    assert track.config == sample.config


def test_colour_description_makes_the_codec_string_long():
    sample = video_sample(
        "libsvtav1", "yuv420p10le", 64, 64, color_primaries="bt2020", color_trc="smpte2084",
        colorspace="bt2020nc",
    )  # fmt: skip
    track = track_from_av1c(sample.config)
    assert track.colour == Colour(9, 16, 9, False)
    assert track.codec_string.endswith("M.10.0.110.09.16.09.0")


def test_a_record_of_our_own_is_what_ffmpeg_writes():
    config = video_sample("libsvtav1", "yuv420p10le", 66, 98).config
    obu = sequence_header_of(config[4:])
    assert obu is not None
    assert build_av1c(obu) == config


def test_a_record_without_sequence_header_knows_no_size():
    track = track_from_av1c(bytes.fromhex("81056c00"))
    assert (track.width, track.height) == (0, 0)
    assert (track.bit_depth, track.codec_string) == (12, "av01.0.05M.12")


def _header(text: str) -> bytes:
    bits = text.replace(" ", "")
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8)


TOOLS = "000 0000 0 1 1 000"
SIZE = "0110 0101 1111111 111111"  # 128 x 64


def test_equally_spaced_pictures_tell_a_frame_rate():
    timing = f"1 {1001:032b} {60000:032b} 1 010 0"  # two ticks to a picture, no decoder model
    point = "0 00000 000000000000 01000 1"  # level 4.0, high tier
    header = parse_sequence_header(
        _header(f"000 0 0 {timing} {point} {SIZE} 0 {TOOLS} 0 0 0 0 00 0")
    )
    assert header.frame_rate is not None
    assert (header.frame_rate.numerator, header.frame_rate.denominator) == (30000, 1001)
    assert (header.width, header.height) == (128, 64)
    assert header.codec_string == "av01.0.08H.08"


def test_decoder_model_and_operating_points_are_passed_over():
    timing = f"1 {1:032b} {30:032b} 0 1 00111 {0:032b} 00000 00000"
    points = "1 00001 " + "000000000000 00100 1 00000000 00000000 1 1 0000 " * 2
    header = parse_sequence_header(
        _header(f"000 0 0 {timing} {points} {SIZE} 0 {TOOLS} 0 0 0 0 00 0")
    )
    assert (header.width, header.height, header.level_idx) == (128, 64, 4)
    assert header.frame_rate is None


@pytest.mark.parametrize(
    ("profile", "colour", "chroma", "depth"),
    [
        ("000", "1 1 0 0", "4:0:0", 10),
        ("001", "0 0 0 0", "4:4:4", 8),
        ("001", "0 1 00000001 00001101 00000000 0", "4:4:4", 8),
        ("010", "1 1 0 0 0 1 1 01 0", "4:2:0", 12),
        ("010", "1 1 0 0 0 1 0 0", "4:2:2", 12),
        ("010", "1 0 0 0 0 0", "4:2:2", 10),
        ("010", "0 0 0 0 0", "4:2:2", 8),
    ],
)
def test_samples_by_profile(profile, colour, chroma, depth):
    header = parse_sequence_header(_header(f"{profile} 1 1 00000 {SIZE} 000 000 {colour} 0"))
    assert (header.chroma_format, header.bit_depth) == (chroma, depth)
    assert header.reduced


def test_units_are_walked_with_and_without_size():
    # A delimiter, a header, a frame with an extension byte, and a last frame without size.
    data = bytes.fromhex("1200" + "0a01aa" + "36000111" + "30ff")
    walked = [(obu.kind, data[obu.payload : obu.end].hex()) for obu in split_obus(data)]
    assert walked == [(2, ""), (1, "aa"), (6, "11"), (6, "ff")]


@pytest.mark.parametrize("data", ["0a05aa", "8a00", "0aff", "36", "12" + "ff" * 9])
def test_units_that_do_not_add_up_are_damage(data):
    with pytest.raises(DamagedFrameError):
        list(split_obus(bytes.fromhex(data)))


def test_a_flood_of_units_is_damage():
    with pytest.raises(DamagedFrameError, match="more than"):
        list(split_obus(b"\x12\x00" * 5000))


@pytest.mark.parametrize(
    ("first", "keyframe"), [(0x10, True), (0x00, False), (0x30, False), (0x90, False)]
)
def test_a_key_frame_is_one_that_is_shown(first, keyframe):
    assert is_shown_key_frame(bytes((first,))) is keyframe
    assert is_shown_key_frame(bytes((first,)), reduced=True)
    assert not is_shown_key_frame(b"")


@given(st.binary(max_size=100))
def test_random_bytes_raise_only_protocol_errors(data):
    for attempt in (data, b"\x81\x00\x0c\x00" + data, b"\x81\x00\x0c\x00\x0a\x0b" + data):
        with contextlib.suppress(RemoteProtocolError):
            track_from_av1c(attempt)
    with contextlib.suppress(RemoteProtocolError):
        parse_obu(b"\x0a" + bytes((len(data) & 0x7F,)) + data)
