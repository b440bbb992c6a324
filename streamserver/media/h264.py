"""H.264: what its configuration and parameter sets tell.

Sections without a document are those of ITU-T H.264.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Self

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader, unescape
from streamserver.media.nal import (
    MAX_CONFIG_BYTES,
    ParameterSets,
    has_start_code,
    merge_sets,
    read_nal_array,
    split_annex_b,
    with_u16,
)
from streamserver.media.track import VIDEO_CLOCK, Codec, Colour, Track

__all__ = [
    "CHROMA_FORMATS",
    "NAL_AUD",
    "NAL_IDR",
    "NAL_PPS",
    "NAL_SEI",
    "NAL_SPS",
    "NAL_SPS_EXT",
    "AvcConfig",
    "Sps",
    "Vui",
    "nal_type",
    "parse_sps",
    "plausible_rate",
    "read_colour",
    "recovery_frames",
    "track_from_avcc",
]

NAL_IDR: Final = 5
NAL_SEI: Final = 6
NAL_SPS: Final = 7
NAL_PPS: Final = 8
NAL_AUD: Final = 9
NAL_SPS_EXT: Final = 13

CHROMA_FORMATS: Final = ("4:0:0", "4:2:0", "4:2:2", "4:4:4")
"""Names by chroma_format_idc."""

_MAX_SEI_BYTES: Final = 4096
"""How far into SEI a recovery point is looked for."""

_MAX_MBS: Final = 1055
"""Macroblocks in a row or column: the square root of 8 times MaxFS of level 6.2 (A.3.1)."""

_MAX_FRAME_RATE: Final = 300
"""Encoders that put their tick rate here (1000, 90000) say nothing about frames."""

_PROFILES_WITH_CHROMA: Final = frozenset(
    (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
)
"""Profiles whose SPS tells chroma format and bit depth (7.3.2.1.1)."""

_PROFILE_NAMES: Final = {
    44: "CAVLC 4:4:4 Intra",
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4 Predictive",
}


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit that is not empty (7.3.1)."""
    return nal[0] & 0x1F


@dataclass(frozen=True, slots=True)
class Vui:
    """The video usability information that we use (Annex E.1)."""

    frame_rate: Fraction | None = None
    """Frames per second; None when absent or implausible."""

    colour: Colour | None = None
    """Colour description, when there is one."""

    max_reorder_frames: int | None = None
    """Frames that may be decoded before an earlier one is shown; None when not told."""


@dataclass(frozen=True, slots=True)
class Sps:
    """A sequence parameter set, as far as a server cares."""

    sps_id: int
    """seq_parameter_set_id."""

    profile_idc: int
    """The profile's number."""

    constraints: int
    """The constraint flags as a byte, constraint_set0_flag in its top bit."""

    level_idc: int
    """Ten times the level."""

    chroma_format_idc: int
    """0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4."""

    bit_depth: int
    """Bits per luma sample."""

    bit_depth_chroma: int
    """Bits per chroma sample."""

    width: int
    """Picture width after cropping."""

    height: int
    """Picture height after cropping; of the frame, also when fields are coded."""

    interlaced: bool
    """Whether pictures may be coded as fields (frame_mbs_only_flag is 0)."""

    vui: Vui
    """Usability information; empty when absent."""

    @property
    def profile(self) -> str:
        """The profile's name for people (A.2)."""
        if self.profile_idc == 66 and self.constraints & 0x40:
            return "Constrained Baseline"
        if self.profile_idc == 100 and self.constraints & 0x0C == 0x0C:
            return "Constrained High"
        if self.profile_idc in (110, 122) and self.constraints & 0x10:
            return f"{_PROFILE_NAMES[self.profile_idc]} Intra"
        return _PROFILE_NAMES.get(self.profile_idc, str(self.profile_idc))

    @property
    def level(self) -> str:
        """The level's name: ``3.1``, or ``1b`` (A.3.1)."""
        low_profile = self.profile_idc in (66, 77, 88)
        if self.level_idc == 9 or (
            self.level_idc == 11 and low_profile and self.constraints & 0x10
        ):
            return "1b"
        return f"{self.level_idc // 10}.{self.level_idc % 10}"

    @property
    def may_reorder(self) -> bool:
        """Whether B-frames are to be expected, so that presentation and decoding order differ."""
        if self.vui.max_reorder_frames is not None:
            return self.vui.max_reorder_frames > 0
        return self.profile_idc != 66


