"""Opus: the identification header (RFC 7845 5.1) and the duration of a packet (RFC 6716 3.1)."""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from streamserver.errors import RemoteProtocolError
from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Codec, Track

__all__ = ["CLOCK_RATE", "OpusHead", "packet_samples", "track_from_opus_head"]

CLOCK_RATE: Final = 48_000
"""Opus counts in 1/48000 s, whatever was recorded."""

_MAX_PACKET_SAMPLES: Final = 5760
"""120 ms (RFC 6716 3.2.5)."""

_FIXED: Final = Struct("<8sBBHIhB")

_FRAME_SAMPLES: Final = (
    *(480, 960, 1920, 2880) * 3,  # SILK: narrow, medium, wide band
    *(480, 960) * 2,  # hybrid: super wide, full band
    *(120, 240, 480, 960) * 4,  # CELT
)
"""Samples of one frame by the configuration number in the TOC byte (RFC 6716 table 2)."""

_LAYOUTS: Final = {
    1: (1, 0, b"\x00"),
    2: (1, 1, b"\x00\x01"),
    3: (2, 1, b"\x00\x02\x01"),
    4: (2, 2, b"\x00\x01\x02\x03"),
    5: (3, 2, b"\x00\x04\x01\x02\x03"),
    6: (4, 2, b"\x00\x04\x01\x02\x03\x05"),
    7: (4, 3, b"\x00\x04\x01\x02\x03\x05\x06"),
    8: (5, 3, b"\x00\x06\x01\x02\x03\x04\x05\x07"),
}
"""Streams, coupled streams and mapping by channels, as libopus encodes mapping family 1."""


@dataclass(frozen=True, slots=True)
class OpusHead:
    """The identification header."""

    channels: int
    """Output channels, 1 to 255."""

    pre_skip: int = 312
    """Samples at 48 kHz to throw away at the start; 312 is the usual 6.5 ms."""

    input_rate: int = CLOCK_RATE
    """Sample rate of what was encoded; for information only."""

    output_gain: int = 0
    """Gain in 1/256 dB to apply to the output."""

    family: int = 0
    """Channel mapping family: 0 mono or stereo, 1 Vorbis order, 255 free."""

    streams: int = 1
    """Opus streams in each packet."""

    coupled: int = 1
    """How many of them are stereo."""

    mapping: bytes = b""
    """The decoded channel of each output channel; empty for family 0."""

    @classmethod
    def of_channels(cls, channels: int) -> Self:
        """The header of a stream that came without one. Raises `RemoteProtocolError`."""
        if channels not in _LAYOUTS:
            raise RemoteProtocolError(f"Opus has no usual layout for {channels} channels")
        streams, coupled, mapping = _LAYOUTS[channels]
        if channels < 3:
            return cls(channels, coupled=coupled)
        return cls(channels, family=1, streams=streams, coupled=coupled, mapping=mapping)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads the header. Raises `RemoteProtocolError`."""
        if len(data) < _FIXED.size:
            raise RemoteProtocolError("the Opus header ends too early")
        magic, version, channels, skip, rate, gain, family = _FIXED.unpack_from(data)
        # RFC 7845 5.1: versions that differ in the lower four bits are readable.
        if magic != b"OpusHead" or version > 15 or not channels:
            raise RemoteProtocolError("the Opus header is none")
        if family == 0:
            if channels > 2:
                raise RemoteProtocolError("the Opus header has no mapping for its channels")
            return cls(channels, skip, rate, gain, coupled=channels - 1)
        table = data[_FIXED.size : _FIXED.size + 2 + channels]
        if len(table) < 2 + channels:
            raise RemoteProtocolError("the Opus header ends too early")
        streams, coupled, mapping = table[0], table[1], table[2:]
        decoded = streams + coupled
        if not streams or coupled > streams or any(decoded <= at < 255 for at in mapping):
            raise RemoteProtocolError("the Opus header maps channels that do not exist")
        return cls(channels, skip, rate, gain, family, streams, coupled, mapping)

    def to_bytes(self) -> bytes:
        """Writes the header."""
        fixed = _FIXED.pack(
            b"OpusHead", 1, self.channels, self.pre_skip, self.input_rate, self.output_gain,
            self.family,
        )  # fmt: skip
        if self.family == 0:
            return fixed
        return fixed + bytes((self.streams, self.coupled)) + self.mapping


def packet_samples(packet: bytes) -> int:
    """How long a packet lasts, in 1/48000 s (RFC 6716 3.1 and 3.2).

    Raises `DamagedFrameError`.
    """
    if not packet:
        raise DamagedFrameError("the Opus packet is empty")
    toc = packet[0]
    frames = (1, 2, 2, 0)[toc & 3]
    if not frames:
        if len(packet) < 2:
            raise DamagedFrameError("the Opus packet ends too early")
        frames = packet[1] & 0x3F
    samples = frames * _FRAME_SAMPLES[toc >> 3]
    if not 0 < samples <= _MAX_PACKET_SAMPLES:
        raise DamagedFrameError("the Opus packet lasts nothing or more than 120 ms")
    return samples


def track_from_opus_head(config: bytes, epoch: int = 0) -> Track:
    """The track that OpusHead describes; stereo when it is empty. Raises `RemoteProtocolError`."""
    head = OpusHead.parse(config) if config else OpusHead.of_channels(2)
    return Track(
        codec=Codec.OPUS,
        clock_rate=CLOCK_RATE,
        config=config or head.to_bytes(),
        epoch=epoch,
        codec_string="opus",
        sample_rate=CLOCK_RATE,
        channels=head.channels,
    )
