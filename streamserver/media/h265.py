"""H.265: what its configuration and parameter sets tell.

Sections without a document are those of ITU-T H.265.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Self

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader, unescape
from streamserver.media.h264 import CHROMA_FORMATS, plausible_rate, read_colour
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
    "NAL_AUD",
    "NAL_BLA_W_LP",
    "NAL_CRA",
    "NAL_PPS",
    "NAL_SPS",
    "NAL_VPS",
    "HevcConfig",
    "Profile",
    "Sps",
    "codec_string",
    "nal_type",
    "parse_sps",
    "track_from_hvcc",
]

NAL_BLA_W_LP: Final = 16
NAL_CRA: Final = 21
NAL_VPS: Final = 32
NAL_SPS: Final = 33
NAL_PPS: Final = 34
NAL_AUD: Final = 35

_MAX_SIDE: Final = 16_888
"""Luma samples in a row or column: the square root of 8 times MaxLumaPs of level 6.2 (A.4.1)."""

_PROFILE_NAMES: Final = {
    1: "Main",
    2: "Main 10",
    3: "Main Still Picture",
    4: "Range Extensions",
    5: "High Throughput",
    9: "Screen Content",
}


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit that is not empty (7.3.1.2)."""
    return nal[0] >> 1 & 0x3F


@dataclass(frozen=True, slots=True)
class Profile:
    """The general part of profile_tier_level (7.3.3)."""

    space: int
    """general_profile_space; 0 but for the unknown future."""

    high_tier: bool
    """general_tier_flag."""

    idc: int
    """general_profile_idc."""

    compatibility: int
    """general_profile_compatibility_flags, flag 0 in the top bit of 32."""

    constraints: int
    """The 48 bits of constraint flags."""

    level_idc: int
    """Thirty times the level."""

    @property
    def name(self) -> str:
        """The profile's name for people (A.3)."""
        return _PROFILE_NAMES.get(self.idc, str(self.idc))

    @property
    def level(self) -> str:
        """The level's name, ``3.1``."""
        return f"{self.level_idc // 30}.{self.level_idc % 30 // 3}"

    def to_bytes(self) -> bytes:
        """The 12 bytes that hvcC and parameter sets share."""
        first = self.space << 6 | self.high_tier << 5 | self.idc
        middle = self.compatibility.to_bytes(4) + self.constraints.to_bytes(6)
        return bytes((first,)) + middle + bytes((self.level_idc,))


@dataclass(frozen=True, slots=True)
class Sps:
    """A sequence parameter set, as far as a server cares."""

    sps_id: int
    """sps_seq_parameter_set_id."""

    profile: Profile
    """Profile, tier and level."""

    sub_layers: int
    """Temporal sub-layers, 1 to 7."""

    temporal_nesting: bool
    """sps_temporal_id_nesting_flag."""

    chroma_format_idc: int
    """0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4."""

    bit_depth: int
    """Bits per luma sample."""

    bit_depth_chroma: int
    """Bits per chroma sample."""

    width: int
    """Picture width within the conformance window."""

    height: int
    """Picture height within the conformance window."""

    max_reorder_frames: int
    """Pictures that may precede another in decoding order and follow it in output order."""

    frame_rate: Fraction | None
    """Frames per second by the VUI; None when absent or implausible."""

    colour: Colour | None
    """Colour description, when there is one."""


def _parse_profile(bits: BitReader, sub_layers: int) -> Profile:
    profile = Profile(
        bits.u(2), bits.flag(), bits.u(5), bits.u(32), bits.u(48), bits.u(8)
    )  # fmt: skip
    if sub_layers > 1:
        # 7.3.3: flags for 8 sub-layers, whatever their number, then the parts that the flags name.
        flags = [(bits.flag(), bits.flag()) for _ in range(8)]
        for has_profile, has_level in flags[: sub_layers - 1]:
            bits.skip(88 * has_profile + 8 * has_level)
    return profile


