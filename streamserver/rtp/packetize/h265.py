"""H.265 in RTP: RFC 7798 (single units, aggregation packets and fragmentation units)."""

from typing import Final

from streamserver.media.h265 import NAL_AUD, HevcConfig
from streamserver.media.track import Track
from streamserver.rtp.packetize.nal import NalPacketizer

__all__ = ["h265_packetizer"]

_AP: Final = 48
_FU: Final = 49
_START: Final = 0x80
_END: Final = 0x40

_LEFT_OUT: Final = frozenset((NAL_AUD, 36, 37, 38, 39, 40))
"""Delimiters, ends of sequence and bitstream, filler and SEI."""


class _Form:
    header_bytes = 2
    fragment_bytes = 3

    def carries(self, first: int) -> bool:
        return first >> 1 & 0x3F not in _LEFT_OUT

    def aggregation_header(self, nals: list[bytes]) -> bytes:
        # RFC 7798 4.4.2: the lowest layer and the lowest temporal id of all.
        layer = min((nal[0] & 1) << 5 | nal[1] >> 3 for nal in nals)
        temporal = min(nal[1] & 7 for nal in nals)
        return bytes((_AP << 1 | layer >> 5, (layer & 0x1F) << 3 | temporal))

    def fragment_heads(self, nal: bytes) -> tuple[bytes, bytes, bytes]:
        # RFC 7798 4.4.3: layer and temporal id stay, the type moves to the FU header.
        head = bytes((nal[0] & 0x81 | _FU << 1, nal[1]))
        kind = nal[0] >> 1 & 0x3F
        return (
            head + bytes((_START | kind,)),
            head + bytes((kind,)),
            head + bytes((_END | kind,)),
        )


def h265_packetizer(track: Track) -> NalPacketizer:
    """The packetizer of a track with hvcC. Raises `RemoteProtocolError`."""
    return NalPacketizer(_Form(), list(HevcConfig.parse(track.config).sets.values()))
