"""RTMP chunks that are the same for every viewer.

That needs three things to be fixed: the chunk size, the message stream (1, as in every player that
was met), and times that are absolute, so that no message depends on what a viewer got before.
"""

from struct import Struct
from typing import Final

from streamserver.feeds.body import Header
from streamserver.rtmp.channel import CSID_CONTROL
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.message import AMF0_DATA, AUDIO, VIDEO, Message, set_chunk_size

__all__ = ["WIRE_STREAM", "WireFormat", "with_stream_id"]

WIRE_STREAM: Final = 1
"""The message stream that stands in the bytes."""

_CSID: Final = {AUDIO: 4, VIDEO: 6, AMF0_DATA: 5}
"""Chunk streams by custom; a track of its own for each kind."""

_TYPE_0: Final = Struct(">III").pack
"""Format 0 and chunk stream, time, length, type, and the message stream, which is little-endian."""

_STREAM_LE: Final = WIRE_STREAM << 24
_EXTENDED: Final = 0xFFFFFF
"""From here on a time does not fit its 24 bits (5.3.1.3)."""

_MASK: Final = 0xFFFFFFFF
_STREAM_ID: Final = slice(8, 12)
"""Where it stands in a type 0 header (RTMP 5.3.1.2.1): after time, length and type."""


class WireFormat:
    """Messages of message stream 1 in chunks of one size, each with a type 0 header.

    Times count modulo 2^32 milliseconds (RTMP 5.3.1: they roll over after 49 days). From 4 h 39 min
    on they are extended, and repeated in each type 3 header of the message (5.3.1.3).
    """

    def __init__(self, chunk_size: int) -> None:
        self._encoder = ChunkEncoder()
        self._encoder.encode(set_chunk_size(chunk_size), CSID_CONTROL)
        self._chunk_size = chunk_size

    def frame(self, kind: int, time_ms: int, head: bytes, data: bytes) -> tuple[bytes, ...]:
        """The chunks of one message."""
        size = len(head) + len(data)
        if size <= self._chunk_size and 0 <= time_ms < _EXTENDED:
            # Most messages are one chunk: what the encoder would make of it (5.3.1.2.1).
            return (
                _TYPE_0(_CSID[kind] << 24 | time_ms, size << 8 | kind, _STREAM_LE) + head,
                data,
            )
        message = Message(kind, time_ms & _MASK, WIRE_STREAM, head + data)
        return (self._encoder.encode(message, _CSID[kind]),)

    def greeting(self, header: Header) -> bytes:
        """Nothing: the session has said all."""
        return b""


def with_stream_id(chunks: bytes, stream_id: int) -> bytes:
    """The same message on another message stream: only the first header names it."""
    start, stop = _STREAM_ID.start, _STREAM_ID.stop
    return chunks[:start] + stream_id.to_bytes(4, "little") + chunks[stop:]
