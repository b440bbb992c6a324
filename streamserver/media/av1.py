"""AV1: the sequence header, its configuration record, and what kind of frame a unit begins with.

Sections without a document are those of the AV1 bitstream specification.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader, read_leb128
from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import VIDEO_CLOCK, Codec, Colour, Track

__all__ = [
    "OBU_FRAME",
    "OBU_FRAME_HEADER",
    "OBU_PADDING",
    "OBU_SEQUENCE_HEADER",
    "OBU_TEMPORAL_DELIMITER",
    "Obu",
    "SequenceHeader",
    "build_av1c",
    "is_shown_key_frame",
    "parse_obu",
    "parse_sequence_header",
    "sequence_header_of",
    "split_obus",
    "track_from_av1c",
]

OBU_SEQUENCE_HEADER: Final = 1
OBU_TEMPORAL_DELIMITER: Final = 2
OBU_FRAME_HEADER: Final = 3
OBU_FRAME: Final = 6
OBU_PADDING: Final = 15

_MAX_OBUS: Final = 1024
"""OBUs in one temporal unit; a frame has 512 tile groups at most at the largest level."""

_MAX_CONFIG_BYTES: Final = 4096

_PROFILE_NAMES: Final = ("Main", "High", "Professional")

_MAX_FRAME_RATE: Final = 300


class Obu(NamedTuple):
    """Where one open bitstream unit lies (5.3)."""

    kind: int
    """obu_type."""

    start: int
    """Position of its header."""

    payload: int
    """Position of its payload."""

    end: int
    """Position after it."""


def split_obus(data: bytes) -> Iterator[Obu]:
    """Walks the OBUs of a temporal unit; only the last may come without a size (5.3.1).

    Raises `DamagedFrameError` where sizes and data do not agree.
    """
    position, end = 0, len(data)
    for _ in range(_MAX_OBUS):
        if position >= end:
            return
        start, header = position, data[position]
        position += 2 if header & 0x04 else 1
        stop = end
        if header & 0x02:
            try:
                size, position = read_leb128(data, position, "an AV1 unit")
            except RemoteProtocolError as error:
                raise DamagedFrameError(str(error)) from None
            stop = position + size
        if header & 0x80 or position > end or stop > end:
            raise DamagedFrameError("sizes of AV1 units do not add up to the temporal unit")
        yield Obu(header >> 3 & 0x0F, start, position, stop)
        position = stop
    raise DamagedFrameError(f"more than {_MAX_OBUS} AV1 units in one temporal unit")


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """sequence_header_obu (5.5), as far as a server cares."""

    profile: int
    """seq_profile: 0 Main, 1 High, 2 Professional."""

    level_idx: int
    """seq_level_idx of the first operating point."""

    high_tier: bool
    """seq_tier of the first operating point."""

    width: int
    """The largest frame width."""

    height: int
    """The largest frame height."""

    bit_depth: int
    """8, 10 or 12 bits per sample."""

    monochrome: bool
    """No chroma planes."""

    subsampling: tuple[bool, bool]
    """subsampling_x and subsampling_y."""

    chroma_position: int
    """chroma_sample_position, 0 unknown."""

    colour: Colour | None
    """Colour description; None when all of it is unspecified."""

    frame_rate: Fraction | None
    """Frames per second, when pictures are equally spaced and it is told."""

    reduced: bool
    """reduced_still_picture_header: every frame is a shown key frame."""

    @property
    def chroma_format(self) -> str:
        """``4:0:0``, ``4:2:0``, ``4:2:2`` or ``4:4:4``."""
        if self.monochrome:
            return "4:0:0"
        return {(True, True): "4:2:0", (True, False): "4:2:2"}.get(self.subsampling, "4:4:4")

    @property
    def picture(self) -> tuple[object, ...]:
        """What a track tells of the picture; two headers may differ in all else."""
        size = (self.profile, self.width, self.height, self.bit_depth)
        return *size, self.chroma_format, self.colour

    @property
    def codec_string(self) -> str:
        """The CODECS name: ``av01.0.01M.08``, longer where picture or colour are not the default.

        Source: AV1 Codec ISO Media File Format Binding, section 5.
        """
        tier = "H" if self.high_tier else "M"
        short = f"av01.{self.profile}.{self.level_idx:02d}{tier}.{self.bit_depth:02d}"
        colour = self.colour or Colour(1, 1, 1, False)
        if self.chroma_format == "4:2:0" and colour == Colour(1, 1, 1, False):
            return short
        x, y = self.subsampling
        chroma = f"{x:d}{y:d}{self.chroma_position if x and y else 0}"
        numbers = f"{colour.primaries:02d}.{colour.transfer:02d}.{colour.matrix:02d}"
        return f"{short}.{self.monochrome:d}.{chroma}.{numbers}.{colour.full_range:d}"


def parse_sequence_header(payload: bytes) -> SequenceHeader:
    """Reads the payload of a sequence header OBU. Raises `RemoteProtocolError`."""
    bits = BitReader(payload, "the AV1 sequence header")
    profile = bits.u(3)
    if profile > 2:
        raise RemoteProtocolError("the AV1 sequence header has an unknown profile")
    bits.skip(1)  # still_picture
    reduced = bits.flag()
    rate, high_tier = None, False
    if reduced:
        level_idx = bits.u(5)
    else:
        rate, level_idx, high_tier = _parse_operation(bits)
    width_bits, height_bits = 1 + bits.u(4), 1 + bits.u(4)
    width, height = 1 + bits.u(width_bits), 1 + bits.u(height_bits)
    _skip_tools(bits, reduced)
    samples = _parse_colour_config(bits, profile)
    return SequenceHeader(
        profile, level_idx, high_tier, width, height, *samples, frame_rate=rate, reduced=reduced
    )


def _parse_operation(bits: BitReader) -> tuple[Fraction | None, int, bool]:
    """Timing, decoder model and operating points: frame rate, and the first level and tier."""
    rate, delay_bits = None, 0
    if bits.flag():
        units, scale = bits.u(32), bits.u(32)
        if bits.flag():  # equal_picture_interval
            ticks = 1 + bits.uvlc()
            if units and 0 < scale <= units * ticks * _MAX_FRAME_RATE:
                rate = Fraction(scale, units * ticks)
        if bits.flag():  # decoder_model_info_present_flag
            delay_bits = 1 + bits.u(5)
            bits.skip(32 + 5 + 5)
    display_delay = bits.flag()
    points = []
    for _ in range(1 + bits.u(5)):
        bits.skip(12)  # operating_point_idc
        level_idx = bits.u(5)
        points.append((level_idx, level_idx > 7 and bits.flag()))
        if delay_bits and bits.flag():
            bits.skip(2 * delay_bits + 1)
        if display_delay and bits.flag():
            bits.skip(4)
    return rate, *points[0]


def _skip_tools(bits: BitReader, reduced: bool) -> None:
    if not reduced and bits.flag():  # frame_id_numbers_present_flag
        bits.skip(4 + 3)
    bits.skip(3)  # use_128x128_superblock, filter_intra, intra_edge_filter
    if not reduced:
        bits.skip(4)  # interintra, masked, warped, dual_filter
        order_hint = bits.flag()
        if order_hint:
            bits.skip(2)
        # seq_choose_screen_content_tools: 1 leaves the choice to each frame.
        screen_content = bits.flag() or bits.flag()
        if screen_content and not bits.flag():
            bits.skip(1)  # seq_force_integer_mv
        if order_hint:
            bits.skip(3)
    bits.skip(3)  # superres, cdef, restoration


class _Samples(NamedTuple):
    bit_depth: int
    monochrome: bool
    subsampling: tuple[bool, bool]
    chroma_position: int
    colour: Colour | None


def _parse_colour_config(bits: BitReader, profile: int) -> _Samples:
    # 5.5.2
    depth = 10 if bits.flag() else 8
    if profile == 2 and depth == 10 and bits.flag():
        depth = 12
    monochrome = profile != 1 and bits.flag()
    codes = (bits.u(8), bits.u(8), bits.u(8)) if bits.flag() else (2, 2, 2)
    position = 0
    if monochrome:
        full_range, subsampling = bits.flag(), (True, True)
    elif codes == (1, 13, 0):  # sRGB
        full_range, subsampling = True, (False, False)
    else:
        full_range = bits.flag()
        subsampling = _read_subsampling(bits, profile, depth)
        if subsampling == (True, True):
            position = bits.u(2)
    colour = None if codes == (2, 2, 2) and not full_range else Colour(*codes, full_range)
    return _Samples(depth, monochrome, subsampling, position, colour)


def _read_subsampling(bits: BitReader, profile: int, depth: int) -> tuple[bool, bool]:
    if profile == 0:
        return True, True
    if profile == 1:
        return False, False
    if depth < 12:
        return True, False
    x = bits.flag()
    return x, x and bits.flag()


def is_shown_key_frame(payload: bytes, *, reduced: bool = False) -> bool:
    """Whether a frame header begins a key frame that is shown at once (5.9.2)."""
    # show_existing_frame 0, frame_type 00 (KEY_FRAME), show_frame 1
    return reduced or (bool(payload) and payload[0] & 0xF0 == 0x10)


def sequence_header_of(data: bytes) -> bytes | None:
    """The first sequence header OBU among others, header and size included."""
    for obu in split_obus(data):
        if obu.kind == OBU_SEQUENCE_HEADER:
            return data[obu.start : obu.end]
    return None


def parse_obu(obu: bytes) -> SequenceHeader:
    """Reads a sequence header OBU, header and size included. Raises `RemoteProtocolError`."""
    where = next(split_obus(obu), None)
    if where is None:
        raise RemoteProtocolError("an AV1 sequence header is empty")
    return parse_sequence_header(obu[where.payload : where.end])


def build_av1c(obu: bytes) -> bytes:
    """Writes av1C around a sequence header OBU (AV1 ISOBMFF Binding 2.3).

    Raises `RemoteProtocolError` when it cannot be read.
    """
    header = parse_obu(obu)
    x, y = header.subsampling
    third = header.high_tier << 7 | (header.bit_depth > 8) << 6 | (header.bit_depth == 12) << 5
    third |= header.monochrome << 4 | x << 3 | y << 2 | header.chroma_position
    return bytes((0x81, header.profile << 5 | header.level_idx, third, 0)) + obu


def track_from_av1c(config: bytes, epoch: int = 0) -> Track:
    """The track that av1C describes; without a size when no sequence header is in it.

    Raises `RemoteProtocolError`.
    """
    if len(config) > _MAX_CONFIG_BYTES:
        raise RemoteProtocolError("the AV1 configuration is too long")
    bits = BitReader(config, "the AV1 configuration")
    if bits.u(8) != 0x81:
        raise RemoteProtocolError("the AV1 configuration has an unknown version")
    obu = sequence_header_of(config[4:])
    if obu is not None:
        header = parse_obu(obu)
    else:
        header = _parse_record(bits)
    return Track(
        codec=Codec.AV1,
        clock_rate=VIDEO_CLOCK,
        config=config,
        epoch=epoch,
        codec_string=header.codec_string,
        profile=_PROFILE_NAMES[header.profile],
        width=header.width,
        height=header.height,
        frame_rate=header.frame_rate,
        bit_depth=header.bit_depth,
        chroma_format=header.chroma_format,
        colour=header.colour,
    )


def _parse_record(bits: BitReader) -> SequenceHeader:
    # AV1 ISOBMFF Binding 2.3.3: configOBUs may be empty; then the size is not known yet.
    profile, level_idx, tier, high, twelve = bits.u(3), bits.u(5), bits.flag(), bits.u(1), bits.u(1)
    monochrome, x, y, position = bits.flag(), bits.flag(), bits.flag(), bits.u(2)
    if profile > 2:
        raise RemoteProtocolError("the AV1 configuration has an unknown profile")
    depth = 8 + 2 * high + 2 * (high and twelve)
    return SequenceHeader(
        profile, level_idx, tier, 0, 0, depth, monochrome, (x, y), position, None, None, False
    )
