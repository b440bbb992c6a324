"""NAL units of H.264 and H.265: the two ways to tell them apart, and back to one of them.

Everything here is sliced, never rewritten byte by byte, and the number of units in one message is
bounded: 8 MiB of one-byte units would hold the loop for a second.
"""

from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader
from streamserver.media.errors import DamagedFrameError

__all__ = [
    "MAX_CONFIG_BYTES",
    "MAX_NALS",
    "ParameterSets",
    "has_start_code",
    "join_nals",
    "merge_sets",
    "read_nal_array",
    "split_annex_b",
    "split_prefixed",
    "unpack_u32",
    "with_u16",
]

MAX_NALS: Final = 4096
"""NAL units in one access unit; the largest level allows some 600 slices in a picture."""

MAX_CONFIG_BYTES: Final = 32_768
"""All parameter sets of a track together; real ones need some 200."""

_MAX_SETS: Final = 64
"""Parameter sets of a track; real ones are two or three, and each that is news gets parsed."""

ParameterSets = Mapping[tuple[int, int], bytes]
"""Parameter sets by (nal_unit_type, id), in the order of their coming."""

unpack_u32: Final = Struct(">I").unpack_from
"""Reads one 32-bit length at a position; answers a tuple of one."""

_pack_u32: Final = Struct(">I").pack


def has_start_code(data: bytes) -> bool:
    """Whether it begins as an Annex B byte stream does.

    A length prefix can look the same (00 00 01 xx is a unit of 256 bytes and more), so ask this
    only of what is no sequence of length-prefixed units.
    """
    return data.startswith((b"\x00\x00\x00\x01", b"\x00\x00\x01"))


def split_annex_b(data: bytes) -> list[bytes]:
    """The NAL units between start codes (H.264 Annex B.1), without trailing zeros."""
    nals = data.split(b"\x00\x00\x01", MAX_NALS + 1)
    if len(nals) > MAX_NALS:
        raise DamagedFrameError(f"more than {MAX_NALS} NAL units in one access unit")
    # A unit never ends in a zero byte: zeros belong to the next, longer start code or are padding.
    stripped = (nal.rstrip(b"\x00") for nal in nals[1:])
    return [nal for nal in stripped if nal]


def split_prefixed(data: bytes, length_size: int) -> list[bytes]:
    """The NAL units behind length prefixes of 1 to 4 bytes (ISO/IEC 14496-15 4.3.2).

    Empty units are left out. Raises `DamagedFrameError` when lengths and data do not agree.
    """
    nals: list[bytes] = []
    position, end = 0, len(data)
    for _ in range(MAX_NALS):
        start = position + length_size
        if start > end:
            break
        position = start + int.from_bytes(data[position:start])
        if start < position <= end:
            nals.append(data[start:position])
    if position > end or any(data[position:]):
        raise DamagedFrameError("lengths of NAL units do not add up to the access unit")
    return nals


def join_nals(nals: Iterable[bytes]) -> bytes:
    """Puts a 4-byte length before each NAL unit."""
    parts: list[bytes] = []
    for nal in nals:
        parts += (_pack_u32(len(nal)), nal)
    return b"".join(parts)


def merge_sets(
    sets: ParameterSets,
    nals: Iterable[bytes],
    identify: Callable[[bytes], tuple[int, int] | None],
) -> ParameterSets:
    """Adds the parameter sets among ``nals``; answers ``sets`` itself when none is news.

    A set takes the place of the one with its id. ``identify`` answers the key of a NAL unit, None
    for one that is no parameter set, and raises `RemoteProtocolError` for one that cannot be read;
    so does this, when there are too many.
    """
    known = set(sets.values())
    merged = dict(sets)
    news = 0
    for padded in nals:
        # Zeros at the end are padding; without them a repeated set compares equal.
        nal = padded.rstrip(b"\x00")
        if not nal or nal in known or (key := identify(nal)) is None:
            continue
        merged[key] = nal
        news += 1
        if news > _MAX_SETS:
            break
    if not news:
        return sets
    if max(news, len(merged)) > _MAX_SETS or sum(map(len, merged.values())) > MAX_CONFIG_BYTES:
        raise RemoteProtocolError("too many parameter sets")
    return merged


def read_nal_array(bits: BitReader, count: int) -> list[bytes]:
    """NAL units behind 16-bit lengths, as avcC and hvcC hold them."""
    return [bits.take(bits.u(16)) for _ in range(count)]


def with_u16(nal: bytes) -> bytes:
    """A NAL unit behind its 16-bit length."""
    return len(nal).to_bytes(2) + nal
