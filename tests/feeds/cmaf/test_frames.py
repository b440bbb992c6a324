"""Samples in a frame, told by the codec."""

import pytest

from streamserver.feeds.cmaf.frames import fixed_frame, frame_samples
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from tests.feeds.cmaf.helpers_stream import aac, opus


@pytest.mark.parametrize(
    ("data", "samples"),
    [(b"\xfc", 960), (b"\xfd", 1_920), (b"\xe0", 120), (b"\x1b\x02", 5_760), (b"\x03", 960)],
)
def test_an_opus_packet_says_it_in_its_first_byte_and_a_broken_one_counts_as_usual(data, samples):
    assert frame_samples(Packet(opus(), 0, 0, 0, True, data, 0)) == samples


@pytest.mark.parametrize(
    ("data", "samples"),
    [(bytes.fromhex("fffb9000"), 1_152), (bytes.fromhex("fff39000"), 576), (b"??", 1_152)],
)
def test_an_mp3_frame_is_half_as_long_at_the_low_rates(data, samples):
    track = Track(Codec.MP3, 44_100, b"", sample_rate=44_100, channels=2)
    assert frame_samples(Packet(track, 0, 0, 0, True, data, 0)) == samples


def test_aac_frames_all_have_the_length_of_the_config():
    assert fixed_frame(aac()) == 1_024
    short = Track(Codec.AAC, 48_000, bytes.fromhex("1194"), sample_rate=48_000, channels=2)
    assert fixed_frame(short) == 960
    assert fixed_frame(opus()) == 0
