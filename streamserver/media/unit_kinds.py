"""What the first byte of a NAL unit, or of a frame of audio, tells of the unit."""

from collections.abc import Callable
from typing import Final

from streamserver.media import h264, h265

__all__ = [
    "DELIMITER",
    "FRAME",
    "KEY",
    "LONE_FRAME",
    "LONE_KEY",
    "LONE_NALS",
    "NOTHING_TOLD",
    "NOT_ADTS",
    "REMOVED",
    "SEI",
    "TABLE_H264",
    "TABLE_H265",
]

LONE_FRAME: Final = 1
LONE_KEY: Final = 2
"""What `UnitReader.lone_nals` tells: a picture, and one that a decoder can begin with."""

NOTHING_TOLD: Final = bytes(256)
"""The first byte tells nothing."""

FRAME: Final = 1
KEY: Final = 2
REMOVED: Final = 4
SEI: Final = 8
DELIMITER: Final = 16
"""What a NAL unit is: part of a picture, of one that a decoder can begin with, one that a packet
does not hold, and two that are looked at."""

_KINDS_H264: Final = {
    **dict.fromkeys(range(1, 5), FRAME),
    h264.NAL_IDR: FRAME | KEY,
    h264.NAL_SEI: SEI,
    **dict.fromkeys((h264.NAL_SPS, h264.NAL_PPS, h264.NAL_SPS_EXT), REMOVED),
    h264.NAL_AUD: REMOVED | DELIMITER,
}
_KINDS_H265: Final = {
    **dict.fromkeys(range(32), FRAME),
    **dict.fromkeys(range(h265.NAL_BLA_W_LP, h265.NAL_CRA + 1), FRAME | KEY),
    **dict.fromkeys((h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS), REMOVED),
    h265.NAL_AUD: REMOVED | DELIMITER,
}


def _by_first_byte(kinds: dict[int, int], nal_type: Callable[[bytes], int]) -> bytes:
    return bytes(kinds.get(nal_type(bytes((first,))), 0) for first in range(256))


TABLE_H264: Final = _by_first_byte(_KINDS_H264, h264.nal_type)
TABLE_H265: Final = _by_first_byte(_KINDS_H265, h265.nal_type)
"""By the first byte of a NAL unit, what it is."""

_LONE: Final = {FRAME: LONE_FRAME, FRAME | KEY: LONE_KEY}
LONE_NALS: Final = bytes(_LONE.get(kind, 0) for kind in range(256))
"""By what a NAL unit is, which picture it makes when it is alone."""

NOT_ADTS: Final = bytes(first != 0xFF for first in range(256))
"""By the first byte of audio, whether it cannot be an ADTS header."""
