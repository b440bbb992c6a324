"""A track: what a decoder must know before it can read the packets of one kind."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final, Self

__all__ = ["VIDEO_CLOCK", "Codec", "Colour", "Kind", "Track"]

VIDEO_CLOCK: Final = 90_000
"""Ticks per second of every video track."""


class Kind(StrEnum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"
    DATA = "data"


class Codec(StrEnum):
    """The codecs that have a form in a `Packet`."""

    _value_: str
    kind: Kind
    """Video or audio; a plain attribute, since it is read several times for every packet."""

    def __new__(cls, name: str, kind: Kind) -> Self:
        """A member with its attribute; looked up by its name alone."""
        codec = str.__new__(cls, name)
        codec._value_ = name
        codec.kind = kind
        return codec

    H264 = "h264", Kind.VIDEO
    H265 = "h265", Kind.VIDEO
    AV1 = "av1", Kind.VIDEO
    VP8 = "vp8", Kind.VIDEO
    VP9 = "vp9", Kind.VIDEO
    AAC = "aac", Kind.AUDIO
    OPUS = "opus", Kind.AUDIO
    MP3 = "mp3", Kind.AUDIO


@dataclass(frozen=True, slots=True)
class Colour:
    """How samples become light (ISO/IEC 23091-2, the numbers of the bitstream)."""

    primaries: int
    """ColourPrimaries: 1 is BT.709, 9 is BT.2020, 2 is unspecified."""

    transfer: int
    """TransferCharacteristics: 1 is BT.709, 16 is PQ, 18 is HLG."""

    matrix: int
    """MatrixCoefficients."""

    full_range: bool
    """Whether samples use the whole range of their depth."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One elementary stream of one epoch. Compared by identity: a new config is a new Track."""

    codec: Codec
    """How packets are coded."""

    clock_rate: int
    """Ticks per second of its packets: 90000 video, the sample rate for audio, 48000 Opus."""

    config: bytes
    """avcC, hvcC, av1C, vpcC (without FullBox header), AudioSpecificConfig or OpusHead; may be
    empty for MP3, VP8 and VP9."""

    epoch: int = 0
    """The discontinuity-free run of media to which its packets belong; set by the ingest."""

    codec_string: str = ""
    """RFC 6381 name for CODECS attributes and MediaSource: ``avc1.64001F``, ``mp4a.40.2``."""

    profile: str = ""
    """Profile for people, ``High`` or ``LC``; empty when unknown."""

    width: int = 0
    """Picture width in pixels after cropping; 0 for audio."""

    height: int = 0
    """Picture height in pixels after cropping; 0 for audio."""

    frame_rate: Fraction | None = None
    """Frames per second that the parameter sets declare; None when they say nothing."""

    bit_depth: int = 8
    """Bits per luma sample."""

    chroma_format: str = "4:2:0"
    """``4:0:0``, ``4:2:0``, ``4:2:2`` or ``4:4:4``."""

    colour: Colour | None = None
    """Colour description, when the bitstream has one."""

    sample_rate: int = 0
    """Audio samples per second at the decoder's output; 0 for video."""

    channels: int = 0
    """Audio channels; 0 for video."""

    @property
    def kind(self) -> Kind:
        """What the track carries; follows from the codec."""
        return self.codec.kind
