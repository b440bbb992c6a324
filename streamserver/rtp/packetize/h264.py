"""H.264 in RTP: RFC 6184, packetization mode 1 (single units, STAP-A and FU-A)."""

from typing import Final

from streamserver.media.h264 import NAL_AUD, NAL_SEI, AvcConfig
from streamserver.media.track import Track
from streamserver.rtp.packetize.nal import NalPacketizer

__all__ = ["h264_packetizer"]

_STAP_A: Final = 24
_FU_A: Final = 28
_START: Final = 0x80
_END: Final = 0x40

_LEFT_OUT: Final = frozenset((NAL_SEI, NAL_AUD, 10, 11, 12))
"""Of no use to a browser: SEI, delimiters, ends of sequence and stream, filler."""


class _Form:
    header_bytes = 1
    fragment_bytes = 2

    def carries(self, first: int) -> bool:
        return first & 0x1F not in _LEFT_OUT

    def aggregation_header(self, nals: list[bytes]) -> bytes:
        # RFC 6184 5.7: F is set if any has it, NRI is the highest of all.
        refs = max(nal[0] & 0x60 for nal in nals)
        forbidden = max(nal[0] & 0x80 for nal in nals)
        return bytes((forbidden | refs | _STAP_A,))

    def fragment_heads(self, nal: bytes) -> tuple[bytes, bytes, bytes]:
        # RFC 6184 5.8: F and NRI of the unit in the indicator, its type in the FU header.
        indicator, kind = nal[0] & 0xE0 | _FU_A, nal[0] & 0x1F
        return (
            bytes((indicator, _START | kind)),
            bytes((indicator, kind)),
            bytes((indicator, _END | kind)),
        )


def h264_packetizer(track: Track) -> NalPacketizer:
    """The packetizer of a track with avcC. Raises `RemoteProtocolError`."""
    return NalPacketizer(_Form(), list(AvcConfig.parse(track.config).sets.values()))
