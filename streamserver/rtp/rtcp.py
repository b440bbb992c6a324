"""RTCP: a datagram of several packets, taken apart (RFC 3550, section 6.1; RFC 5506).

The packets themselves live in `reports`, `extended`, `feedback` and `twcc`; here is the one place
to import them from. Each has ``to_bytes()``; a compound packet is those bytes one behind the other.
"""

from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.rtp.extended import EXTENDED_REPORT, ExtendedReport
from streamserver.rtp.feedback import (
    PAYLOAD_FEEDBACK,
    TRANSPORT_FEEDBACK,
    Fir,
    Nack,
    Pli,
    Remb,
)
from streamserver.rtp.reports import (
    Bye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
)
from streamserver.rtp.twcc import TransportFeedback

__all__ = [
    "Bye",
    "ExtendedReport",
    "Fir",
    "Nack",
    "Pli",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "TransportFeedback",
    "parse_rtcp",
]

RtcpPacket = (
    SenderReport | ReceiverReport | SourceDescription | Bye
    | Nack | Pli | Fir | Remb | TransportFeedback | ExtendedReport
)  # fmt: skip
"""What an RTCP datagram can hold, as far as it is understood here."""

_MAX_BYTES: Final = 4096
"""Longest datagram that is read: TCP could carry 65,535 bytes, and four can name 17 packets."""


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Takes a datagram apart; packets of unknown kinds are left out.

    A single packet that is no report is accepted, as RFC 5506 allows. Raises `RemoteProtocolError`.
    """
    size = len(data)
    if size > _MAX_BYTES:
        raise RemoteProtocolError("the RTCP datagram is too long")
    found: list[RtcpPacket] = []
    at = 0
    while at < size:
        if at + 4 > size:
            raise RemoteProtocolError("the RTCP datagram ends within a header")
        first, packet_type = data[at], data[at + 1]
        if first & 0xC0 != 0x80:
            raise RemoteProtocolError("the RTCP packet has another version than 2")
        start, at = at + 4, at + 4 + 4 * (data[at + 2] << 8 | data[at + 3])
        if at > size:
            raise RemoteProtocolError("the RTCP packet is longer than its datagram")
        body = data[start:at]
        if first & 0x20:
            # RFC 3550, section 6.4.1: only the last packet is padded, in whole words.
            if at < size or not body or not 0 < body[-1] <= len(body):
                raise RemoteProtocolError("the RTCP packet has wrong padding")
            body = body[: -body[-1]]
        packet = _parse_one(first & 0x1F, packet_type, body)
        if packet is not None:
            found.append(packet)
    return found


def _parse_one(count: int, packet_type: int, body: bytes) -> RtcpPacket | None:
    match packet_type, count:
        case SenderReport.PACKET_TYPE, _:
            return SenderReport.parse(count, body)
        case ReceiverReport.PACKET_TYPE, _:
            return ReceiverReport.parse(count, body)
        case SourceDescription.PACKET_TYPE, _:
            return SourceDescription.parse(count, body)
        case Bye.PACKET_TYPE, _:
            return Bye.parse(count, body)
        case (_, _) if packet_type == EXTENDED_REPORT:
            return ExtendedReport.parse(body)
        case (_, Nack.FORMAT) if packet_type == TRANSPORT_FEEDBACK:
            return Nack.parse(body)
        case (_, TransportFeedback.FORMAT) if packet_type == TRANSPORT_FEEDBACK:
            return TransportFeedback.parse(body)
        case (_, Pli.FORMAT) if packet_type == PAYLOAD_FEEDBACK:
            return Pli.parse(body)
        case (_, Fir.FORMAT) if packet_type == PAYLOAD_FEEDBACK:
            return Fir.parse(body)
        case (_, Remb.FORMAT) if packet_type == PAYLOAD_FEEDBACK:
            return Remb.parse(body)
    return None
