"""What senders and receivers tell about themselves: SR, RR, SDES and BYE (RFC 3550, section 6)."""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "Bye",
    "ReceiverReport",
    "ReportBlock",
    "SenderReport",
    "SourceDescription",
    "rtcp_packet",
]

_HEADER: Final = Struct("!BBH")
_SENDER: Final = Struct("!IQIII")
_BLOCK: Final = Struct("!IB3sIIII")
_U32: Final = Struct("!I")

_MAX_COUNT: Final = 31
"""The count in an RTCP header has five bits."""

_CNAME: Final = 1
"""SDES item: the name that binds the sources of one peer."""


def rtcp_packet(count: int, packet_type: int, body: bytes) -> bytes:
    """One RTCP packet around a body, which is filled up to whole words."""
    if not 0 <= count <= _MAX_COUNT:
        raise LocalProtocolError("an RTCP packet counts at most 31 things")
    body += bytes(-len(body) % 4)
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """How one source arrives (section 6.4.1)."""

    ssrc: int
    """The source that is spoken of."""

    fraction_lost: int
    """Packets lost since the last report, in 1/256 of those that were expected."""

    lost: int
    """Packets lost since the start; negative where duplicates came. 24 bits, signed."""

    highest_sequence: int
    """The highest sequence number, roll-overs counted in the upper 16 of 32 bits."""

    jitter: int
    """Variation of the transit time, in ticks of the source's clock."""

    last_sr: int = 0
    """The middle 32 bits of the NTP time in the last sender report; 0 when there was none."""

    delay_since_last_sr: int = 0
    """Time since that report came, in 1/65536 s."""

    def to_bytes(self) -> bytes:
        """Writes the block; a loss beyond 24 bits is cut to the largest that can be told."""
        lost = max(-0x80_0000, min(self.lost, 0x7F_FFFF))
        return _BLOCK.pack(
            self.ssrc, self.fraction_lost, lost.to_bytes(3, "big", signed=True),
            self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr,
        )  # fmt: skip


