"""AV1 ("RTP Payload Format For AV1", version 1.0 of the Alliance for Open Media).

Sections without a document are those of that text. OBUs come without their sizes, and go on with
them: the low-overhead format, without temporal delimiter.
"""

from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.media.av1 import OBU_PADDING, OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER
from streamserver.media.bits import read_leb128
from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.base import MAX_PIECES, Coded

__all__ = ["Av1Depacketizer"]

_TILE_LIST: Final = 8
_UNWANTED: Final = frozenset((OBU_TEMPORAL_DELIMITER, OBU_PADDING, _TILE_LIST))
"""Section 5: delimiters and tile lists have no place in a packet, and receivers leave them out."""


def _leb128(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


class Av1Depacketizer:
    """Frames are temporal units."""

    __slots__ = ("_fragments", "_keyframe", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._fragments: list[bytes] = []
        self._keyframe = False

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        # Section 4.4: N marks the first packet of a coded video sequence.
        return bool(payload[0] & 0x08)

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        # Section 4.4: Z and Y say that the first element goes on, and that the last will; W counts
        # the elements, of which the last has no length then.
        header = payload[0]
        count, at, end, number = header >> 4 & 3, 1, len(payload), 0
        fragments = self._fragments
        if bool(header & 0x80) is not bool(fragments):
            raise DamagedFrameError("the AV1 frame breaks a fragmented unit")
        if end == 1:
            raise DamagedFrameError("the AV1 payload holds no element")
        while at < end:
            number += 1
            if number == count:
                stop = end
            else:
                stop, at = self._length(payload, at)
                if stop > end:
                    raise DamagedFrameError("the AV1 element is longer than its packet")
            if fragments or (stop == end and header & 0x40):
                fragments.append(payload[at:stop])
                if stop < end or not header & 0x40:
                    unit = b"".join(fragments)
                    fragments.clear()
                    self._add_unit(unit)
            else:
                self._add_unit(payload[at:stop])
            at = stop
        if count and number != count:
            raise DamagedFrameError("the AV1 packet has other elements than it counts")

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        if self._fragments:
            self.drop()
            raise DamagedFrameError("the AV1 frame ends within a fragmented unit")
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

    @staticmethod
    def _length(payload: bytes, at: int) -> tuple[int, int]:
        """Where the element behind this length ends, and where it begins."""
        try:
            size, start = read_leb128(payload, at, "the AV1 element")
        except RemoteProtocolError as error:
            raise DamagedFrameError(str(error)) from None
        return start + size, start

    def _add_unit(self, unit: bytes) -> None:
        if not unit:
            return
        header = unit[0]
        kind = header >> 3 & 0x0F
        if header & 0x80:
            raise DamagedFrameError("the AV1 unit has its forbidden bit set")
        if kind in _UNWANTED:
            return
        if len(self._parts) >= 3 * MAX_PIECES:
            raise DamagedFrameError("the AV1 frame has too many units")
        if kind == OBU_SEQUENCE_HEADER:
            self._keyframe = True
        # Section 5: senders should leave sizes out; a size that is there stays.
        if header & 0x02:
            self._parts.append(unit)
            return
        start = 2 if header & 0x04 else 1
        if len(unit) < start:
            raise DamagedFrameError("the AV1 unit ends within its header")
        size = _leb128(len(unit) - start)
        self._parts += (bytes((header | 0x02,)) + unit[1:start] + size, unit[start:])
