"""AV1 in RTP: the RTP Payload Format For AV1 of the Alliance for Open Media."""

from typing import Final

from streamserver.media.av1 import (
    OBU_PADDING,
    OBU_SEQUENCE_HEADER,
    OBU_TEMPORAL_DELIMITER,
    Obu,
    sequence_header_of,
    split_obus,
)
from streamserver.media.packet import Packet
from streamserver.media.track import Track
from streamserver.rtp.packetize.base import MAX_PAYLOAD

__all__ = ["Av1Packetizer"]

_TILE_LIST: Final = 8
_LEFT_OUT: Final = frozenset((OBU_TEMPORAL_DELIMITER, _TILE_LIST, OBU_PADDING))
"""Section 5: these should not be sent."""

_CONTINUES: Final = 0x80
_CONTINUED: Final = 0x40
_NEW_SEQUENCE: Final = 0x08
"""Section 4.4, the aggregation header: Z, Y and N."""

_COUNTED: Final = 3
"""W can count so many elements; with it the last one needs no length."""


class Av1Packetizer:
    """Cuts temporal units. The sequence header goes before every keyframe that has none."""

    def __init__(self, track: Track) -> None:
        """``track`` has av1C, or nothing where the units hold their sequence headers."""
        found = sequence_header_of(track.config[4:])
        self._sequence_header = b"" if found is None else _element(found, next(split_obus(found)))

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payloads of one temporal unit. Raises `DamagedFrameError`."""
        data = packet.data
        obus = [obu for obu in split_obus(data) if obu.kind not in _LEFT_OUT]
        elements = [_element(data, obu) for obu in obus]
        told = any(obu.kind == OBU_SEQUENCE_HEADER for obu in obus)
        if packet.keyframe and self._sequence_header and not told:
            elements.insert(0, self._sequence_header)
        return _fill(elements, new_sequence=packet.keyframe)


def _element(data: bytes, obu: Obu) -> bytes:
    """An OBU without its size (section 4.5: obu_has_size_field should be 0)."""
    header = data[obu.start]
    if not header & 0x02:
        return data[obu.start : obu.end]
    extension = data[obu.start + 1 : obu.start + 2] if header & 0x04 else b""
    return bytes((header & ~0x02,)) + extension + data[obu.payload : obu.end]


def _fill(elements: list[bytes], *, new_sequence: bool) -> list[bytes]:
    """Payloads that are filled one after the other, so that all but the last are full."""
    payloads: list[bytes] = []
    pieces: list[bytes] = []
    room = MAX_PAYLOAD - 1
    flags = _NEW_SEQUENCE if new_sequence else 0
    for element in elements:
        at = 0
        while at < len(element):
            # Every piece may need its length written before it: two bytes up to 16383.
            if room < 4:
                payloads.append(_payload(pieces, flags | (_CONTINUED if at else 0)))
                flags = _CONTINUES if at else 0
                pieces, room = [], MAX_PAYLOAD - 1
            # Alone in its packet an element is counted by W and has no length.
            size = room if not pieces else room - 2
            piece = element[at : at + size]
            at += len(piece)
            pieces.append(piece)
            room = 0 if at < len(element) else room - len(piece) - 2
    if pieces:
        payloads.append(_payload(pieces, flags))
    return payloads


def _payload(pieces: list[bytes], flags: int) -> bytes:
    count = len(pieces)
    # Section 4.4: W of 0 means that every element has its length before it.
    counted = count <= _COUNTED
    parts = [bytes((flags | (count << 4 if counted else 0),))]
    for index, piece in enumerate(pieces, 1):
        if not counted or index < count:
            parts.append(_leb128(len(piece)))
        parts.append(piece)
    return b"".join(parts)


def _leb128(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes((low | 0x80, high)) if high else bytes((low,))
