"""VP9 (RFC 9628): payloads behind a descriptor; spatial layers of a picture become a superframe."""

from collections.abc import Sequence
from typing import Final

from streamserver.media.errors import DamagedFrameError
from streamserver.media.vp9 import parse_frame
from streamserver.rtp.depacketize.base import Coded

__all__ = ["Vp9Depacketizer"]

_MAX_LAYERS: Final = 8
"""Frames of which a superframe can tell the sizes (VP9 specification, annex B)."""


def _after_descriptor(payload: bytes) -> int:
    """Where the coded bytes begin (section 4.2). Raises `DamagedFrameError`."""
    flags = payload[0]
    at = 1
    try:
        if flags & 0x80:  # I: a picture number of 7 or 15 bits
            at += 2 if payload[at] & 0x80 else 1
        if flags & 0x20:  # L: layers, and outside of flexible mode the base layer's index
            at += 1 if flags & 0x10 else 2
        if flags & 0x50 == 0x50:  # F and P: up to three reference indices
            for _ in range(3):
                at += 1
                if not payload[at - 1] & 1:
                    break
            else:
                raise DamagedFrameError("the VP9 descriptor has too many references")
        if flags & 0x02:  # V: the scalability structure
            at = _after_structure(payload, at)
    except IndexError:
        raise DamagedFrameError("the VP9 descriptor ends too early") from None
    if at >= len(payload):
        raise DamagedFrameError("the VP9 payload holds nothing but its descriptor")
    return at


def _after_structure(payload: bytes, at: int) -> int:
    # Section 4.2.1: sizes of the layers, then a group of pictures with their references.
    flags = payload[at]
    at += 1
    if flags & 0x10:
        at += 4 * ((flags >> 5) + 1)
    if flags & 0x08:
        pictures = payload[at]
        at += 1
        for _ in range(pictures):
            at += 1 + (payload[at] >> 2 & 3)
    return at


def _superframe(frames: Sequence[bytes]) -> bytes:
    """Frames of one picture with the index that tells them apart (VP9 specification, annex B)."""
    size = (max(map(len, frames)).bit_length() + 7) // 8
    marker = bytes((0xC0 | size - 1 << 3 | len(frames) - 1,))
    sizes = b"".join(len(frame).to_bytes(size, "little") for frame in frames)
    return b"".join((*frames, marker, sizes, marker))


class Vp9Depacketizer:
    """See `Depacketizer`."""

    __slots__ = ("_ended", "_frames", "_parts")

    def __init__(self) -> None:
        # Layers that are whole, and the parts of the next.
        self._frames: list[bytes] = []
        self._parts: list[bytes] = []
        self._ended = True

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        # B, and no layer above the first.
        if not payload[0] & 0x08:
            return False
        if not payload[0] & 0x20:
            return True
        at = 1
        if payload[0] & 0x80:
            at += 2 if len(payload) > 1 and payload[1] & 0x80 else 1
        return at < len(payload) and not payload[at] & 0x0E

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        flags = payload[0]
        at = _after_descriptor(payload)
        # B and E stand at the beginning and the end of each layer's frame.
        if bool(flags & 0x08) is not self._ended:
            raise DamagedFrameError("the VP9 frame has no start, or no end")
        self._parts.append(payload[at:])
        self._ended = bool(flags & 0x04)
        if self._ended:
            if len(self._frames) == _MAX_LAYERS:
                raise DamagedFrameError("the VP9 picture has too many layers")
            self._frames.append(b"".join(self._parts))
            self._parts.clear()

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        frames, ended = self._frames, self._ended
        if not ended:
            self.drop()
            raise DamagedFrameError("the VP9 frame has no end")
        if not frames:
            return None
        data = frames[0] if len(frames) == 1 else _superframe(frames)
        self.drop()
        return Coded(data, parse_frame(data).keyframe)

    def drop(self) -> None:
        """See `Depacketizer`."""
        self._frames.clear()
        self._parts.clear()
        self._ended = True
