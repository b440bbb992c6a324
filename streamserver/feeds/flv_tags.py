"""FLV tags (Adobe Flash Video File Format 10.1, annex E), the same for every viewer."""

from typing import Final

from streamserver.feeds.body import Header

__all__ = ["FlvFormat"]

_SIGNATURE: Final = b"FLV\x01"
_HAS_AUDIO: Final = 4
_HAS_VIDEO: Final = 1
_TAG_HEADER: Final = 11


class FlvFormat:
    """An FLV file that never ends, over HTTP or WebSocket."""

    def frame(self, kind: int, time_ms: int, head: bytes, data: bytes) -> tuple[bytes, ...]:
        """A tag and the size of it (E.3, E.4.1): a viewer begins and ends between two."""
        size = len(head) + len(data)
        # E.4.1: the lower 24 bits, then the upper eight. Players read all 32 without a sign.
        low, high = time_ms & 0xFFFFFF, time_ms >> 24 & 0xFF
        # E.4.1 ends with StreamID, always 0.
        tag = (kind << 80 | size << 56 | low << 32 | high << 24).to_bytes(_TAG_HEADER, "big")
        return tag + head, data, (size + _TAG_HEADER).to_bytes(4, "big")

    def greeting(self, header: Header) -> bytes:
        """The file's header (E.2) and the size of the tag before the first: 0 (E.3).

        mpegts.js waits for every kind that the flags promise, so they must be right.
        """
        flags = _HAS_AUDIO * header.has_audio | _HAS_VIDEO * header.has_video
        return _SIGNATURE + bytes((flags,)) + (9).to_bytes(4, "big") + bytes(4)
