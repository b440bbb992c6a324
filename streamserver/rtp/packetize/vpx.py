"""VP8 (RFC 7741) and VP9 (RFC 9628) in RTP.

Neither carries picture ids: they are optional, and a viewer for whom frames are left out would
see them jump, while its sequence numbers stay whole.
"""

from typing import Final

from streamserver.media.packet import Packet
from streamserver.rtp.packetize.base import MAX_PAYLOAD, split

__all__ = ["Vp8Packetizer", "Vp9Packetizer"]

_VP8_START: Final = b"\x10"
"""RFC 7741 4.2: S, the start of a partition, and partition 0."""

_VP8_MIDDLE: Final = b"\x00"

_INTER: Final = 0x40
_BEGIN: Final = 0x08
_END: Final = 0x04
"""RFC 9628 4.2: P, predicted from other frames; B and E, begin and end of a frame."""


class Vp8Packetizer:
    """Cuts frames of VP8 without a look at their partitions."""

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payloads of one frame."""
        pieces = split(packet.data, 0, MAX_PAYLOAD - 1)
        heads = [_VP8_START, *[_VP8_MIDDLE] * (len(pieces) - 1)]
        return [head + piece for head, piece in zip(heads, pieces, strict=True)]


class Vp9Packetizer:
    """Cuts frames of VP9, non-flexible mode, one spatial layer. A superframe is one frame."""

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payloads of one frame."""
        pieces = split(packet.data, 0, MAX_PAYLOAD - 1)
        head = 0 if packet.keyframe else _INTER
        last = len(pieces) - 1
        return [
            bytes((head | (_BEGIN if index == 0 else 0) | (_END if index == last else 0),)) + piece
            for index, piece in enumerate(pieces)
        ]