def parse_sps(nal: bytes) -> Sps:
    """Reads a sequence parameter set, NAL header included (7.3.2.1.1).

    Raises `RemoteProtocolError`.
    """
    if not nal or nal_type(nal) != NAL_SPS:
        raise RemoteProtocolError("the H.264 sequence parameter set is none")
    bits = BitReader(unescape(nal[1:]), "the H.264 sequence parameter set")
    profile_idc, constraints, level_idc = bits.u(8), bits.u(8), bits.u(8)
    sps_id = bits.ue(31)
    chroma, separate_planes, depth, depth_chroma = 1, False, 8, 8
    if profile_idc in _PROFILES_WITH_CHROMA:
        chroma = bits.ue(3)
        separate_planes = chroma == 3 and bits.flag()
        depth, depth_chroma = 8 + bits.ue(6), 8 + bits.ue(6)
        bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.flag():
            _skip_scaling_matrix(bits, 12 if chroma == 3 else 8)
    _skip_frame_numbers(bits)
    bits.ue(16)  # max_num_ref_frames
    bits.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (1 + bits.ue(_MAX_MBS - 1))
    height = 16 * (1 + bits.ue(_MAX_MBS - 1))
    fields = 1
    if not bits.flag():  # frame_mbs_only_flag: map units are pairs of macroblocks
        fields = 2
        bits.skip(1)  # mb_adaptive_frame_field_flag
    height *= fields
    bits.skip(1)  # direct_8x8_inference_flag
    if bits.flag():
        # 7-19 to 7-22: offsets count chroma samples, and rows of a frame come in field pairs.
        unit_x = 2 if chroma in (1, 2) and not separate_planes else 1
        unit_y = fields * (2 if chroma == 1 else 1)
        width -= unit_x * (bits.ue(width) + bits.ue(width))
        height -= unit_y * (bits.ue(height) + bits.ue(height))
        if width <= 0 or height <= 0:
            raise RemoteProtocolError("the H.264 picture is cropped to nothing")
    return Sps(
        sps_id, profile_idc, constraints, level_idc, chroma, depth, depth_chroma, width, height,
        interlaced=fields == 2, vui=_parse_vui(bits) if bits.flag() else Vui(),
    )  # fmt: skip


def _skip_scaling_matrix(bits: BitReader, lists: int) -> None:
    # 7.3.2.1.1.1: a list ends early when the next scale comes out as 0.
    for index in range(lists):
        if not bits.flag():
            continue
        last = scale = 8
        for _ in range(16 if index < 6 else 64):
            if scale:
                scale = (last + bits.se()) % 256
            last = scale or last


def _skip_frame_numbers(bits: BitReader) -> None:
    bits.ue(12)  # log2_max_frame_num_minus4
    order_type = bits.ue(2)
    if order_type == 0:
        bits.ue(12)  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        bits.skip(1)  # delta_pic_order_always_zero_flag
        bits.se()
        bits.se()
        for _ in range(bits.ue(255)):
            bits.se()


def _parse_vui(bits: BitReader) -> Vui:
    # Some cameras cut the VUI short; the size, which we need, has been read before it.
    vui = Vui()
    try:
        vui = replace(vui, colour=_parse_colour(bits))
        vui = replace(vui, frame_rate=_parse_timing(bits))
        return replace(vui, max_reorder_frames=_parse_reorder(bits))
    except RemoteProtocolError:
        return vui