def parse_sps(nal: bytes) -> Sps:
    """Reads a sequence parameter set, NAL header included (7.3.2.2.1).

    Raises `RemoteProtocolError`.
    """
    if len(nal) < 2 or nal_type(nal) != NAL_SPS:
        raise RemoteProtocolError("the H.265 sequence parameter set is none")
    bits = BitReader(unescape(nal[2:]), "the H.265 sequence parameter set")
    bits.skip(4)  # sps_video_parameter_set_id
    sub_layers = 1 + bits.u(3)
    nesting = bits.flag()
    profile = _parse_profile(bits, sub_layers)
    sps_id = bits.ue(15)
    chroma = bits.ue(3)
    separate_planes = chroma == 3 and bits.flag()
    width, height = bits.ue(_MAX_SIDE), bits.ue(_MAX_SIDE)
    if bits.flag():
        # 7.4.3.2.1: offsets of the conformance window count chroma samples.
        unit_x = 2 if chroma in (1, 2) and not separate_planes else 1
        unit_y = 2 if chroma == 1 else 1
        width -= unit_x * (bits.ue(width) + bits.ue(width))
        height -= unit_y * (bits.ue(height) + bits.ue(height))
    if width <= 0 or height <= 0:
        raise RemoteProtocolError("the H.265 picture is cropped to nothing")
    depth, depth_chroma = 8 + bits.ue(8), 8 + bits.ue(8)
    order_bits = 4 + bits.ue(12)
    reorder = 0
    for _ in range(sub_layers if bits.flag() else 1):
        bits.ue(15)  # sps_max_dec_pic_buffering_minus1
        reorder = bits.ue(15)
        bits.ue()  # sps_max_latency_increase_plus1
    rate, colour = _parse_tail(bits, chroma, order_bits, sub_layers)
    return Sps(
        sps_id, profile, sub_layers, nesting, chroma, depth, depth_chroma, width, height,
        reorder, rate, colour,
    )  # fmt: skip


