"""VP8 (RFC 7741): a frame is the payloads one behind the other, each behind a descriptor."""

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.base import Coded

__all__ = ["Vp8Depacketizer"]


def _after_descriptor(payload: bytes) -> int:
    """Where the coded bytes begin (section 4.2). Raises `DamagedFrameError`."""
    at = 1
    if payload[0] & 0x80:  # X: a byte that tells which fields follow
        if len(payload) < 3:
            raise DamagedFrameError("the VP8 descriptor ends too early")
        fields = payload[1]
        at = 2
        if fields & 0x80:  # I: a picture number of 7 or 15 bits
            at += 2 if payload[2] & 0x80 else 1
        if fields & 0x40:  # L: the number of the base layer's frame
            at += 1
        if fields & 0x30:  # T or K: layer and key index share a byte
            at += 1
    if at >= len(payload):
        raise DamagedFrameError("the VP8 payload holds nothing but its descriptor")
    return at


class Vp8Depacketizer:
    """See `Depacketizer`."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        # S with partition 0: the first partition holds the frame header.
        return payload[0] & 0x17 == 0x10

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        if not self._parts and not self.begins(payload):
            raise DamagedFrameError("the VP8 frame has no start")
        self._parts.append(payload[_after_descriptor(payload) :])

    def take(self) -> Coded | None:
        """See `Depacketizer`."""
        if not self._parts:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        # RFC 6386, section 9.1: the lowest bit of a frame is 0 in key frames.
        return Coded(data, not data[0] & 1)

    def drop(self) -> None:
        """See `Depacketizer`."""
        self._parts.clear()
