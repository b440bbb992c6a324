"""Transport-wide feedback: when each packet came, so that the sender can steer its bit rate.

Source: draft-holmer-rmcat-transport-wide-cc-extensions-01. Packets carry a number in a header
extension, counted over all sources of a transport; the receiver tells which came, and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtp.feedback import TRANSPORT_FEEDBACK
from streamserver.rtp.reports import rtcp_packet

__all__ = ["DELTA_NS", "REFERENCE_NS", "TransportFeedback"]

DELTA_NS: Final = 250_000
"""Nanoseconds in one step of an arrival time."""

REFERENCE_NS: Final = 64_000_000
"""Nanoseconds in one step of the reference time."""

_STEPS: Final = REFERENCE_NS // DELTA_NS
_FIXED: Final = Struct("!IIHHI")
_U16: Final = Struct("!H")
_I16: Final = Struct("!h")

_LOST, _SMALL, _LARGE = 0, 1, 2
"""Packet status symbols (section 3.1.1): none, a delta of one byte, one of two with a sign."""

_MAX_RUN: Final = 8191
"""A run-length chunk counts with 13 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFeedback:
    """Which packets came from the first number on, and when (section 3.1)."""

    FORMAT = 15

    ssrc: int
    """Who tells."""

    media_ssrc: int
    """Any source of the transport."""

    base_sequence: int
    """The transport-wide number of the first packet that is spoken of, 16 bits."""

    count: int
    """How many packets are spoken of; those without an arrival are missing."""

    reference_time: int
    """To what the arrivals are added, in 64 ms; 24 bits, signed."""

    feedback_count: int
    """Counts these reports, 8 bits, so that their loss is seen."""

    arrivals: tuple[tuple[int, int], ...]
    """Packets that came: distance to ``base_sequence``, ascending, and time since the reference in
    250 microseconds."""

    @property
    def sequences(self) -> dict[int, int]:
        """Arrivals by transport-wide number, in nanoseconds on the receiver's clock."""
        reference = self.reference_time * REFERENCE_NS
        return {
            self.base_sequence + offset & 0xFFFF: reference + steps * DELTA_NS
            for offset, steps in self.arrivals
        }

    @classmethod
    def parse(cls, body: bytes) -> "TransportFeedback":
        """Reads what stands behind the RTCP header. Raises `RemoteProtocolError`.

        A few bytes can speak of 65,535 lost packets: only those that came take room.
        """
        if len(body) < _FIXED.size:
            raise RemoteProtocolError("the transport-wide feedback ends too early")
        ssrc, media_ssrc, base, count, last = _FIXED.unpack_from(body)
        received, at = _read_statuses(body, count)
        arrivals = []
        steps = 0
        for offset, symbol in received:
            if at + symbol > len(body):
                raise RemoteProtocolError("the transport-wide feedback ends within its times")
            steps += body[at] if symbol == _SMALL else _I16.unpack_from(body, at)[0]
            at += symbol
            arrivals.append((offset, steps))
        reference = last >> 8
        return cls(
            ssrc=ssrc,
            media_ssrc=media_ssrc,
            base_sequence=base,
            count=count,
            reference_time=reference - (1 << 24) if reference >> 23 else reference,
            feedback_count=last & 0xFF,
            arrivals=tuple(arrivals),
        )

    def to_bytes(self) -> bytes:
        """Writes the packet. Raises `LocalProtocolError` when an arrival has no place in it."""
        symbols = [_LOST] * self.count
        deltas = []
        before, previous = 0, -1
        for offset, steps in self.arrivals:
            delta = steps - before
            if not previous < offset < self.count or not -0x8000 <= delta <= 0x7FFF:
                raise LocalProtocolError("transport-wide feedback has no place for this arrival")
            small = 0 <= delta <= 255
            symbols[offset] = _SMALL if small else _LARGE
            deltas.append(bytes((delta,)) if small else _I16.pack(delta))
            before, previous = steps, offset
        last = (self.reference_time & 0xFF_FFFF) << 8 | self.feedback_count & 0xFF
        base = self.base_sequence & 0xFFFF
        fixed = _FIXED.pack(self.ssrc, self.media_ssrc, base, self.count, last)
        body = fixed + _write_statuses(symbols) + b"".join(deltas)
        return rtcp_packet(self.FORMAT, TRANSPORT_FEEDBACK, body)


def _read_statuses(body: bytes, count: int) -> tuple[list[tuple[int, int]], int]:
    """The packets that came, with their symbols, and where their times begin."""
    received: list[tuple[int, int]] = []
    offset, at, room = 0, _FIXED.size, len(body)
    while offset < count:
        if at + 2 > room:
            raise RemoteProtocolError("the transport-wide feedback ends within its statuses")
        chunk = _U16.unpack_from(body, at)[0]
        at += 2
        if not chunk & 0x8000:  # section 3.1.3: one symbol, repeated
            symbol, run = chunk >> 13 & 3, min(chunk & 0x1FFF, count - offset)
            if symbol:
                if len(received) + run > room:
                    raise RemoteProtocolError("the transport-wide feedback lacks times")
                received += [(number, symbol) for number in range(offset, offset + run)]
            if not run:
                raise RemoteProtocolError("the transport-wide feedback has an empty run")
        else:  # section 3.1.4: seven symbols of two bits, or fourteen of one
            bits, run = (2, 7) if chunk & 0x4000 else (1, 14)
            mask = (1 << bits) - 1
            run = min(run, count - offset)
            for place in range(run):
                symbol = chunk >> 14 - bits * (place + 1) & mask
                if symbol:
                    received.append((offset + place, symbol))
        offset += run
    if any(symbol > _LARGE for _, symbol in received):
        raise RemoteProtocolError("the transport-wide feedback has a reserved status")
    return received, at


def _write_statuses(symbols: Sequence[int]) -> bytes:
    """Chunks for the symbols: a run where seven or more are equal, vectors otherwise."""
    chunks = []
    at, end = 0, len(symbols)
    while at < end:
        symbol, length = symbols[at], _equal_from(symbols, at)
        if length >= 7 or at + length == end:
            chunks.append(_U16.pack(symbol << 13 | length))
            at += length
            continue
        vector = symbols[at : at + 14]
        bits = 1
        if _LARGE in vector:
            vector, bits = vector[:7], 2
        value = 0xC000 if bits == 2 else 0x8000
        for place, each in enumerate(vector):
            value |= each << 14 - bits * (place + 1)
        chunks.append(_U16.pack(value))
        at += len(vector)
    return b"".join(chunks)


def _equal_from(symbols: Sequence[int], at: int) -> int:
    """How many equal symbols begin here; of many, as many as a run can hold."""
    end, last = at, min(len(symbols), at + _MAX_RUN)
    while end < last and symbols[end] == symbols[at]:
        end += 1
    return end - at
