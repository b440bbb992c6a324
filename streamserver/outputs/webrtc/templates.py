"""The plain text of an item's packets, as viewers of one class get it.

Viewers with the same payload type, source and length of tag differ in their keys and in their
sequence numbers only, so their packets are laid out once: behind each the room for its tag. The
numbers of those for whom frames were left out are put in afterwards.
"""

from struct import Struct
from typing import Final, NamedTuple

from streamserver.errors import LocalProtocolError
from streamserver.feeds.rtp.items import RtpItem

__all__ = ["ClassKey", "Template", "make_template"]

_pack_header: Final = Struct("!BBHII").pack
_pack_u16: Final = Struct("!H").pack_into
_HEADER: Final = 12
_SEQUENCE: Final = 2
"""Where it stands in a header."""

_VERSION_2: Final = 0x80
_MARKER: Final = 0x80

MAX_RUN: Final = 48
"""Segments in one call: the kernel takes 64 (UDP_MAX_SEGMENTS), and 64 KB in all."""


class ClassKey(NamedTuple):
    """What tells the packets of one viewer from those of another, before encryption."""

    payload_type: int
    """The number of the codec in its negotiation."""

    ssrc: int
    """The source."""

    overhead: int
    """Room that protecting needs behind each packet."""


class Template(NamedTuple):
    """Packets laid out for a class of viewers."""

    data: bytes
    """The packets, each with room behind it."""

    lengths: tuple[int, ...]
    """The plain length of each packet."""

    runs: tuple[tuple[memoryview, int], ...]
    """Pieces of the arena that go out by one call each, and the size of their segments."""

    sequences: tuple[int, ...]
    """Where the sequence number of each packet stands."""

    first: int
    """The sequence number of the first packet, 16 bits."""

    def renumber(self, arena: memoryview, first: int) -> None:
        """Writes other sequence numbers into the copy that lies at the arena's start."""
        for at in self.sequences:
            _pack_u16(arena, at, first & 0xFFFF)
            first += 1


def make_template(item: RtpItem, key: ClassKey, timestamp_base: int, arena: memoryview) -> Template:
    """Lays out an item. Raises `LocalProtocolError` when the arena has no room for it."""
    payload_type, ssrc, overhead = key
    payloads = item.payloads
    size = item.size + (_HEADER + overhead) * len(payloads)
    if size > len(arena):
        raise LocalProtocolError(f"{len(payloads)} packets of {size} bytes exceed the arena")
    room = bytes(overhead)
    timestamp = item.timestamp + timestamp_base & 0xFFFF_FFFF
    parts: list[bytes] = []
    spans: list[tuple[int, int]] = []
    position, last = 0, len(payloads) - 1
    # The marker ends a picture (RFC 6184 5.1 and the others); sound has none (RFC 7587 4.1).
    marked = last if item.ends and item.is_video else -1
    for index, payload in enumerate(payloads):
        second = payload_type | _MARKER if index == marked else payload_type
        header = _pack_header(_VERSION_2, second, item.first + index & 0xFFFF, timestamp, ssrc)
        parts += (header, payload, room)
        length = _HEADER + len(payload)
        spans.append((position, length))
        position += length + overhead
    runs = _runs(spans, overhead, arena)
    lengths = tuple(length for _, length in spans)
    sequences = tuple(start + _SEQUENCE for start, _ in spans)
    return Template(b"".join(parts), lengths, runs, sequences, item.first & 0xFFFF)


def _runs(
    spans: list[tuple[int, int]], overhead: int, arena: memoryview
) -> tuple[tuple[memoryview, int], ...]:
    """Packets of one size, of which the last may be shorter, go out together."""
    runs = []
    begin, count = 0, len(spans)
    while begin < count:
        start, length = spans[begin]
        end = begin + 1
        while end < count and end - begin < MAX_RUN and spans[end][1] == length:
            end += 1
        if end < count and end - begin < MAX_RUN and spans[end][1] < length:
            end += 1
        last_start, last_length = spans[end - 1]
        runs.append((arena[start : last_start + last_length + overhead], length + overhead))
        begin = end
    return tuple(runs)
