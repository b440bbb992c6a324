"""Boxes of the ISO base media file format (ISO/IEC 14496-12, 4.2)."""

from struct import Struct
from typing import Final

__all__ = ["box", "descriptor", "full_box"]

_HEADER: Final = Struct(">I4s")
_FULL_HEADER: Final = Struct(">I4sI")


def box(kind: bytes, *payload: bytes) -> bytes:
    """A box: size, four letters, payload."""
    body = b"".join(payload)
    return _HEADER.pack(8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """A box that begins with a version and 24 flags."""
    body = b"".join(payload)
    return _FULL_HEADER.pack(12 + len(body), kind, version << 24 | flags) + body


def descriptor(tag: int, *payload: bytes) -> bytes:
    """An MPEG-4 descriptor (ISO/IEC 14496-1, 8.3.3), its size always in four bytes."""
    body = b"".join(payload)
    size = len(body)
    lengths = (0x80 | size >> 21 & 0x7F, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F)
    return bytes((tag, *lengths, size & 0x7F)) + body
