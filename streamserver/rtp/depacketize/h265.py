"""H.265 (RFC 7798): single NAL units, aggregation and fragmentation units, without DONL fields."""

from typing import ClassVar, Final

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.nal import NalDepacketizer

__all__ = ["H265Depacketizer"]

_FIRST_ENTRY: Final = 16
_LAST_ENTRY: Final = 21
"""BLA, IDR and CRA pictures: where a decoder can begin (H.265, table 7-1)."""

_BEGINNINGS: Final = frozenset((32, 33, 35))
"""VPS, SPS and delimiter, which stand before the first slice (H.265, section 7.4.2.4.4)."""

_AGGREGATE: Final = 48
_FRAGMENT: Final = 49
_PACI: Final = 50


class H265Depacketizer(NalDepacketizer):
    """Frames are length-prefixed NAL units, parameter sets among them."""

    __slots__ = ()

    codec: ClassVar[str] = "H.265"

    @staticmethod
    def is_entry(unit: bytes) -> bool:
        """See `NalDepacketizer`."""
        return _FIRST_ENTRY <= unit[0] >> 1 & 0x3F <= _LAST_ENTRY

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        kind = payload[0] >> 1 & 0x3F
        if kind == _AGGREGATE and len(payload) > 4:
            kind = payload[4] >> 1 & 0x3F
        return kind in _BEGINNINGS

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        if len(payload) < 3:
            raise DamagedFrameError("the H.265 payload is shorter than its header")
        kind = payload[0] >> 1 & 0x3F
        if kind == _FRAGMENT:
            if len(payload) < 4:
                raise DamagedFrameError("the H.265 fragment is empty")
            # Section 4.4.3: a header of two bytes, then start, end and the type of the unit.
            header = bytes((payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]))
            self.add_fragment(payload[2], header, payload[3:])
        elif kind == _AGGREGATE:
            # Section 4.4.2: a header of two bytes first.
            self.add_aggregate(payload, 2)
        elif kind < _AGGREGATE:
            self.add_unit(payload)
        elif kind == _PACI:
            raise DamagedFrameError("the H.265 payload is of a kind that is not read (PACI)")
        else:
            raise DamagedFrameError("the H.265 payload is of an unknown kind")
