"""One RTP packet (RFC 3550, section 5.1) and its header extensions (RFC 8285).

Every count and length in a packet is the peer's word; each is held against the bytes there are.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from streamserver.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["HEADER_BYTES", "RtpPacket", "build_packet", "parse_packet"]

HEADER_BYTES: Final = 12
"""Length of the fixed header: a packet without contributors and extensions."""

_FIXED: Final = Struct("!BBHII")
_EXTENSION: Final = Struct("!HH")
_U32: Final = Struct("!I")

_unpack_fixed: Final = _FIXED.unpack_from
_unpack_extension: Final = _EXTENSION.unpack_from

_ONE_BYTE: Final = 0xBEDE
"""RFC 8285, section 4.2: elements with a header of one byte."""

_TWO_BYTES: Final = 0x1000
"""RFC 8285, section 4.3: elements with a header of two bytes; the lower four bits are free."""

_NOTHING: Final[Mapping[int, bytes]] = MappingProxyType({})


class RtpPacket(NamedTuple):
    """A packet, taken apart. A tuple, since there are hundreds of them in a second."""

    payload_type: int
    """Which codec, by the numbers of the negotiation; 0 to 127."""

    marker: bool
    """For video the end of a picture, for audio the start of a talk spurt."""

    sequence: int
    """Counts packets of this source, 16 bits."""

    timestamp: int
    """Sampling time in the clock of the codec, 32 bits."""

    ssrc: int
    """The source."""

    payload: bytes
    """What the codec's payload format describes; without padding, may be empty."""

    extensions: Mapping[int, bytes] = _NOTHING
    """Header extensions by the numbers of the negotiation."""

    csrcs: tuple[int, ...] = ()
    """Sources that were mixed into this one."""

    padding: int = 0
    """Bytes of padding that were taken off, their count included."""


_new: Final = tuple.__new__
"""Makes a named tuple in half the time."""


def parse_packet(data: bytes) -> RtpPacket:
    """Takes a packet apart. Raises `RemoteProtocolError` where a length in it is a lie."""
    size = len(data)
    if size < HEADER_BYTES:
        raise RemoteProtocolError("the RTP packet is shorter than its header")
    first, second, sequence, timestamp, ssrc = _unpack_fixed(data)
    if first & 0xC0 != 0x80:
        raise RemoteProtocolError("the RTP packet has another version than 2")
    start = HEADER_BYTES
    csrcs: tuple[int, ...] = ()
    if first & 0x0F:
        start += 4 * (first & 0x0F)
        if start > size:
            raise RemoteProtocolError("the RTP packet ends within its list of contributors")
        csrcs = tuple(_U32.unpack_from(data, at)[0] for at in range(HEADER_BYTES, start, 4))
    extensions = _NOTHING
    if first & 0x10:
        # RFC 3550, section 5.3.1: a profile, and a length in words of four bytes.
        if start + 4 > size:
            raise RemoteProtocolError("the RTP packet ends within its extension")
        profile, words = _unpack_extension(data, start)
        block = start + 4
        start = block + 4 * words
        if start > size:
            raise RemoteProtocolError("the RTP packet ends within its extension")
        if profile == _ONE_BYTE:
            extensions = _read_one_byte(data, block, start)
        elif profile & 0xFFF0 == _TWO_BYTES:
            extensions = _read_two_bytes(data, block, start)
    end, padding = size, 0
    if first & 0x20:
        # The last byte counts the padding, itself included.
        padding = data[-1]
        end -= padding
        if not padding or end < start:
            raise RemoteProtocolError("the RTP packet has more padding than payload")
    return _new(
        RtpPacket,
        (
            second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[start:end],
            extensions, csrcs, padding,
        ),
    )  # fmt: skip


def _read_one_byte(data: bytes, at: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at < end:
        header = data[at]
        at += 1
        number = header >> 4
        # RFC 8285, section 4.2: 0 is padding of one byte, 15 ends the list.
        if number == 0:
            continue
        if number == 15:
            break
        stop = at + (header & 0x0F) + 1
        if stop > end:
            raise RemoteProtocolError("an RTP header extension is longer than its block")
        found[number] = data[at:stop]
        at = stop
    return found


def _read_two_bytes(data: bytes, at: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at < end:
        number = data[at]
        at += 1
        if number == 0:
            continue
        if at >= end:
            raise RemoteProtocolError("an RTP header extension is longer than its block")
        stop = at + 1 + data[at]
        if stop > end:
            raise RemoteProtocolError("an RTP header extension is longer than its block")
        found[number] = data[at + 1 : stop]
        at = stop
    return found


def build_packet(
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    marker: bool = False,
    extensions: Mapping[int, bytes] | None = None,
    csrcs: Sequence[int] = (),
    padding: int = 0,
) -> bytes:
    """Writes a packet; header extensions in the short form where they fit.

    Sequence and timestamp are cut to their 16 and 32 bits. Raises `LocalProtocolError` for what
    has no place in a packet.
    """
    if not 0 <= payload_type <= 127 or len(csrcs) > 15 or not 0 <= padding <= 255:
        raise LocalProtocolError("an RTP packet has no place for these values")
    first = 0x80 | len(csrcs) | (0x10 if extensions else 0) | (0x20 if padding else 0)
    second = payload_type | (0x80 if marker else 0)
    parts = [_FIXED.pack(first, second, sequence & 0xFFFF, timestamp & 0xFFFF_FFFF, ssrc)]
    parts += [_U32.pack(csrc) for csrc in csrcs]
    if extensions:
        parts.append(_write_extensions(extensions))
    parts.append(payload)
    if padding:
        parts.append(bytes(padding - 1) + bytes((padding,)))
    return b"".join(parts)


def _write_extensions(extensions: Mapping[int, bytes]) -> bytes:
    short = all(number < 15 and 1 <= len(value) <= 16 for number, value in extensions.items())
    if any(not 1 <= number <= 255 or len(value) > 255 for number, value in extensions.items()):
        raise LocalProtocolError("an RTP header extension has no place for these values")
    if short:
        elements = (
            bytes((number << 4 | len(value) - 1,)) + value for number, value in extensions.items()
        )
    else:
        elements = (bytes((number, len(value))) + value for number, value in extensions.items())
    block = b"".join(elements)
    block += bytes(-len(block) % 4)
    return _EXTENSION.pack(_ONE_BYTE if short else _TWO_BYTES, len(block) // 4) + block
