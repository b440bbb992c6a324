"""AudioSpecificConfig and ADTS."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.aac import AacConfig, is_adts, strip_adts, track_from_asc
from streamserver.media.errors import DamagedFrameError
from tests.media.helpers_reference import audio_sample


def _asc(text: str) -> bytes:
    bits = text.replace(" ", "")
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8)


@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [(48_000, "stereo", 2), (44_100, "mono", 1), (22_050, "stereo", 2), (48_000, "5.1", 6)],
)
def test_rate_and_channels_are_what_ffmpeg_says(rate, layout, channels):
    sample = audio_sample("aac", rate, layout)
    track = track_from_asc(sample.config)
    assert track.sample_rate == track.clock_rate == sample.sample_rate == rate
    assert track.channels == sample.channels == channels
    assert (track.codec_string, track.profile) == ("mp4a.40.2", "LC")
    assert track.config == sample.config


def test_the_sync_extension_of_ffmpeg_says_that_there_is_no_sbr():
    config = AacConfig.parse(bytes.fromhex("119056e500"))
    assert (config.sample_rate, config.channels, config.sbr_rate) == (48_000, 2, 0)
    assert config.samples_per_frame == 1024


@pytest.mark.parametrize(
    ("asc", "string", "channels"),
    [
        ("2b118800", "mp4a.40.5", 2),  # explicit: object type 5, 24 kHz core, 48 kHz output
        ("131056e598", "mp4a.40.5", 2),  # backward compatible: 0x2b7
        ("eb098800", "mp4a.40.29", 2),  # explicit parametric stereo
        ("130856e59d4880", "mp4a.40.29", 2),  # backward compatible: 0x2b7, then 0x548
    ],
)
def test_high_efficiency_counts_at_the_output_rate(asc, string, channels):
    config = AacConfig.parse(bytes.fromhex(asc))
    assert (config.core_rate, config.sample_rate) == (24_000, 48_000)
    assert config.samples_per_frame == 2048
    track = track_from_asc(bytes.fromhex(asc))
    assert (track.codec_string, track.channels) == (string, channels)
    assert track.clock_rate == 48_000


def test_a_rate_may_be_spelled_out():
    config = AacConfig.parse(_asc(f"00010 1111 {44_100:024b} 0010 000"))
    assert (config.core_rate, config.channels) == (44_100, 2)


def test_frames_of_960_samples_and_low_delay():
    assert AacConfig.parse(_asc("00010 0011 0010 100")).samples_per_frame == 960
    assert AacConfig.parse(_asc("10111 0011 0010 000")).samples_per_frame == 512
    assert AacConfig.parse(_asc("11111 000111 0011 0010 1")).samples_per_frame == 480


def test_a_program_config_element_counts_channels():
    # Front: a single and a pair; back: a pair; one low frequency element: 5.1.
    element = "0000 01 0011 0010 0000 0001 01 000 0000 0 0 0 0 0000 1 0001 1 0010 0000"
    prefix = "00010 0011 0000 000"
    aligned = prefix + element
    pad = "0" * (-len(aligned.replace(" ", "")) % 8)
    assert AacConfig.parse(_asc(f"{aligned}{pad} 00000000")).channels == 6


def test_channel_configuration_0_without_element_counts_as_stereo():
    assert AacConfig.parse(_asc("00010 0011 0000 000")).channels == 2


@pytest.mark.parametrize(
    "asc",
    [
        "", "12",
        "1690",  # sampling frequency index 13 is reserved
        "11c8",  # channel configuration 9 is reserved
        "17800000100000",  # 0 Hz
        "2b110800"[:6],
    ],
)  # fmt: skip
def test_broken_configurations_are_refused(asc):
    with pytest.raises(RemoteProtocolError):
        track_from_asc(bytes.fromhex(asc))


def test_sbr_that_does_not_fit_is_refused():
    with pytest.raises(RemoteProtocolError, match="SBR"):
        AacConfig.parse(_asc("00101 0011 0010 0111 00010 000"))


def _adts(payload: bytes, *, crc: bool = False, blocks: int = 1) -> bytes:
    size = len(payload) + (9 if crc else 7)
    head = bytes((
        0xFF, 0xF0 if crc else 0xF1, 0x4C, 0x80 | size >> 11, size >> 3 & 0xFF,
        (size & 7) << 5 | 0x1F, 0xFC | blocks - 1,
    ))  # fmt: skip
    return head + (b"\x12\x34" if crc else b"") + payload


@pytest.mark.parametrize("crc", [False, True])
def test_adts_headers_are_stripped(crc):
    frame = _adts(b"\x21\x00payload", crc=crc)
    assert is_adts(frame)
    assert strip_adts(frame) == b"\x21\x00payload"


def test_a_raw_frame_is_no_adts():
    assert not is_adts(b"\x21\x00\x49\x90\x02\x19\x00\x23\x80")
    assert not is_adts(b"\xff\xf1")


def test_adts_that_does_not_fit_is_damage():
    for broken in (_adts(b"abc")[:-1], _adts(b""), _adts(b"abc", blocks=2), _adts(b"ab" * 9) * 2):
        with pytest.raises(DamagedFrameError):
            strip_adts(broken)


@given(st.binary(max_size=64))
def test_random_bytes_raise_only_protocol_errors(data):
    try:
        track = track_from_asc(data)
    except RemoteProtocolError:
        pass
    else:
        assert 4000 <= track.clock_rate <= 192_000
        assert track.channels > 0
    if is_adts(b"\xff\xf1" + data):
        with contextlib.suppress(DamagedFrameError):
            strip_adts(b"\xff\xf1" + data)
