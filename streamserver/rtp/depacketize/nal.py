"""What the payload formats of H.264 (RFC 6184) and H.265 (RFC 7798) share: units, aggregates and
fragments become a frame of length-prefixed NAL units."""

from abc import ABC, abstractmethod
from struct import Struct
from typing import ClassVar, Final

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.base import MAX_PIECES, Coded

__all__ = ["NalDepacketizer"]

_pack_u32: Final = Struct("!I").pack

_START: Final = 0x80
_END: Final = 0x40


class NalDepacketizer(ABC):
    """Collects the units of a frame; which packets hold what, the codec's own class knows."""

    __slots__ = ("_fragments", "_header", "_keyframe", "_parts")

    codec: ClassVar[str]
    """As errors call it."""

    def __init__(self) -> None:
        # Lengths and units in turn.
        self._parts: list[bytes] = []
        self._fragments: list[bytes] = []
        self._header = b""
        self._keyframe = False

    @staticmethod
    @abstractmethod
    def is_entry(unit: bytes) -> bool:
        """Whether a unit is of a picture where a decoder can begin."""

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        if self._fragments:
            self.drop()
            raise DamagedFrameError(f"the {self.codec} frame ends within a fragmented unit")
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

    def add_unit(self, unit: bytes) -> None:
        """A whole unit."""
        if self._fragments or len(self._parts) >= 2 * MAX_PIECES:
            raise DamagedFrameError(
                f"the {self.codec} frame breaks a fragmented unit, or has too many"
            )
        if self.is_entry(unit):
            self._keyframe = True
        self._parts += (_pack_u32(len(unit)), unit)

    def add_aggregate(self, payload: bytes, at: int) -> None:
        """Units behind lengths of two bytes, from a place on (RFC 6184, 5.7.1; RFC 7798, 4.4.2)."""
        end = len(payload)
        while at < end:
            start = at + 2
            if start > end:
                raise DamagedFrameError(f"the {self.codec} aggregate ends within a length")
            at = start + (payload[at] << 8 | payload[at + 1])
            if at > end:
                raise DamagedFrameError(f"the {self.codec} aggregate is shorter than its units")
            if at > start:
                self.add_unit(payload[start:at])

    def add_fragment(self, flags: int, header: bytes, piece: bytes) -> None:
        """A piece of a unit, with start and end in its flags (RFC 6184, 5.8; RFC 7798, 4.4.3)."""
        fragments = self._fragments
        if flags & _START:
            if fragments:
                raise DamagedFrameError(f"the {self.codec} fragments of a unit have no end")
            self._header = header
        elif not fragments:
            raise DamagedFrameError(f"the {self.codec} fragments of a unit have no start")
        fragments.append(piece)
        if flags & _END:
            unit = self._header + b"".join(fragments)
            fragments.clear()
            self.add_unit(unit)
