"""H.264 (RFC 6184): single NAL units, STAP-A and FU-A, as packetization modes 0 and 1 have them."""

from struct import Struct
from typing import Final

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.base import MAX_PIECES, Coded

__all__ = ["H264Depacketizer"]

_pack_u32: Final = Struct("!I").pack

_IDR: Final = 5
_SPS: Final = 7
_DELIMITER: Final = 9
_STAP_A: Final = 24
_FU_A: Final = 28


class H264Depacketizer:
    """Frames are length-prefixed NAL units, parameter sets among them."""

    __slots__ = ("_fragments", "_header", "_keyframe", "_parts")

    def __init__(self) -> None:
        # Lengths and units in turn.
        self._parts: list[bytes] = []
        self._fragments: list[bytes] = []
        self._header = b""
        self._keyframe = False

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        # H.264, section 7.4.1.2.3: delimiter and parameter sets stand before the first slice.
        kind = payload[0] & 0x1F
        if kind == _STAP_A and len(payload) > 3:
            kind = payload[3] & 0x1F
        return kind in (_SPS, _DELIMITER)

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            self._add_fragment(payload)
        elif 0 < kind < _STAP_A:
            self._add_unit(payload)
        elif kind == _STAP_A:
            self._add_aggregate(payload)
        else:
            # Section 5.4: the others belong to the interleaved mode, which is never negotiated.
            raise DamagedFrameError("the H.264 payload is of a kind that was not negotiated")

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        if self._fragments:
            self.drop()
            raise DamagedFrameError("the H.264 frame ends within a fragmented unit")
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
            raise DamagedFrameError("the H.264 frame breaks a fragmented unit, or has too many")
        if unit[0] & 0x1F == _IDR:
            self._keyframe = True
        self._parts += (_pack_u32(len(unit)), unit)

    def _add_aggregate(self, payload: bytes) -> None:
        # Section 5.7.1: units behind lengths of two bytes.
        at, end = 1, len(payload)
        while at < end:
            start = at + 2
            if start > end:
                raise DamagedFrameError("the H.264 aggregate ends within a length")
            at = start + (payload[at] << 8 | payload[at + 1])
            if at > end:
                raise DamagedFrameError("the H.264 aggregate is shorter than its units")
            if at > start:
                self._add_unit(payload[start:at])

    def _add_fragment(self, payload: bytes) -> None:
        # Section 5.8: an indicator, then start, end, reserved and the type of the unit.
        if len(payload) < 3:
            raise DamagedFrameError("the H.264 fragment is empty")
        flags = payload[1]
        fragments = self._fragments
        if flags & 0x80:
            if fragments:
                raise DamagedFrameError("the H.264 fragments of a unit have no end")
            self._header = bytes((payload[0] & 0xE0 | flags & 0x1F,))
        elif not fragments:
            raise DamagedFrameError("the H.264 fragments of a unit have no start")
        fragments.append(payload[2:])
        if flags & 0x40:
            unit = self._header + b"".join(fragments)
            fragments.clear()
            self._add_unit(unit)
