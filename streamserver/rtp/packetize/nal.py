"""NAL units in RTP: what H.264 (RFC 6184) and H.265 (RFC 7798) have in common.

A unit that fits goes as it is, several small ones are aggregated, and one that is too large is
cut into fragments, each but the last of full size.
"""

from collections.abc import Iterator
from typing import Protocol

from streamserver.media.errors import DamagedFrameError
from streamserver.media.nal import MAX_NALS, unpack_u32
from streamserver.media.packet import Packet
from streamserver.rtp.packetize.base import MAX_PAYLOAD

__all__ = ["NalForm", "NalPacketizer"]


class NalForm(Protocol):
    """How one codec writes its payloads."""

    header_bytes: int
    """Bytes of a NAL unit header; an aggregation has one of the same length."""

    fragment_bytes: int
    """Bytes before the data of a fragment."""

    def carries(self, first: int) -> bool:
        """Whether a unit with this first byte is sent at all."""

    def aggregation_header(self, nals: list[bytes]) -> bytes:
        """What stands before units in one payload."""

    def fragment_heads(self, nal: bytes) -> tuple[bytes, bytes, bytes]:
        """What stands before the first, a middle and the last fragment of a unit."""


class NalPacketizer:
    """Cuts length-prefixed access units. Parameter sets go before every keyframe."""

    def __init__(self, form: NalForm, sets: list[bytes]) -> None:
        """``sets`` are the parameter sets, which packets do not hold."""
        self._form = form
        self._sets = sets

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payloads of one access unit. Raises `DamagedFrameError`."""
        form = self._form
        carries = form.carries
        payloads: list[bytes] = []
        small: list[bytes] = []
        # An aggregation holds each unit behind 16 bits of length.
        room = MAX_PAYLOAD - form.header_bytes
        for nal in self._units(packet):
            size = len(nal)
            if not carries(nal[0]):
                continue
            if small and (size + 2 > room or size > MAX_PAYLOAD):
                payloads.append(self._aggregate(small))
                small, room = [], MAX_PAYLOAD - form.header_bytes
            if size > MAX_PAYLOAD:
                payloads += self._fragment(nal)
            else:
                small.append(nal)
                room -= size + 2
        if small:
            payloads.append(self._aggregate(small))
        return payloads

    def _units(self, packet: Packet) -> Iterator[bytes]:
        data = packet.data
        units = _split(data, self._form.header_bytes)
        if not packet.keyframe:
            return units
        return iter([*self._sets, *units])

    def _aggregate(self, nals: list[bytes]) -> bytes:
        if len(nals) == 1:
            return nals[0]
        parts = [self._form.aggregation_header(nals)]
        for nal in nals:
            parts += (len(nal).to_bytes(2), nal)
        return b"".join(parts)

    def _fragment(self, nal: bytes) -> list[bytes]:
        form = self._form
        first, middle, last = form.fragment_heads(nal)
        size = MAX_PAYLOAD - form.fragment_bytes
        # The unit's own header is told by the fragments' heads (RFC 6184 5.8, RFC 7798 4.4.3).
        starts = range(form.header_bytes, len(nal), size)
        payloads = [middle + nal[at : at + size] for at in starts]
        payloads[0] = first + payloads[0][len(middle) :]
        payloads[-1] = last + payloads[-1][len(middle) :]
        return payloads


def _split(data: bytes, header_bytes: int) -> Iterator[bytes]:
    position, end = 0, len(data)
    for _ in range(MAX_NALS):
        if position + 4 > end:
            break
        start = position + 4
        position = start + unpack_u32(data, position)[0]
        if position > end:
            break
        if position - start > header_bytes:
            yield data[start:position]
    if position != end:
        raise DamagedFrameError("lengths of NAL units do not add up to the access unit")