def _read_blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    if start + count * _BLOCK.size > len(body):
        raise RemoteProtocolError("the RTCP report counts more blocks than it has")
    blocks = []
    for at in range(start, start + count * _BLOCK.size, _BLOCK.size):
        ssrc, fraction, lost, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, at)
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=fraction,
                lost=int.from_bytes(lost, "big", signed=True),
                highest_sequence=highest,
                jitter=jitter,
                last_sr=last_sr,
                delay_since_last_sr=delay,
            )
        )
    return tuple(blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """What a source has sent, and which wall clock its time stamps follow (section 6.4.1)."""

    PACKET_TYPE = 200

    ssrc: int
    """The source."""

    ntp: int
    """Its wall clock: seconds since 1900 in the upper 32 bits, fractions below."""

    rtp_time: int
    """The same moment in its RTP time stamps."""

    packets: int
    """Packets sent since the start, 32 bits."""

    octets: int
    """Bytes of payload sent since the start, 32 bits."""

    blocks: tuple[ReportBlock, ...] = ()
    """How what it receives arrives there."""

    @property
    def middle_ntp(self) -> int:
        """The 32 bits of ``ntp`` that a receiver report sends back."""
        return self.ntp >> 16 & 0xFFFF_FFFF

    @classmethod
    def parse(cls, count: int, body: bytes) -> "SenderReport":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        if len(body) < _SENDER.size:
            raise RemoteProtocolError("the RTCP sender report ends too early")
        ssrc, ntp, rtp_time, packets, octets = _SENDER.unpack_from(body)
        blocks = _read_blocks(body, _SENDER.size, count)
        return cls(
            ssrc=ssrc, ntp=ntp, rtp_time=rtp_time, packets=packets, octets=octets, blocks=blocks
        )

    def to_bytes(self) -> bytes:
        """Writes the packet."""
        counts = (self.packets & 0xFFFF_FFFF, self.octets & 0xFFFF_FFFF)
        fixed = _SENDER.pack(self.ssrc, self.ntp, self.rtp_time & 0xFFFF_FFFF, *counts)
        blocks = b"".join(block.to_bytes() for block in self.blocks)
        return rtcp_packet(len(self.blocks), self.PACKET_TYPE, fixed + blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """How what somebody receives arrives there (section 6.4.2)."""

    PACKET_TYPE = 201

    ssrc: int
    """Who tells."""

    blocks: tuple[ReportBlock, ...] = ()
    """One for each source."""

    @classmethod
    def parse(cls, count: int, body: bytes) -> "ReceiverReport":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        if len(body) < 4:
            raise RemoteProtocolError("the RTCP receiver report ends too early")
        return cls(ssrc=_U32.unpack_from(body)[0], blocks=_read_blocks(body, 4, count))

    def to_bytes(self) -> bytes:
        """Writes the packet."""
        blocks = b"".join(block.to_bytes() for block in self.blocks)
        return rtcp_packet(len(self.blocks), self.PACKET_TYPE, _U32.pack(self.ssrc) + blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """Names of sources (section 6.5); of all that could be told only CNAME is kept."""

    PACKET_TYPE = 202

    cnames: tuple[tuple[int, str], ...]
    """Source and CNAME; sources with the same CNAME share a clock."""

    @classmethod
    def parse(cls, count: int, body: bytes) -> "SourceDescription":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        found: list[tuple[int, str]] = []
        at = 0
        for _ in range(count):
            if at + 4 > len(body):
                raise RemoteProtocolError("the RTCP source description ends too early")
            ssrc = _U32.unpack_from(body, at)[0]
            at += 4
            while True:
                if at >= len(body):
                    raise RemoteProtocolError("the RTCP source description ends too early")
                item = body[at]
                if item == 0:  # the list ends; the next chunk begins at a whole word
                    at += 4 - at % 4
                    break
                if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                    raise RemoteProtocolError("the RTCP source description ends too early")
                text = body[at + 2 : at + 2 + body[at + 1]]
                if item == _CNAME:
                    found.append((ssrc, text.decode("utf-8", "replace")))
                at += 2 + len(text)
        return cls(cnames=tuple(found))

    def to_bytes(self) -> bytes:
        """Writes the packet. Raises `LocalProtocolError` for a name of more than 255 bytes."""
        return rtcp_packet(len(self.cnames), self.PACKET_TYPE, b"".join(self._chunks()))

    def _chunks(self) -> Iterable[bytes]:
        for ssrc, cname in self.cnames:
            text = cname.encode()
            if len(text) > 255:
                raise LocalProtocolError("a CNAME has at most 255 bytes")
            chunk = _U32.pack(ssrc) + bytes((_CNAME, len(text))) + text
            # At least one zero ends the list of items, and it ends at a whole word.
            yield chunk + bytes(4 - len(chunk) % 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Sources that send no more (section 6.6)."""

    PACKET_TYPE = 203

    ssrcs: tuple[int, ...]
    """The sources."""

    reason: str = ""
    """Why, for people."""

    @classmethod
    def parse(cls, count: int, body: bytes) -> "Bye":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        end = 4 * count
        if end > len(body):
            raise RemoteProtocolError("the RTCP BYE counts more sources than it has")
        ssrcs = tuple(_U32.unpack_from(body, at)[0] for at in range(0, end, 4))
        reason = b""
        if end < len(body):
            reason = body[end + 1 : end + 1 + body[end]]
            if len(reason) < body[end]:
                raise RemoteProtocolError("the RTCP BYE ends within its reason")
        return cls(ssrcs=ssrcs, reason=reason.decode("utf-8", "replace"))

    def to_bytes(self) -> bytes:
        """Writes the packet; a long reason is cut."""
        body = b"".join(map(_U32.pack, self.ssrcs))
        if self.reason:
            text = self.reason.encode()[:255]
            body += bytes((len(text),)) + text
        return rtcp_packet(len(self.ssrcs), self.PACKET_TYPE, body)