def _parse_colour(bits: BitReader) -> Colour | None:
    if bits.flag() and bits.u(8) == 255:  # aspect_ratio_idc: Extended_SAR
        bits.skip(32)
    if bits.flag():
        bits.skip(1)  # overscan_appropriate_flag
    colour = None
    if bits.flag():
        colour = read_colour(bits)
    if bits.flag():
        bits.ue(5)  # chroma_sample_loc_type_top_field
        bits.ue(5)
    return colour


def read_colour(bits: BitReader) -> Colour | None:
    """The video signal type of a VUI, the same in H.264 (E.1.1) and H.265 (E.2.1)."""
    bits.skip(3)  # video_format
    full_range = bits.flag()
    if bits.flag():
        return Colour(bits.u(8), bits.u(8), bits.u(8), full_range)
    return Colour(2, 2, 2, full_range) if full_range else None


def plausible_rate(numerator: int, denominator: int) -> Fraction | None:
    """Frames per second, or None for a value that no encoder means."""
    if not numerator or not denominator or numerator > denominator * _MAX_FRAME_RATE:
        return None
    return Fraction(numerator, denominator)


def _parse_timing(bits: BitReader) -> Fraction | None:
    if not bits.flag():
        return None
    units, scale = bits.u(32), bits.u(32)
    bits.skip(1)  # fixed_frame_rate_flag
    # E.2.1: a tick is a field, so two of them make a frame.
    return plausible_rate(scale, 2 * units)


def _parse_reorder(bits: BitReader) -> int | None:
    nal_hrd = bits.flag()
    if nal_hrd:
        _skip_hrd(bits)
    vcl_hrd = bits.flag()
    if vcl_hrd:
        _skip_hrd(bits)
    bits.skip(2 if nal_hrd or vcl_hrd else 1)  # low_delay_hrd_flag, pic_struct_present_flag
    if not bits.flag():
        return None
    bits.skip(1)  # motion_vectors_over_pic_boundaries_flag
    for _ in range(4):
        bits.ue()
    return bits.ue(16)


