"""MP3: the frame header (ISO/IEC 11172-3 2.4.1.3, ISO/IEC 13818-3 for the lower rates)."""

from dataclasses import dataclass
from typing import Final

from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Codec, Track

__all__ = ["FrameHeader", "parse_frame", "track_from_mp3"]

_BIT_RATES_1: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BIT_RATES_2: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""kbit/s of layer III by bitrate_index - 1: MPEG-1, and MPEG-2 with its extension 2.5."""

_SAMPLE_RATES: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
"""By the version bits (3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5) and sampling_frequency."""

_LAYER_3: Final = 1


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the four bytes before each frame tell."""

    sample_rate: int
    """Samples per second."""

    channels: int
    """1 or 2."""

    samples: int
    """Samples in the frame: 1152, or 576 at the lower rates."""

    size: int
    """Bytes of the frame, header included; 0 for the free format, which does not tell."""


def parse_frame(data: bytes) -> FrameHeader:
    """Reads the header of a layer III frame. Raises `DamagedFrameError`."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        raise DamagedFrameError("the MP3 frame has no sync word")
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    rate_index, frequency = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer != _LAYER_3 or rate_index == 15 or frequency == 3:
        raise DamagedFrameError("the MP3 frame has a reserved value or another layer")
    sample_rate = _SAMPLE_RATES[version][frequency]
    samples = 1152 if version == 3 else 576
    size = 0
    if rate_index:
        rates = _BIT_RATES_1 if version == 3 else _BIT_RATES_2
        padding = data[2] >> 1 & 1
        size = samples // 8 * rates[rate_index - 1] * 1000 // sample_rate + padding
    return FrameHeader(sample_rate, 1 if data[3] >> 6 == 3 else 2, samples, size)


def track_from_mp3(frame: bytes, epoch: int = 0) -> Track:
    """The track that the first frame describes. Raises `RemoteProtocolError`."""
    header = parse_frame(frame)
    return Track(
        codec=Codec.MP3,
        clock_rate=header.sample_rate,
        config=b"",
        epoch=epoch,
        codec_string="mp4a.40.34",
        profile="Layer III",
        sample_rate=header.sample_rate,
        channels=header.channels,
    )
