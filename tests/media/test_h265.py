"""H.265 configurations: real ones against FFmpeg, odd ones by hand, hostile ones by chance."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.h265 import HevcConfig, Profile, codec_string, parse_sps, track_from_hvcc
from streamserver.media.track import Colour
from tests.media.helpers_reference import video_sample


@pytest.mark.parametrize(
    ("pix_fmt", "width", "height", "chroma", "depth", "profile"),
    [
        ("yuv420p", 1920, 1080, "4:2:0", 8, "Main"),
        ("yuv420p", 426, 238, "4:2:0", 8, "Main"),
        ("yuv420p10le", 64, 48, "4:2:0", 10, "Main 10"),
        ("yuv422p10le", 66, 49, "4:2:2", 10, "Range Extensions"),
        ("yuv444p", 67, 49, "4:4:4", 8, "Range Extensions"),
        ("gray", 67, 49, "4:0:0", 8, "Range Extensions"),
    ],
)
def test_size_and_samples_are_what_ffmpeg_says(pix_fmt, width, height, chroma, depth, profile):
    sample = video_sample("libx265", pix_fmt, width, height)
    track = track_from_hvcc(sample.config)
    assert (track.width, track.height) == (sample.width, sample.height)
    assert (track.width, track.height) == (width, height)
    assert (track.chroma_format, track.bit_depth, track.profile) == (chroma, depth, profile)
    assert track.frame_rate == 25
    assert track.config == sample.config


def test_colour_description_is_read():
    sample = video_sample(
        "libx265", color_primaries="bt2020", color_trc="arib-std-b67", colorspace="bt2020nc"
    )
    assert track_from_hvcc(sample.config).colour == Colour(9, 18, 9, False)


def test_reordering_bounds_are_read():
    params = {"x265-params": "log-level=none:bframes=3:b-adapt=0", "preset": "veryfast"}
    sample = video_sample("libx265", **params)
    assert parse_sps(HevcConfig.parse(sample.config).sps[0]).max_reorder_frames > 0


def test_scaling_lists_and_long_term_pictures_are_passed_over():
    params = {"x265-params": "log-level=none:scaling-list=default:range=full"}
    sample = video_sample("libx265", **params)
    track = track_from_hvcc(sample.config)
    assert track.frame_rate == 25
    assert track.colour == Colour(2, 2, 2, True)


def test_codec_string_of_the_apple_specification():
    main = Profile(0, False, 1, 0x6000_0000, 0x9000_0000_0000, 93)
    assert codec_string(main) == "hvc1.1.6.L93.90"
    assert main.level == "3.1"
    main_10 = Profile(0, True, 2, 0x2000_0000, 0xB000_0000_0000, 153)
    assert codec_string(main_10) == "hvc1.2.4.H153.B0"
    odd = Profile(1, False, 4, 0x0800_0000, 0x9A38_0000_0000, 90)
    assert codec_string(odd) == "hvc1.A4.10.L90.9A.38"


def test_a_record_of_our_own_describes_the_same_track():
    config = video_sample("libx265", "yuv422p10le", 66, 49).config
    parsed = HevcConfig.parse(config)
    ours = parsed.to_bytes()
    assert ours[:13] == config[:13]
    assert ours[16:19] == config[16:19]
    assert ours[21] & 3 == 3
    assert HevcConfig.parse(ours).sps == parsed.sps


def test_lengths_of_two_bytes_become_four():
    config = bytearray(video_sample("libx265").config)
    config[21] = config[21] & 0xFC | 1
    assert HevcConfig.parse(bytes(config)).length_size == 2
    rewritten = track_from_hvcc(bytes(config)).config
    assert HevcConfig.parse(rewritten).length_size == 4


def test_parameter_sets_in_annex_b_form_become_hvcc():
    config = HevcConfig.parse(video_sample("libx265").config)
    annex_b = b"".join(b"\x00\x00\x00\x01" + nal for nal in config.sets.values())
    track = track_from_hvcc(annex_b)
    assert track.config == config.to_bytes()
    assert (track.width, track.height) == (64, 48)


def test_a_changed_set_makes_another_configuration():
    config = HevcConfig.parse(video_sample("libx265").config)
    other = HevcConfig.parse(video_sample("libx265", "yuv420p", 426, 238).config)
    assert config.merged(config.sets.values()) is config
    assert track_from_hvcc(config.merged(other.sets.values()).to_bytes()).width == 426


def test_broken_records_are_refused():
    config = video_sample("libx265").config
    no_sps = config[:22] + b"\x00"
    three = bytearray(config)
    three[21] = three[21] & 0xFC | 2
    for broken in (b"", b"\x02" + config[1:], config[:40], no_sps, bytes(three), bytes(40_000)):
        with pytest.raises(RemoteProtocolError):
            track_from_hvcc(broken)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4))
def test_mutated_records_raise_only_protocol_errors(position, patch):
    config = video_sample("libx265").config
    position %= len(config)
    data = config[:position] + patch + config[position + len(patch) :]
    try:
        track = track_from_hvcc(data)
    except RemoteProtocolError:
        return
    assert 0 < track.width <= 16_888
    assert 0 < track.height <= 16_888


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_protocol_errors(data):
    sps = HevcConfig.parse(video_sample("libx265").config).sps[0]
    for attempt in (data, b"\x00\x00\x01\x42\x01" + data, b"\x00\x00\x01" + sps[:20] + data):
        with contextlib.suppress(RemoteProtocolError):
            track_from_hvcc(attempt)
