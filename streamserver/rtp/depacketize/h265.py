"""H.265 (RFC 7798): single NAL units, aggregation and fragmentation units, without DONL fields."""

from struct import Struct
from typing import Final

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.base import MAX_PIECES, Coded

__all__ = ["H265Depacketizer"]

_pack_u32: Final = Struct("!I").pack

_FIRST_ENTRY: Final = 16
_LAST_ENTRY: Final = 21
"""BLA, IDR and CRA pictures: where a decoder can begin (H.265, table 7-1)."""

_BEGINNINGS: Final = frozenset((32, 33, 35))
"""VPS, SPS and delimiter, which stand before the first slice (H.265, section 7.4.2.4.4)."""

_AGGREGATE: Final = 48
_FRAGMENT: Final = 49
_PACI: Final = 50


class H265Depacketizer:
    """Frames are length-prefixed NAL units, parameter sets among them."""

    __slots__ = ("_fragments", "_header", "_keyframe", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._fragments: list[bytes] = []
        self._header = b""
        self._keyframe = False

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
            self._add_fragment(payload)
        elif kind == _AGGREGATE:
            self._add_aggregate(payload)
        elif kind < _AGGREGATE:
            self._add_unit(payload)
        elif kind == _PACI:
            raise DamagedFrameError("the H.265 payload is of a kind that is not read (PACI)")
        else:
            raise DamagedFrameError("the H.265 payload is of an unknown kind")

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        if self._fragments:
            self.drop()
            raise DamagedFrameError("the H.265 frame ends within a fragmented unit")
        if not self._parts:
            return None
        frame = Coded(b"".join(self._parts), self._keyframe)
        self._parts.clear()
        self._keyframe = False
        return frame

    def drop(self) -> None:
        """See `Depacketizer`."""
        self._parts.clear()
        self._fragments.clear()
        self._keyframe = False

    def _add_unit(self, unit: bytes) -> None:
        if self._fragments or len(self._parts) >= 2 * MAX_PIECES:
            raise DamagedFrameError("the H.265 frame breaks a fragmented unit, or has too many")
        if _FIRST_ENTRY <= unit[0] >> 1 & 0x3F <= _LAST_ENTRY:
            self._keyframe = True
        self._parts += (_pack_u32(len(unit)), unit)

    def _add_aggregate(self, payload: bytes) -> None:
        # Section 4.4.2: a header of two bytes, then units behind lengths of two bytes.
        at, end = 2, len(payload)
        while at < end:
            start = at + 2
            if start > end:
                raise DamagedFrameError("the H.265 aggregate ends within a length")
            at = start + (payload[at] << 8 | payload[at + 1])
            if at > end:
                raise DamagedFrameError("the H.265 aggregate is shorter than its units")
            if at > start:
                self._add_unit(payload[start:at])

    def _add_fragment(self, payload: bytes) -> None:
        # Section 4.4.3: a header of two bytes, then start, end and the type of the unit.
        if len(payload) < 4:
            raise DamagedFrameError("the H.265 fragment is empty")
        flags = payload[2]
        fragments = self._fragments
        if flags & 0x80:
            if fragments:
                raise DamagedFrameError("the H.265 fragments of a unit have no end")
            self._header = bytes((payload[0] & 0x81 | (flags & 0x3F) << 1, payload[1]))
        elif not fragments:
            raise DamagedFrameError("the H.265 fragments of a unit have no start")
        fragments.append(payload[3:])
        if flags & 0x40:
            unit = self._header + b"".join(fragments)
            fragments.clear()
            self._add_unit(unit)