def _skip_hrd(bits: BitReader) -> None:
    count = 1 + bits.ue(31)
    bits.skip(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.skip(1)
    bits.skip(20)


def recovery_frames(sei: bytes) -> int | None:
    """recovery_frame_cnt of a recovery point in an SEI NAL unit (D.1.8), or None without one.

    0 says that a decoder can begin right here although the picture is no IDR (open GOP); a larger
    number that the picture is whole only after as many frames (intra refresh).
    """
    data = unescape(sei[:_MAX_SEI_BYTES])
    position = 1
    # The last byte is the trailing bits of the RBSP.
    while position + 2 < len(data):
        kind, position = _sei_number(data, position)
        size, position = _sei_number(data, position)
        if kind == 6:
            return BitReader(data[position : position + size], "the recovery point").ue(65_535)
        position += size
    return None


def _sei_number(data: bytes, position: int) -> tuple[int, int]:
    # 7.3.2.3.1: any number of 255 and a last byte that is less, added up.
    value = 0
    while position < len(data):
        value += data[position]
        position += 1
        if data[position - 1] != 255:
            break
    return value, position


@dataclass(frozen=True, slots=True)
class AvcConfig:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1)."""

    sets: ParameterSets
    """Parameter sets, NAL headers included; at least one sequence parameter set."""

    length_size: int = 4
    """Bytes of the length before each NAL unit in the samples that it came with."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads avcC, or parameter sets in Annex B form, which some encoders send in its place.

        Raises `RemoteProtocolError`, also when no sequence parameter set is in it.
        """
        if len(data) > MAX_CONFIG_BYTES:
            raise RemoteProtocolError("the H.264 configuration is too long")
        if has_start_code(data):
            config = cls({}).merged(split_annex_b(data))
        else:
            config = cls._parse_record(data)
        if not config.sps:
            raise RemoteProtocolError("the H.264 configuration holds no sequence parameter set")
        return config

    @classmethod
    def _parse_record(cls, data: bytes) -> Self:
        bits = BitReader(data, "the H.264 configuration")
        if bits.u(8) != 1:
            raise RemoteProtocolError("the H.264 configuration has an unknown version")
        bits.skip(24 + 6)  # profile, constraints, level: the SPS tells them again
        length_size = 1 + bits.u(2)
        if length_size == 3:
            raise RemoteProtocolError("the H.264 configuration wants lengths of 3 bytes")
        bits.skip(3)
        nals = read_nal_array(bits, bits.u(5)) + read_nal_array(bits, bits.u(8))
        # 5.3.3.1.2: high profiles go on here; many writers leave it out, some cut it short.
        with suppress(RemoteProtocolError):
            bits.skip(24)
            nals += read_nal_array(bits, bits.u(8))
        return cls({}, length_size).merged(nals)

    @property
    def sps(self) -> list[bytes]:
        """The sequence parameter sets."""
        return self._of(NAL_SPS)

    def to_bytes(self) -> bytes:
        """Writes avcC for samples with 4-byte lengths, whatever lengths it was read with."""
        sps, pps, extensions = self.sps, self._of(NAL_PPS), self._of(NAL_SPS_EXT)
        first = parse_sps(sps[0])
        parts = [b"\x01", sps[0][1:4], bytes((0xFF, 0xE0 | len(sps))), *map(with_u16, sps)]
        parts += [bytes((len(pps),)), *map(with_u16, pps)]
        if first.profile_idc in _PROFILES_WITH_CHROMA:
            depths = (0xF8 | first.bit_depth - 8, 0xF8 | first.bit_depth_chroma - 8)
            parts.append(bytes((0xFC | first.chroma_format_idc, *depths, len(extensions))))
            parts += map(with_u16, extensions)
        return b"".join(parts)

    def merged(self, nals: Iterable[bytes]) -> Self:
        """This configuration with the parameter sets among ``nals``; itself when none is news.

        Raises `RemoteProtocolError` for a set that cannot be read, and for too many.
        """
        sets = merge_sets(self.sets, nals, _identify)
        if sets is self.sets:
            return self
        merged = replace(self, sets=sets)
        if len(merged.sps) > 31:  # the count in avcC has 5 bits
            raise RemoteProtocolError("too many H.264 parameter sets")
        return merged

    def _of(self, kind: int) -> list[bytes]:
        return [nal for (held, _), nal in self.sets.items() if held == kind]


def _identify(nal: bytes) -> tuple[int, int] | None:
    kind = nal_type(nal)
    if kind == NAL_SPS:
        return kind, parse_sps(nal).sps_id
    if kind in (NAL_PPS, NAL_SPS_EXT):
        # 7.3.2.2 and 7.3.2.1.2 both begin with an id.
        return kind, BitReader(unescape(nal[1:16]), "the H.264 parameter set").ue(255)
    return None


def track_from_avcc(config: bytes, epoch: int = 0) -> Track:
    """The track that avcC (or parameter sets in Annex B form) describes.

    Its config is avcC for 4-byte lengths. Raises `RemoteProtocolError`.
    """
    avc = AvcConfig.parse(config)
    if avc.length_size != 4 or has_start_code(config):
        config = avc.to_bytes()
    sps = parse_sps(avc.sps[0])
    return Track(
        codec=Codec.H264,
        clock_rate=VIDEO_CLOCK,
        config=config,
        epoch=epoch,
        codec_string=f"avc1.{avc.sps[0][1:4].hex().upper()}",
        profile=sps.profile,
        width=sps.width,
        height=sps.height,
        frame_rate=sps.vui.frame_rate,
        bit_depth=sps.bit_depth,
        chroma_format=CHROMA_FORMATS[sps.chroma_format_idc],
        colour=sps.vui.colour,
    )
