"""OpusHead and packet durations."""

import contextlib
import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.errors import DamagedFrameError
from streamserver.media.opus import OpusHead, packet_samples, track_from_opus_head
from tests.media.helpers_reference import audio_sample

# RFC 7845 5.1: stereo, 312 samples of pre-skip, 48 kHz.
STEREO = b"OpusHead" + bytes.fromhex("0102380180bb0000000000")


def test_the_captured_header_is_read_and_written_back():
    head = OpusHead.parse(STEREO)
    assert (head.channels, head.pre_skip, head.input_rate, head.family) == (2, 312, 48_000, 0)
    assert head.to_bytes() == STEREO


@pytest.mark.parametrize(
    ("layout", "channels"), [("mono", 1), ("stereo", 2), ("quad", 4), ("5.1", 6), ("7.1", 8)]
)
def test_headers_of_libopus_are_read_and_our_own_layouts_are_the_same(layout, channels):
    sample = audio_sample("libopus", 48_000, layout)
    head = OpusHead.parse(sample.config)
    assert head.to_bytes() == sample.config
    ours = OpusHead.of_channels(channels)
    assert (ours.family, ours.streams, ours.coupled) == (head.family, head.streams, head.coupled)
    assert ours.mapping == head.mapping
    track = track_from_opus_head(sample.config)
    assert (track.channels, track.clock_rate, track.codec_string) == (channels, 48_000, "opus")


def test_an_empty_header_means_stereo():
    track = track_from_opus_head(b"")
    assert track.channels == 2
    assert track.config == STEREO


@pytest.mark.parametrize(
    "config",
    [
        b"OpusHead",
        b"OpusTags" + STEREO[8:],
        STEREO[:9] + b"\x00" + STEREO[10:],
        STEREO[:9] + b"\x03" + STEREO[10:],
        STEREO[:18] + b"\x01\x01\x01\x00",
        STEREO[:18] + b"\x01\x00\x00\x00\x00",
        STEREO[:18] + b"\x01\x01\x01\x00\x07",
        STEREO[:8] + b"\x10" + STEREO[9:],
    ],
)
def test_broken_headers_are_refused(config):
    with pytest.raises(RemoteProtocolError):
        track_from_opus_head(config)


def test_odd_numbers_of_channels_have_no_usual_layout():
    with pytest.raises(RemoteProtocolError):
        OpusHead.of_channels(9)


@pytest.mark.parametrize("frame_ms", ["2.5", "5", "10", "20", "40", "60", "80", "100", "120"])
def test_packets_of_libopus_last_what_they_were_encoded_for(frame_ms):
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = 48_000, "stereo", "flt"
    codec.options = {"frame_duration": frame_ms}
    codec.open()
    samples = round(float(frame_ms) * 48)
    assert codec.frame_size == samples
    tone = np.sin(np.arange(2 * samples) / 20).astype(np.float32)[None, :]
    frame = av.AudioFrame.from_ndarray(tone, format="flt", layout="stereo")
    frame.sample_rate, frame.pts = 48_000, 0
    packets = [*codec.encode(frame), *codec.encode(None)]
    assert packet_samples(bytes(packets[0])) == samples


@pytest.mark.parametrize(
    ("packet", "samples"),
    [("00", 480), ("19", 2 * 2880), ("83", 0), ("8330", 48 * 120), ("fc", 960), ("8700", 0)],
)
def test_durations_by_the_table_of_contents(packet, samples):
    data = bytes.fromhex(packet)
    if samples:
        assert packet_samples(data) == samples
    else:
        with pytest.raises(DamagedFrameError):
            packet_samples(data)


def test_more_than_120_ms_and_nothing_are_damage():
    for packet in (b"", bytes((3 << 3 | 3, 3)), bytes((3, 0))):
        with pytest.raises(DamagedFrameError):
            packet_samples(packet)


@given(st.binary(max_size=40))
def test_random_bytes_raise_only_protocol_errors(data):
    for attempt in (data, b"OpusHead" + data, b"OpusHead\x01" + data):
        with contextlib.suppress(RemoteProtocolError):
            track_from_opus_head(attempt)
    with contextlib.suppress(DamagedFrameError):
        assert 0 < packet_samples(data) <= 5760


def test_flv_of_ffmpeg_holds_whole_packets():
    with av.open(io.BytesIO(audio_sample("libopus").flv), "r") as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    assert {packet_samples(packet) for packet in packets} == {960}
