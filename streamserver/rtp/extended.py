"""Round trips for those who only receive: two blocks of extended reports (RFC 3611).

A receiver sends its clock (section 4.4), the sender answers with it and how long it kept it
(section 4.5); the difference is the round trip.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.rtp.reports import rtcp_packet

__all__ = ["EXTENDED_REPORT", "ExtendedReport", "LastReference", "clock_of", "round_trip_ns"]

EXTENDED_REPORT: Final = 207
"""The packet type (section 2)."""

_REFERENCE_TIME: Final = 4
_LAST_REFERENCES: Final = 5

_U32: Final = Struct("!I")
_HEADER: Final = Struct("!BBH")
_CLOCK: Final = Struct("!Q")
_LAST: Final = Struct("!III")

_NS_PER_S: Final = 1_000_000_000


def clock_of(now_ns: int) -> int:
    """A time as 64 bits of NTP: it need not be the time of day, only run evenly."""
    return (now_ns << 32) // _NS_PER_S & 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReference:
    """What a sender says of the last clock that a receiver sent it."""

    ssrc: int
    """The receiver."""

    clock: int
    """The middle 32 bits of its clock; 0 when none came."""

    delay: int
    """How long ago that came, in 1/65536 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedReport:
    """One packet, as far as it is about round trips."""

    ssrc: int
    """Who tells."""

    clock: int | None = None
    """Its clock, see `clock_of`; None where it sends none."""

    last: tuple[LastReference, ...] = ()
    """The clocks that it was sent."""

    @classmethod
    def parse(cls, body: bytes) -> "ExtendedReport":
        """Reads what stands behind the RTCP header; other blocks are left out.

        Raises `RemoteProtocolError`.
        """
        if len(body) < 4:
            raise RemoteProtocolError("the RTCP extended report ends too early")
        clock: int | None = None
        last: list[LastReference] = []
        at = 4
        while at + 4 <= len(body):
            kind, _, words = _HEADER.unpack_from(body, at)
            start, at = at + 4, at + 4 + 4 * words
            if at > len(body):
                raise RemoteProtocolError("a block of the RTCP extended report is too long")
            if kind == _REFERENCE_TIME and words == 2:
                clock = _CLOCK.unpack_from(body, start)[0]
            elif kind == _LAST_REFERENCES and words % 3 == 0:
                for sub in range(start, at, _LAST.size):
                    ssrc, reference, delay = _LAST.unpack_from(body, sub)
                    last.append(LastReference(ssrc=ssrc, clock=reference, delay=delay))
        return cls(ssrc=_U32.unpack_from(body)[0], clock=clock, last=tuple(last))

    def to_bytes(self) -> bytes:
        """Writes the packet."""
        body = _U32.pack(self.ssrc)
        if self.clock is not None:
            body += _HEADER.pack(_REFERENCE_TIME, 0, 2) + _CLOCK.pack(self.clock)
        if self.last:
            body += _HEADER.pack(_LAST_REFERENCES, 0, 3 * len(self.last))
            body += b"".join(_LAST.pack(one.ssrc, one.clock, one.delay) for one in self.last)
        return rtcp_packet(0, EXTENDED_REPORT, body)


def round_trip_ns(last: LastReference, now_ns: int) -> int | None:
    """The round trip that an answer to `clock_of` tells (section 4.5); None when it makes none."""
    if not last.clock:
        return None
    ticks = (clock_of(now_ns) >> 16) - last.clock - last.delay & 0xFFFF_FFFF
    # Half of the range lies before now: clocks that were never ours, or grains of rounding.
    if ticks >= 1 << 31:
        return None
    return ticks * _NS_PER_S >> 16
