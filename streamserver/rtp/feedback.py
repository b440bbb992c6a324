"""What a receiver asks of a sender: NACK, PLI, FIR and REMB.

RFC 4585 (generic NACK, PLI), RFC 5104 (FIR), draft-alvestrand-rmcat-remb (REMB). Transport-wide
feedback has `streamserver.rtp.twcc` to itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtp.reports import rtcp_packet

__all__ = ["PAYLOAD_FEEDBACK", "TRANSPORT_FEEDBACK", "Fir", "Nack", "Pli", "Remb"]

TRANSPORT_FEEDBACK: Final = 205
"""RTCP packet type RTPFB (RFC 4585, section 6.1)."""

PAYLOAD_FEEDBACK: Final = 206
"""RTCP packet type PSFB."""

_SOURCES: Final = Struct("!II")
_PAIR: Final = Struct("!HH")
_FIR_ENTRY: Final = Struct("!IB3x")
_U32: Final = Struct("!I")


def _read_sources(body: bytes, what: str) -> tuple[int, int]:
    """The sender of the feedback, and the source of the media that it is about."""
    if len(body) < _SOURCES.size:
        raise RemoteProtocolError(f"the RTCP {what} ends too early")
    sender, media = _SOURCES.unpack_from(body)
    return sender, media


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """Packets that are missing (RFC 4585, section 6.2.1)."""

    FORMAT = 1

    ssrc: int
    """Who asks."""

    media_ssrc: int
    """The source whose packets are missing."""

    sequences: tuple[int, ...]
    """Their sequence numbers, 16 bits."""

    @classmethod
    def parse(cls, body: bytes) -> "Nack":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        ssrc, media_ssrc = _read_sources(body, "NACK")
        found: list[int] = []
        for at in range(_SOURCES.size, len(body) - 3, 4):
            first, following = _PAIR.unpack_from(body, at)
            found.append(first)
            # Bit i of the mask stands for the packet i + 1 after the first.
            while following:
                lowest = following & -following
                found.append(first + lowest.bit_length() & 0xFFFF)
                following ^= lowest
        return cls(ssrc=ssrc, media_ssrc=media_ssrc, sequences=tuple(found))

    def to_bytes(self) -> bytes:
        """Writes the packet; numbers in ascending order (a wrap included) take the least room."""
        body = _SOURCES.pack(self.ssrc, self.media_ssrc) + b"".join(self._pairs(self.sequences))
        return rtcp_packet(self.FORMAT, TRANSPORT_FEEDBACK, body)

    @staticmethod
    def _pairs(sequences: Iterable[int]) -> Iterable[bytes]:
        first, following = -1, 0
        for sequence in sequences:
            distance = (sequence - first & 0xFFFF) - 1
            if first >= 0 and 0 <= distance < 16:
                following |= 1 << distance
                continue
            if first >= 0:
                yield _PAIR.pack(first, following)
            first, following = sequence & 0xFFFF, 0
        if first >= 0:
            yield _PAIR.pack(first, following)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pli:
    """The picture is lost, a keyframe is needed (RFC 4585, section 6.3.1)."""

    FORMAT = 1

    ssrc: int
    """Who asks."""

    media_ssrc: int
    """The source whose keyframe is asked for."""

    @classmethod
    def parse(cls, body: bytes) -> "Pli":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        ssrc, media_ssrc = _read_sources(body, "PLI")
        return cls(ssrc=ssrc, media_ssrc=media_ssrc)

    def to_bytes(self) -> bytes:
        """Writes the packet."""
        sources = _SOURCES.pack(self.ssrc, self.media_ssrc)
        return rtcp_packet(self.FORMAT, PAYLOAD_FEEDBACK, sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fir:
    """A keyframe is needed, whatever was lost (RFC 5104, section 4.3.1)."""

    FORMAT = 4

    ssrc: int
    """Who asks."""

    entries: tuple[tuple[int, int], ...]
    """Sources, each with the number of the request: a repeated number is a repetition."""

    @classmethod
    def parse(cls, body: bytes) -> "Fir":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`."""
        ssrc, _ = _read_sources(body, "FIR")
        starts = range(_SOURCES.size, len(body) - _FIR_ENTRY.size + 1, _FIR_ENTRY.size)
        entries = (_FIR_ENTRY.unpack_from(body, at) for at in starts)
        return cls(ssrc=ssrc, entries=tuple((source, number) for source, number in entries))

    def to_bytes(self) -> bytes:
        """Writes the packet."""
        entries = b"".join(
            _FIR_ENTRY.pack(source, number & 0xFF) for source, number in self.entries
        )
        body = _SOURCES.pack(self.ssrc, 0) + entries
        return rtcp_packet(self.FORMAT, PAYLOAD_FEEDBACK, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remb:
    """How much a receiver believes that it can take (draft-alvestrand-rmcat-remb-03)."""

    FORMAT = 15

    NAME = b"REMB"
    """Tells it from other feedback of the application layer."""

    ssrc: int
    """Who tells."""

    bit_rate: int
    """Bits per second for all these sources together."""

    ssrcs: tuple[int, ...] = ()
    """The sources that share it."""

    @classmethod
    def parse(cls, body: bytes) -> "Remb | None":
        """Reads what stands behind the RTCP header; None for another application's feedback.

        Raises `RemoteProtocolError`.
        """
        ssrc, _ = _read_sources(body, "REMB")
        if body[8:12] != cls.NAME:
            return None
        if len(body) < 16 or len(body) < 16 + 4 * body[12]:
            raise RemoteProtocolError("the RTCP REMB counts more sources than it has")
        # Six bits of exponent, eighteen of mantissa.
        exponent, mantissa = body[13] >> 2, int.from_bytes(body[13:16], "big") & 0x3FFFF
        ssrcs = tuple(_U32.unpack_from(body, 16 + 4 * at)[0] for at in range(body[12]))
        return cls(ssrc=ssrc, bit_rate=mantissa << exponent, ssrcs=ssrcs)

    def to_bytes(self) -> bytes:
        """Writes the packet; the bit rate keeps its 18 highest bits."""
        if len(self.ssrcs) > 255 or self.bit_rate < 0:
            raise LocalProtocolError("a REMB has no place for these values")
        exponent = min(max(0, self.bit_rate.bit_length() - 18), 63)
        mantissa = min(self.bit_rate >> exponent, 0x3FFFF)
        rate = (exponent << 18 | mantissa).to_bytes(3, "big")
        sources = b"".join(map(_U32.pack, self.ssrcs))
        body = _SOURCES.pack(self.ssrc, 0) + self.NAME + bytes((len(self.ssrcs),)) + rate + sources
        return rtcp_packet(self.FORMAT, PAYLOAD_FEEDBACK, body)
