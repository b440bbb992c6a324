"""What all payload formats share: the size of a payload, and the form of a packetizer."""

from typing import Final, Protocol

from streamserver.media.packet import Packet

__all__ = ["MAX_AUDIO_PAYLOAD", "MAX_PACKET", "MAX_PAYLOAD", "RTP_HEADER", "Packetizer", "split"]

RTP_HEADER: Final = 12
"""A fixed header without contributing sources or extensions (RFC 3550, section 5.1)."""

MAX_PACKET: Final = 1200
"""RTP header and payload of a full packet. With the tag of SRTP (16 bytes), the two bytes of a
retransmission, UDP and IPv6 it stays below 1280, which every IPv6 path carries (RFC 8200, 5)."""

MAX_PAYLOAD: Final = MAX_PACKET - RTP_HEADER
"""Bytes of payload in a full packet."""

MAX_AUDIO_PAYLOAD: Final = 1400
"""Sound cannot be cut: an Opus frame has up to 1275 bytes (RFC 6716, 3.4), which Ethernet takes."""


class Packetizer(Protocol):
    """Cuts the packets of one track. Stateless: the same packet always gives the same payloads."""

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payloads of one frame, in order; none when nothing in it is to be sent.

        All but the last of a run have the same size where the format allows it, so that the
        kernel can cut a run by itself. Raises `RemoteProtocolError` for data that is damaged.
        """


def split(data: bytes, start: int, size: int) -> list[bytes]:
    """The bytes from ``start`` on in pieces of ``size``, the last one maybe shorter."""
    return [data[at : at + size] for at in range(start, len(data), size)]
