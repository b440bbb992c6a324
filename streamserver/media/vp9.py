"""VP9: vpcC and the uncompressed header.

Sources: VP9 bitstream specification 6.2; VP Codec ISO Media File Format Binding 2.2.
"""

from dataclasses import dataclass
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader
from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import VIDEO_CLOCK, Codec, Colour, Track

__all__ = ["FrameHeader", "VpConfig", "parse_frame", "track_from_vpcc"]

_SYNC_CODE: Final = 0x498342

_CHROMA_FORMATS: Final = ("4:2:0", "4:2:0", "4:2:2", "4:4:4", "4:4:0")
"""Names by chromaSubsampling of vpcC; the first two differ in where samples lie."""

_COLOURS: Final = {
    1: Colour(6, 6, 6, False),
    2: Colour(1, 1, 1, False),
    3: Colour(6, 6, 6, False),
    4: Colour(7, 7, 7, False),
    5: Colour(9, 14, 9, False),
    7: Colour(1, 13, 0, True),
}
"""By color_space of the frame header: BT.601, 709, SMPTE 170M, 240M, BT.2020, sRGB."""

_LEVELS: Final = (
    (36_864, 10), (73_728, 11), (122_880, 20), (245_760, 21), (552_960, 30), (983_040, 31),
    (2_228_224, 40), (8_912_896, 50), (35_651_584, 60),
)  # fmt: skip
"""Largest luma picture and ten times the level (levels of the WebM project)."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The beginning of a frame; size and colours are told by key frames only."""

    keyframe: bool
    """Whether a decoder can begin here."""

    profile: int = 0
    """0 to 3."""

    bit_depth: int = 8
    """8, 10 or 12."""

    chroma: int = 1
    """chromaSubsampling as in vpcC."""

    colour: Colour | None = None
    """What color_space stands for; None when unknown."""

    width: int = 0
    """Frame width."""

    height: int = 0
    """Frame height."""


def parse_frame(data: bytes) -> FrameHeader:
    """Reads the uncompressed header of a frame, or of the first in a superframe.

    Raises `DamagedFrameError`.
    """
    try:
        return _parse_header(BitReader(data[:32], "the VP9 frame"))
    except RemoteProtocolError as error:
        raise DamagedFrameError(str(error)) from None


def _parse_header(bits: BitReader) -> FrameHeader:
    if bits.u(2) != 2:
        raise RemoteProtocolError("the VP9 frame has no frame marker")
    profile = bits.u(1) | bits.u(1) << 1
    if profile == 3 and bits.flag():
        raise RemoteProtocolError("the VP9 frame has an unknown profile")
    if bits.flag():  # show_existing_frame
        return FrameHeader(False, profile)
    inter = bits.flag()
    bits.skip(2)  # show_frame, error_resilient_mode
    if inter:
        return FrameHeader(False, profile)
    if bits.u(24) != _SYNC_CODE:
        raise RemoteProtocolError("the VP9 key frame has no sync code")
    depth = 8
    if profile >= 2:
        depth = 12 if bits.flag() else 10
    space = bits.u(3)
    chroma, full_range = 1, False
    if space == 7:  # CS_RGB
        chroma, full_range = 3, True
        bits.skip(profile & 1)
    else:
        full_range = bits.flag()
        if profile & 1:
            x, y = bits.flag(), bits.flag()
            chroma = {(True, True): 1, (True, False): 2, (False, False): 3}.get((x, y), 4)
            bits.skip(1)
    colour = _COLOURS.get(space)
    if colour is not None:
        colour = Colour(colour.primaries, colour.transfer, colour.matrix, full_range)
    width, height = 1 + bits.u(16), 1 + bits.u(16)
    return FrameHeader(True, profile, depth, chroma, colour, width, height)


@dataclass(frozen=True, slots=True)
class VpConfig:
    """VPCodecConfigurationRecord."""

    profile: int
    """0 to 3."""

    level: int
    """Ten times the level; 0 unknown."""

    bit_depth: int
    """8, 10 or 12."""

    chroma: int
    """chromaSubsampling: 0 and 1 4:2:0, 2 4:2:2, 3 4:4:4, 4 4:4:0."""

    colour: Colour
    """Colour description; 2, 2, 2 when unspecified."""

    @classmethod
    def parse(cls, data: bytes) -> "VpConfig":
        """Reads vpcC, with the FullBox header that FFmpeg puts on the wire, or without.

        Raises `RemoteProtocolError`.
        """
        if len(data) >= 12 and data[:4] == b"\x01\x00\x00\x00":
            data = data[4:]
        bits = BitReader(data, "the VP9 configuration")
        profile, level, depth, chroma = bits.u(8), bits.u(8), bits.u(4), bits.u(3)
        if profile > 3 or depth not in (8, 10, 12) or chroma > 4:
            raise RemoteProtocolError("the VP9 configuration is none")
        full_range = bits.flag()
        return cls(
            profile, level, depth, chroma, Colour(bits.u(8), bits.u(8), bits.u(8), full_range)
        )

    @classmethod
    def of_frame(cls, frame: FrameHeader) -> "VpConfig":
        """The configuration that a key frame implies."""
        colour = frame.colour or Colour(2, 2, 2, False)
        area = frame.width * frame.height
        level = next((level for limit, level in _LEVELS if area <= limit), 62)
        return cls(frame.profile, level, frame.bit_depth, frame.chroma, colour)

    def to_bytes(self) -> bytes:
        """Writes the record, without FullBox header."""
        picture = self.bit_depth << 4 | self.chroma << 1 | self.colour.full_range
        numbers = (self.colour.primaries, self.colour.transfer, self.colour.matrix)
        return bytes((self.profile, self.level, picture, *numbers, 0, 0))

    @property
    def codec_string(self) -> str:
        """The CODECS name: ``vp09.00.31.08``, longer where the picture is no default one."""
        short = f"vp09.{self.profile:02d}.{self.level:02d}.{self.bit_depth:02d}"
        colour = self.colour
        if self.chroma < 2 and colour in (Colour(1, 1, 1, False), Colour(2, 2, 2, False)):
            return short
        numbers = f"{colour.primaries:02d}.{colour.transfer:02d}.{colour.matrix:02d}"
        return f"{short}.{self.chroma:02d}.{numbers}.{colour.full_range:02d}"


def track_from_vpcc(config: bytes, epoch: int = 0, keyframe: bytes = b"") -> Track:
    """The track that vpcC and a key frame describe; either may be empty.

    vpcC knows no size, so without a key frame the track has none. Raises `RemoteProtocolError`.
    """
    header = parse_frame(keyframe) if keyframe else FrameHeader(False)
    vp9 = VpConfig.of_frame(header)
    if config:
        told = VpConfig.parse(config)
        vp9 = VpConfig(
            told.profile, told.level or vp9.level, told.bit_depth, told.chroma, told.colour
        )
    return Track(
        codec=Codec.VP9,
        clock_rate=VIDEO_CLOCK,
        config=vp9.to_bytes(),
        epoch=epoch,
        codec_string=vp9.codec_string,
        profile=f"Profile {vp9.profile}",
        width=header.width,
        height=header.height,
        bit_depth=vp9.bit_depth,
        chroma_format=_CHROMA_FORMATS[vp9.chroma],
        colour=None if vp9.colour == Colour(2, 2, 2, False) else vp9.colour,
    )
