"""MP3 frame headers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import AudioFrame, parse_audio
from streamserver.media.mp3 import parse_frame, track_from_mp3
from tests.media.helpers_reference import audio_sample
from tests.media_factory import tags


@pytest.mark.parametrize(
    ("rate", "layout", "channels", "samples"),
    [(44_100, "stereo", 2, 1152), (44_100, "mono", 1, 1152), (22_050, "stereo", 2, 576)],
)
def test_frames_of_lame_tell_rate_channels_and_size(rate, layout, channels, samples):
    sample = audio_sample("libmp3lame", rate, layout)
    items = [item for tag in tags(sample.flv) for item in parse_audio(tag.body)]
    frames = [item.data for item in items if isinstance(item, AudioFrame)]
    assert frames
    for frame in frames:
        header = parse_frame(frame)
        assert (header.sample_rate, header.channels, header.samples) == (rate, channels, samples)
        assert header.size == len(frame)
    track = track_from_mp3(frames[0], 2)
    assert (track.sample_rate, track.clock_rate, track.channels) == (rate, rate, channels)
    assert (track.codec_string, track.config, track.epoch) == ("mp4a.40.34", b"", 2)


def test_the_free_format_tells_no_size():
    assert parse_frame(bytes.fromhex("fffb0064")).size == 0


@pytest.mark.parametrize(
    "data", ["", "fffb90", "21000000", "ffeb9064", "fffd9064", "fffbf064", "fffb9c64"]
)
def test_broken_headers_are_damage(data):
    with pytest.raises(DamagedFrameError):
        parse_frame(bytes.fromhex(data))


@given(st.binary(max_size=8))
def test_random_bytes_raise_only_damage(data):
    with contextlib.suppress(DamagedFrameError):
        assert parse_frame(b"\xff" + data).sample_rate >= 8000
