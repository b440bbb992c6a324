"""H.264 configurations: real ones against FFmpeg, odd ones by hand, hostile ones by chance."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.h264 import AvcConfig, parse_sps, recovery_frames, track_from_avcc
from streamserver.media.track import Codec, Colour, Track
from tests.media.helpers_reference import video_sample

# x264 at 1920x1080, 60 frames, BT.709, as OBS runs it: 1088 lines coded, 8 of them cropped.
X264_AVCC = bytes.fromhex(
    "0164002affe1001d6764002aacd940780227e59a808080a0000003002000000f01e30632c0"
    "01000468ef8fcbfdf8f800"
)


def _track(sample) -> Track:
    return track_from_avcc(sample.config)


@pytest.mark.parametrize(
    ("pix_fmt", "width", "height", "chroma", "depth"),
    [
        ("yuv420p", 1920, 1080, "4:2:0", 8),
        ("yuv420p", 64, 48, "4:2:0", 8),
        ("yuv420p", 426, 238, "4:2:0", 8),
        ("yuv420p10le", 64, 48, "4:2:0", 10),
        ("yuv422p", 66, 50, "4:2:2", 8),
        ("yuv422p10le", 66, 49, "4:2:2", 10),
        ("yuv444p", 67, 49, "4:4:4", 8),
        ("gray", 67, 49, "4:0:0", 8),
    ],
)
def test_size_and_samples_are_what_ffmpeg_says(pix_fmt, width, height, chroma, depth):
    sample = video_sample("libx264", pix_fmt, width, height)
    track = _track(sample)
    assert (track.width, track.height) == (sample.width, sample.height)
    assert (track.width, track.height) == (width, height)
    assert (track.chroma_format, track.bit_depth) == (chroma, depth)
    assert track.frame_rate == 25
    assert track.codec is Codec.H264
    assert track.clock_rate == 90_000


@pytest.mark.parametrize(
    ("profile", "pix_fmt", "name", "idc"),
    [
        ("baseline", "yuv420p", "Constrained Baseline", "42C0"),
        ("main", "yuv420p", "Main", "4D40"),
        ("high", "yuv420p", "High", "6400"),
        ("high10", "yuv420p10le", "High 10", "6E00"),
        ("high422", "yuv422p", "High 4:2:2", "7A00"),
        ("high444", "yuv444p", "High 4:4:4 Predictive", "F400"),
    ],
)
def test_profile_has_its_name_and_its_codec_string(profile, pix_fmt, name, idc):
    options = {"profile": profile, "preset": "veryfast"}
    sample = video_sample("libx264", pix_fmt, **options)
    track = _track(sample)
    assert track.profile == name
    assert track.codec_string == f"avc1.{idc}{sample.config[3]:02X}"


@pytest.mark.parametrize(("level", "number"), [("3.1", 31), ("4", 40), ("5.2", 52)])
def test_level_is_told_as_people_write_it(level, number):
    sample = video_sample("libx264", level=level)
    sps = parse_sps(AvcConfig.parse(sample.config).sps[0])
    assert sps.level_idc == number
    assert sps.level == f"{number // 10}.{number % 10}"


def test_interlaced_frames_count_whole_frames():
    params = {"x264-params": "tff=1"}
    sample = video_sample("libx264", "yuv420p", 720, 576, **params)
    sps = parse_sps(AvcConfig.parse(sample.config).sps[0])
    assert sps.interlaced
    assert (sps.width, sps.height) == (720, 576)
    assert sps.vui.frame_rate == 25


def test_interlaced_cropping_counts_field_pairs():
    params = {"x264-params": "tff=1"}
    sample = video_sample("libx264", "yuv420p", 1920, 1080, **params)
    assert (_track(sample).width, _track(sample).height) == (1920, 1080)


def test_colour_description_is_read():
    sample = video_sample(
        "libx264", color_primaries="bt2020", color_trc="smpte2084", colorspace="bt2020nc",
        color_range="pc",
    )  # fmt: skip
    assert _track(sample).colour == Colour(9, 16, 9, True)


def test_no_colour_description_is_none():
    assert _track(video_sample("libx264")).colour is None


@pytest.mark.parametrize(("b_frames", "reorders"), [("0", False), ("2", True)])
def test_reordering_is_told_by_the_restrictions(b_frames, reorders):
    sample = video_sample("libx264", bf=b_frames, preset="veryfast")
    assert parse_sps(AvcConfig.parse(sample.config).sps[0]).may_reorder is reorders


def test_scaling_matrices_are_passed_over():
    sample = video_sample("libx264", **{"x264-params": "cqm=jvt", "preset": "veryfast"})
    assert (_track(sample).width, _track(sample).height) == (64, 48)
    assert _track(sample).frame_rate == 25


def test_hrd_parameters_are_passed_over():
    params = {"x264-params": "nal-hrd=cbr:vbv-maxrate=500:vbv-bufsize=500:bitrate=500:bframes=2"}
    sample = video_sample("libx264", preset="veryfast", **params)
    sps = parse_sps(AvcConfig.parse(sample.config).sps[0])
    assert sps.vui.max_reorder_frames == 2


def test_what_x264_writes_for_1080p60():
    track = track_from_avcc(X264_AVCC)
    assert (track.width, track.height, track.profile) == (1920, 1080, "High")
    assert track.frame_rate == Fraction(60)
    assert track.codec_string == "avc1.64002A"
    assert track.config == X264_AVCC
    assert track.colour == Colour(1, 1, 1, False)


def test_a_usability_part_cut_short_costs_the_frame_rate_only():
    sps = AvcConfig.parse(X264_AVCC).sps[0]
    cut = parse_sps(sps[:-8])
    assert (cut.width, cut.height, cut.vui.frame_rate) == (1920, 1080, None)


def test_lengths_of_two_bytes_become_four():
    short = bytearray(X264_AVCC)
    short[4] = 0xFC | 1
    assert AvcConfig.parse(bytes(short)).length_size == 2
    assert track_from_avcc(bytes(short)).config == X264_AVCC


def test_lengths_of_three_bytes_are_refused():
    short = bytearray(X264_AVCC)
    short[4] = 0xFC | 2
    with pytest.raises(RemoteProtocolError, match="3 bytes"):
        AvcConfig.parse(bytes(short))


def test_the_tail_of_high_profiles_may_be_missing_or_broken():
    assert track_from_avcc(X264_AVCC[:-4]).width == 1920
    assert track_from_avcc(X264_AVCC[:-1] + b"\x07").width == 1920


def test_parameter_sets_in_annex_b_form_become_avcc():
    config = AvcConfig.parse(X264_AVCC)
    annex_b = b"".join(b"\x00\x00\x00\x01" + nal for nal in config.sets.values())
    assert track_from_avcc(annex_b).config == X264_AVCC


def test_a_changed_set_makes_another_configuration():
    config = AvcConfig.parse(X264_AVCC)
    other = AvcConfig.parse(video_sample("libx264").config)
    assert config.merged(config.sets.values()) is config
    changed = config.merged(other.sets.values())
    assert changed.sps == other.sps
    assert track_from_avcc(changed.to_bytes()).width == 64


def test_a_record_of_our_own_is_read_back():
    for pix_fmt in ("yuv420p", "yuv422p10le"):
        config = video_sample("libx264", pix_fmt).config
        assert AvcConfig.parse(config).to_bytes() == config


@pytest.mark.parametrize(
    "config",
    [b"", b"\x01", b"\x02" + X264_AVCC[1:], X264_AVCC[:12], b"\x01\x64\x00\x2a\xff\xe0\x00"],
)
def test_broken_records_are_refused(config):
    with pytest.raises(RemoteProtocolError):
        track_from_avcc(config)


def test_a_picture_cropped_to_nothing_is_refused():
    # Baseline, 16x16 luma samples, all of them cropped: 8 chroma columns.
    bits = "01000010" + "11000000" + "00001010" + "1" + "1" + "1" + "1" + "010" + "0" + "1" + "1"
    bits += "1" + "0" + "1" + "0001001" + "1" + "1" + "1" + "0" + "1"
    padded = bits + "0" * (-len(bits) % 8)
    with pytest.raises(RemoteProtocolError, match="cropped"):
        parse_sps(b"\x67" + int(padded, 2).to_bytes(len(padded) // 8))


def test_a_recovery_point_tells_its_frames():
    assert recovery_frames(bytes.fromhex("0606018480")) == 0
    assert recovery_frames(bytes.fromhex("060501aa060224a080")) == 3
    assert recovery_frames(bytes.fromhex("060501aa80")) is None
    assert recovery_frames(b"\x06") is None
    assert recovery_frames(b"\x06" + b"\xff" * 5000) is None


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_protocol_errors(data):
    for attempt in (data, X264_AVCC[:8] + data, b"\x00\x00\x01\x67\x64" + data):
        with contextlib.suppress(RemoteProtocolError):
            track_from_avcc(attempt)


@given(st.integers(0, len(X264_AVCC) - 1), st.binary(min_size=1, max_size=4))
def test_mutated_records_raise_only_protocol_errors(position, patch):
    data = X264_AVCC[:position] + patch + X264_AVCC[position + len(patch) :]
    try:
        track = track_from_avcc(data)
    except RemoteProtocolError:
        return
    assert 0 < track.width <= 16 * 1055
    assert 0 < track.height <= 2 * 16 * 1055