def _parse_tail(
    bits: BitReader, chroma: int, order_bits: int, sub_layers: int
) -> tuple[Fraction | None, Colour | None]:
    """What lies between the reorder bounds and the VUI, and frame rate and colour from the VUI."""
    for _ in range(6):
        bits.ue()  # block sizes and transform depths
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits, chroma)
    bits.skip(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag():
        bits.skip(8)  # pcm sample depths
        bits.ue()
        bits.ue()
        bits.skip(1)
    _skip_reference_sets(bits)
    if bits.flag():
        for _ in range(bits.ue(32)):
            bits.skip(order_bits + 1)
    bits.skip(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    return _parse_vui(bits) if bits.flag() else (None, None)


def _skip_scaling_lists(bits: BitReader, chroma: int) -> None:
    # 7.3.4: the 32x32 lists come in steps of 3.
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue(5)  # scaling_list_pred_matrix_id_delta
                continue
            if size > 1:
                bits.se()  # scaling_list_dc_coef_minus8
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                bits.se()


def _skip_reference_sets(bits: BitReader) -> None:
    # 7.3.7: a set is given outright, or as a difference to the one before it.
    pictures = 0
    for index in range(bits.ue(64)):
        if index and bits.flag():
            bits.skip(1)  # delta_rps_sign
            bits.ue(32_767)
            kept = 0
            for _ in range(pictures + 1):
                # used_by_curr_pic_flag; without it use_delta_flag decides.
                kept += bits.flag() or bits.flag()
            pictures = kept
        else:
            pictures = bits.ue(16) + bits.ue(16)
            for _ in range(pictures):
                bits.ue(32_767)
                bits.skip(1)
        if pictures > 16:
            raise RemoteProtocolError("an H.265 reference picture set is too large")


def _parse_vui(bits: BitReader) -> tuple[Fraction | None, Colour | None]:
    # E.2.1. Some cameras cut the VUI short; what matters more has been read before it.
    colour = None
    try:
        if bits.flag() and bits.u(8) == 255:  # aspect_ratio_idc: EXTENDED_SAR
            bits.skip(32)
        if bits.flag():
            bits.skip(1)  # overscan_appropriate_flag
        if bits.flag():
            colour = read_colour(bits)
        if bits.flag():
            bits.ue(5)  # chroma_sample_loc_type_top_field
            bits.ue(5)
        bits.skip(3)  # neutral_chroma_indication, field_seq, frame_field_info_present
        if bits.flag():
            for _ in range(4):
                bits.ue()  # the default display window is a hint that players ignore
        if not bits.flag():
            return None, colour
        units, scale = bits.u(32), bits.u(32)
    except RemoteProtocolError:
        return None, colour
    # A tick is a picture here, unlike in H.264.
    return plausible_rate(scale, units), colour


@dataclass(frozen=True, slots=True)
class HevcConfig:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1)."""

    sets: ParameterSets
    """Parameter sets, NAL headers included; at least one sequence parameter set."""

    length_size: int = 4
    """Bytes of the length before each NAL unit in the samples that it came with."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads hvcC, or parameter sets in Annex B form, which some encoders send in its place.

        Raises `RemoteProtocolError`, also when no sequence parameter set is in it.
        """
        if len(data) > MAX_CONFIG_BYTES:
            raise RemoteProtocolError("the H.265 configuration is too long")
        if has_start_code(data):
            config = cls({}).merged(split_annex_b(data))
        else:
            config = cls._parse_record(data)
        if not config.sps:
            raise RemoteProtocolError("the H.265 configuration holds no sequence parameter set")
        return config

    @classmethod
    def _parse_record(cls, data: bytes) -> Self:
        bits = BitReader(data, "the H.265 configuration")
        # 0 stands in records written before the standard was final.
        if bits.u(8) > 1:
            raise RemoteProtocolError("the H.265 configuration has an unknown version")
        bits.skip(20 * 8 + 6)  # all of it said again by the SPS
        length_size = 1 + bits.u(2)
        if length_size == 3:
            raise RemoteProtocolError("the H.265 configuration wants lengths of 3 bytes")
        nals: list[bytes] = []
        for _ in range(bits.u(8)):
            bits.skip(8)  # array_completeness, NAL_unit_type: each unit tells its own
            nals += read_nal_array(bits, bits.u(16))
        return cls({}, length_size).merged(nals)

    @property
    def sps(self) -> list[bytes]:
        """The sequence parameter sets."""
        return self._of(NAL_SPS)

    def to_bytes(self) -> bytes:
        """Writes hvcC for samples with 4-byte lengths, whatever lengths it was read with."""
        sps = parse_sps(self.sps[0])
        layers = sps.sub_layers << 3 | sps.temporal_nesting << 2 | 3
        parts = [
            b"\x01", sps.profile.to_bytes(),
            # min_spatial_segmentation_idc and parallelismType 0 and the frame rate 0: unknown.
            b"\xf0\x00\xfc",
            bytes((0xFC | sps.chroma_format_idc, 0xF8 | sps.bit_depth - 8)),
            bytes((0xF8 | sps.bit_depth_chroma - 8, 0, 0, layers)),
        ]  # fmt: skip
        arrays = [
            (kind, found) for kind in (NAL_VPS, NAL_SPS, NAL_PPS) if (found := self._of(kind))
        ]
        parts.append(bytes((len(arrays),)))
        for kind, nals in arrays:
            parts += [bytes((0x80 | kind,)), len(nals).to_bytes(2), *map(with_u16, nals)]
        return b"".join(parts)

    def merged(self, nals: Iterable[bytes]) -> Self:
        """This configuration with the parameter sets among ``nals``; itself when none is news.

        Raises `RemoteProtocolError` for a set that cannot be read, and for too many.
        """
        sets = merge_sets(self.sets, nals, _identify)
        return self if sets is self.sets else replace(self, sets=sets)

    def _of(self, kind: int) -> list[bytes]:
        return [nal for (held, _), nal in self.sets.items() if held == kind]


def _identify(nal: bytes) -> tuple[int, int] | None:
    kind = nal_type(nal)
    if kind == NAL_VPS:
        return kind, BitReader(nal[2:], "the H.265 video parameter set").u(4)
    if kind == NAL_SPS:
        return kind, parse_sps(nal).sps_id
    if kind == NAL_PPS:
        return kind, BitReader(unescape(nal[2:16]), "the H.265 picture parameter set").ue(63)
    return None


def codec_string(profile: Profile) -> str:
    """The CODECS name: ``hvc1.1.6.L63.90`` (ISO/IEC 14496-15 E.3).

    Profile space and number; compatibility flags, flag 0 lowest, in hexadecimal; tier and level;
    the bytes of constraint flags without the zeros at their end.
    """
    space = ("", "A", "B", "C")[profile.space]
    compatibility = int(f"{profile.compatibility:032b}"[::-1], 2)
    constraints = profile.constraints.to_bytes(6).rstrip(b"\x00")
    parts = [
        "hvc1",
        f"{space}{profile.idc}",
        f"{compatibility:X}",
        f"{'H' if profile.high_tier else 'L'}{profile.level_idc}",
        *(f"{byte:X}" for byte in constraints),
    ]
    return ".".join(parts)


def track_from_hvcc(config: bytes, epoch: int = 0) -> Track:
    """The track that hvcC (or parameter sets in Annex B form) describes.

    Its config is hvcC for 4-byte lengths. Raises `RemoteProtocolError`.
    """
    hevc = HevcConfig.parse(config)
    if hevc.length_size != 4 or has_start_code(config):
        config = hevc.to_bytes()
    sps = parse_sps(hevc.sps[0])
    return Track(
        codec=Codec.H265,
        clock_rate=VIDEO_CLOCK,
        config=config,
        epoch=epoch,
        codec_string=codec_string(sps.profile),
        profile=sps.profile.name,
        width=sps.width,
        height=sps.height,
        frame_rate=sps.frame_rate,
        bit_depth=sps.bit_depth,
        chroma_format=CHROMA_FORMATS[sps.chroma_format_idc],
        colour=sps.colour,
    )
