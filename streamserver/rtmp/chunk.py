"""Reading the chunk layer: messages cut into chunks of several interleaved streams (Adobe RTMP 1.0,
5.3). `streamserver.rtmp.chunk_encoder` writes it.

Reading is tolerant where real encoders differ from the text and each tolerance is named below.
Chunks of one message that arrived together are undone by slices, however small they are.
"""

from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.message import (
    ABORT,
    AMF0_COMMAND,
    AMF3_COMMAND,
    SET_CHUNK_SIZE,
    Message,
    read_u32,
)
from streamserver.rtmp.message_limits import MessageLimits

__all__ = [
    "DEFAULT_CHUNK_SIZE",
    "MAX_CHUNK_STREAMS",
    "ChunkDecoder",
]

DEFAULT_CHUNK_SIZE: Final = 128
"""Chunk size in both directions until SetChunkSize says otherwise (5.4.1)."""

MAX_CHUNK_STREAMS: Final = 64
"""Chunk streams that one connection may use; encoders use up to eight."""

_MAX_CHUNK_SIZE: Final = 0xFFFFFF
_EXTENDED: Final = 0xFFFFFF
_MASK: Final = 0xFFFFFFFF
_HEADER_BYTES: Final = (11, 7, 3)
_INCOMPLETE: Final = -1
_NO_MARKER: Final = b""
_U32: Final = Struct(">I").unpack_from
_THREE_U32: Final = Struct(">III").unpack_from
_SHORTEST_RUN: Final = 8
_LONGEST_RUN: Final = 1 << 20
_TYPE_1, _TYPE_2, _TYPE_3 = 1 << 30, 2 << 30, 3 << 30
"""Where the types of a header begin, when its first four bytes are read as a number."""
_AUDIO_OR_VIDEO: Final = 4
"""Their types of messages, 8 and 9, without the last bit."""
_MIXED: Final = -2
_COMMANDS: Final = (AMF0_COMMAND, AMF3_COMMAND)


class _ChunkStream:
    """What the next header of one chunk stream may leave out (5.3.1.2)."""

    __slots__ = (
        "csid", "delta", "extended", "length", "marker", "partial", "stream_id", "timestamp",
        "type_id", "wire_id",
    )  # fmt: skip

    def __init__(self, csid: int) -> None:
        self.csid = csid
        self.timestamp = 0
        self.delta = 0
        self.extended: int | None = None
        """The 32 bit field of the last header that had one, if the last header had one."""
        self.length = 0
        self.type_id = 0
        self.stream_id = self.wire_id = 0
        """The message stream, and its bytes, which are the other way round, read as a number."""
        self.partial: bytearray | None = None
        """The payload of the unfinished message; None between messages."""
        self.marker = bytes((0xC0 | csid,)) if csid < 64 else _NO_MARKER
        """A type 3 header, where it is one byte."""


class ChunkDecoder:
    """Bytes in, messages out. Acts on SetChunkSize and Abort itself, as they concern only it.

    Holds what the peer has sent of unfinished messages, never what it merely announced.
    """

    def __init__(
        self, limits: MessageLimits | None = None, *, at_first: MessageLimits | None = None
    ) -> None:
        """``at_first``: the limits until the first command was complete."""
        self._later = limits or MessageLimits()
        self._limits = at_first or self._later
        self._streams: dict[int, _ChunkStream] = {}
        self._between: dict[int, _ChunkStream] = {}
        """Those whose number has one byte, that hold no part of a message, and whose last header
        was not extended: `_take_usual` knows how to go on with them."""
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._head = b""
        """The beginning of a chunk header whose end has not come; at most 17 bytes."""
        self._current: _ChunkStream | None = None
        """The stream within whose chunk we are."""
        self._chunk_left = 0
        """Bytes of the current chunk that have not come."""
        self._partial_bytes = 0
        self._messages: list[Message] = []
        self.media_of = _MIXED
        """The message stream to which all `messages` belong, if these are audio and video and
        nothing else; below 0 where they are not. Means nothing while there are none."""
        self._run_limit = _LONGEST_RUN

    @property
    def chunk_size(self) -> int:
        """What the peer announced last."""
        return self._chunk_size

    @property
    def held_bytes(self) -> int:
        """Payload of unfinished messages held."""
        return self._partial_bytes

    def messages(self) -> list[Message]:
        """What was completed since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def feed(self, data: bytes, max_headers: int = 1 << 30) -> int:
        """Takes any number of bytes; answers how many headers were read, the measure of work.

        Raises `RemoteProtocolError` when they are no chunks, break a bound, or hold more than
        ``max_headers`` headers; what was complete before stays in `messages`.
        """
        headers = 0
        if self._head:
            data = self._head + data
            self._head = b""
        size = len(data)
        position = 0
        while position < size:
            if self._current is not None:
                position = self._read_payload(self._current, data, position, size)
                continue
            position, taken = self._take_usual(data, position, size, max_headers - headers)
            headers += taken
            if position == size:
                break
            headers += 1
            if headers > max_headers:
                raise RemoteProtocolError("too many chunks in too short a time")
            position_after = self._read_header(data, position, size)
            if position_after == _INCOMPLETE:
                self._head = data[position:]
                headers -= 1  # it is counted when it is whole
                break
            position = position_after
        return headers

    # ---- whole audio and video messages -----------------------------------------------------

    def _take_usual(self, data: bytes, position: int, size: int, most: int) -> tuple[int, int]:
        """What encoders send nearly always, in one loop: audio and video whose last byte is here.

        The chunk stream is known and its number has one byte, the time is not extended, and
        nothing comes between the chunks of a message. Anything else is left as it is, to be read
        with care from its header on, to the same end. Answers where that begins, and how many
        headers were read.
        """
        streams, messages, append = self._between, self._messages, self._messages.append
        new = tuple.__new__  # what `Message` calls too: half the time of a message without a body
        chunk_size, longest, run_limit = self._chunk_size, self._limits.media, self._run_limit
        stride = chunk_size + 1
        before, media_of = len(messages), self.media_of
        # No message that ends within so many bytes is too long.
        size = min(size, position + longest)
        # A header has a byte at least: no more than ``most`` begin in as many bytes.
        last = min(size - 12, position + most - 1)
        while position <= last:
            # Of a short header the next message is read too, and not looked at.
            head, length_and_type, wire_id = _THREE_U32(data, position)
            stream = streams.get(head >> 24 & 0x3F)
            if stream is None:
                break
            field = head & 0xFFFFFF
            if head < _TYPE_2:
                length = length_and_type >> 8
                type_id = length_and_type & 0xFF
                if head < _TYPE_1:
                    if wire_id != stream.wire_id:
                        break
                    start = position + 12
                    timestamp = field
                else:
                    start = position + 8
                    timestamp = stream.timestamp + field & _MASK
            else:
                length, type_id = stream.length, stream.type_id
                if head < _TYPE_3:
                    start = position + 4
                else:
                    start, field = position + 1, stream.delta
                timestamp = stream.timestamp + field & _MASK
            if type_id >> 1 != _AUDIO_OR_VIDEO or field >= _EXTENDED:
                break
            end = start + length
            if length <= chunk_size:
                if end > size:
                    break
                body = data[start:end]
            else:
                more = (length - 1) // chunk_size
                end += more
                if end > size or more > run_limit:
                    break
                if data[start + chunk_size : end : stride] != stream.marker * more:
                    break
                payload = bytearray(data[start:end])
                del payload[chunk_size::stride]
                body = bytes(payload)
            stream.timestamp = timestamp
            stream.delta = field
            stream.length = length
            stream.type_id = type_id
            stream_id = stream.stream_id
            if stream_id != media_of:
                media_of = _MIXED if messages else stream_id
            append(new(Message, (type_id, timestamp, stream_id, body)))
            position = end
        self.media_of = media_of
        return position, len(messages) - before

    # ---- headers ------------------------------------------------------------------------

    def _read_header(self, data: bytes, start: int, size: int) -> int:
        """Reads a header, and the whole message when it is there. Answers where to go on."""
        first = data[start]
        position = start + 1
        csid = first & 0x3F
        if csid < 2:
            # 5.3.1.1: one or two more bytes, the low one first.
            position += csid + 1
            if position > size:
                return _INCOMPLETE
            csid = 64 + int.from_bytes(data[start + 1 : position], "little")
        stream = self._streams.get(csid)
        self._between.pop(csid, None)  # until it is complete
        if first < 0xC0:
            return self._read_type_0_to_2(stream, csid, first >> 6, data, position, size)
        if stream is None:
            raise RemoteProtocolError(f"chunk stream {csid} begins with a type 3 header")
        return self._read_type_3(stream, data, position, size)

    def _read_type_0_to_2(
        self, stream: _ChunkStream | None, csid: int, form: int, data: bytes, start: int, size: int
    ) -> int:
        position = start + _HEADER_BYTES[form]
        if position > size:
            return _INCOMPLETE
        # Read with the byte before it, four bytes at a time: the cheapest way to 24 bits.
        field = _U32(data, start - 1)[0] & 0xFFFFFF
        extended = field == _EXTENDED
        if extended:
            position += 4
            if position > size:
                return _INCOMPLETE
            field = _U32(data, position - 4)[0]
        if stream is None:
            stream = self._open(csid, form)
        if form < 2:
            length_and_type = _U32(data, start + 3)[0]
            length = length_and_type >> 8
            type_id = length_and_type & 0xFF
            if stream.partial is not None:
                if form == 1 and length == stream.length and type_id == stream.type_id:
                    # SRS takes a type 1 header inside a message for its continuation.
                    stream.extended = field if extended else None
                    return self._continue(stream, data, position, size)
                self._drop_partial(stream)
            if length > self._limits.smallest:
                self._limits.check(type_id, length)
            stream.length = length
            stream.type_id = type_id
        elif stream.partial is not None:
            stream.extended = field if extended else None
            return self._continue(stream, data, position, size)
        if form == 0:
            stream.wire_id = _U32(data, start + 7)[0]
            stream.stream_id = int.from_bytes(data[start + 7 : start + 11], "little")
            stream.timestamp = field
        else:
            # librtmp sends late audio as a delta of 0xFFFFFFE7: minus 25, modulo 2^32.
            stream.timestamp = (stream.timestamp + field) & _MASK
        # 5.3.1.2.4: a type 3 header after a type 0 repeats its timestamp as the delta.
        stream.delta = field
        stream.extended = field if extended else None
        return self._begin(stream, data, position, size)

    def _open(self, csid: int, form: int) -> _ChunkStream:
        # 5.3.1.2.1 wants type 0 first; old librtmp begins its pings with type 1.
        if form > 1:
            raise RemoteProtocolError(f"chunk stream {csid} begins with a type {form} header")
        if len(self._streams) >= MAX_CHUNK_STREAMS:
            raise RemoteProtocolError(f"more than {MAX_CHUNK_STREAMS} chunk streams are in use")
        stream = self._streams[csid] = _ChunkStream(csid)
        return stream

    def _read_type_3(self, stream: _ChunkStream, data: bytes, position: int, size: int) -> int:
        if stream.extended is not None:
            position = self._skip_extended(stream, stream.extended, data, position)
            if position == _INCOMPLETE:
                return _INCOMPLETE
        if stream.partial is not None:
            return self._continue(stream, data, position, size)
        # 5.3.1.2.4: a type 3 chunk that starts a message repeats the last delta.
        stream.timestamp = (stream.timestamp + stream.delta) & _MASK
        return self._begin(stream, data, position, size)

    def _skip_extended(
        self, stream: _ChunkStream, extended: int, data: bytes, position: int
    ) -> int:
        """Whether the extended timestamp is repeated after a type 3 header, only its bytes tell.

        5.3.1.3 demands it; OBS up to 30.0 and old phone libraries leave it out. So four bytes
        that equal the field are the field. Some servers count it on at a new message.
        """
        candidates = [extended]
        if stream.partial is None:
            candidates.append((extended + stream.delta) & _MASK)
        seen = data[position : position + 4]
        for candidate in candidates:
            field = candidate.to_bytes(4, "big")
            if seen == field:
                stream.extended = candidate
                return position + 4
            if len(seen) < 4 and field.startswith(seen):
                return _INCOMPLETE
        return position

    # ---- payload ------------------------------------------------------------------------

    def _begin(self, stream: _ChunkStream, data: bytes, position: int, size: int) -> int:
        """Starts a message whose first payload byte is at ``position``."""
        length = stream.length
        chunk_size = self._chunk_size
        if length <= chunk_size:
            end = position + length
            if end <= size:
                self._complete(stream, data[position:end])
                return end
        stream.partial = bytearray()
        return self._continue(stream, data, position, size)

    def _continue(self, stream: _ChunkStream, data: bytes, position: int, size: int) -> int:
        """Goes on with a message at the first payload byte of a chunk."""
        partial = stream.partial
        assert partial is not None
        remaining = stream.length - len(partial)
        if remaining > self._chunk_size and stream.extended is None and stream.marker:
            run = self._take_run(stream.marker, remaining, data, position, size)
            if run is not None:
                payload, end = run
                if len(payload) == stream.length:
                    stream.partial = None
                    self._complete(stream, bytes(payload))
                else:
                    self._add(stream, payload)
                return end
        self._current = stream
        self._chunk_left = min(remaining, self._chunk_size)
        return position

    def _take_run(
        self, marker: bytes, remaining: int, data: bytes, start: int, size: int
    ) -> tuple[bytearray, int] | None:
        """Chunks of one message that lie whole and uninterrupted in ``data``, by slices.

        A loop costs 10 to 30 times as much where a frame comes in chunks of 128 bytes. How far a
        run may reach grows with success, so that a peer who interrupts each run early cannot
        make us look at the same bytes again and again.
        """
        chunk_size = self._chunk_size
        stride = chunk_size + 1
        headers = (remaining - 1) // chunk_size
        end = start + remaining + headers
        if end > size or headers > self._run_limit:
            # Stop before the last chunk, the only one that may be shorter.
            there = (size - start - chunk_size) // stride
            headers = min(there, headers - 1, self._run_limit)
            end = start + chunk_size + headers * stride
        if headers < 1:
            return None
        found = data[start + chunk_size : end : stride]
        if found == marker * headers:
            self._run_limit = min(self._run_limit * 4, _LONGEST_RUN)
        else:
            self._run_limit = _SHORTEST_RUN
            headers = len(found) - len(found.lstrip(marker))
            if headers < 1:
                return None
            end = start + chunk_size + headers * stride
        payload = bytearray(memoryview(data)[start:end])
        del payload[chunk_size::stride]
        return payload, end

    def _read_payload(self, stream: _ChunkStream, data: bytes, position: int, size: int) -> int:
        end = min(position + self._chunk_left, size)
        self._add(stream, data[position:end])
        self._chunk_left -= end - position
        if self._chunk_left == 0:
            self._current = None
        return end

    def _add(self, stream: _ChunkStream, payload: bytes | bytearray) -> None:
        partial = stream.partial
        assert partial is not None
        self._partial_bytes += len(payload)
        if self._partial_bytes > self._limits.partial:
            raise RemoteProtocolError(
                f"unfinished messages hold more than {self._limits.partial} bytes"
            )
        partial += payload
        if len(partial) == stream.length:
            self._drop_partial(stream)
            self._complete(stream, bytes(partial))

    def _drop_partial(self, stream: _ChunkStream) -> None:
        if stream.partial is not None:
            self._partial_bytes -= len(stream.partial)
            stream.partial = None

    def _complete(self, stream: _ChunkStream, body: bytes) -> None:
        if stream.extended is None and stream.marker:
            self._between[stream.csid] = stream
        message = Message(stream.type_id, stream.timestamp, stream.stream_id, body)
        if stream.type_id <= ABORT:
            self._obey(message)
        elif self._limits is not self._later and stream.type_id in _COMMANDS:
            self._limits = self._later
        if stream.type_id >> 1 != _AUDIO_OR_VIDEO:
            self.media_of = _MIXED
        elif stream.stream_id != self.media_of:
            self.media_of = _MIXED if self._messages else stream.stream_id
        self._messages.append(message)

    def _obey(self, message: Message) -> None:
        if message.type_id == SET_CHUNK_SIZE:
            size = read_u32(message)
            # 5.4.1: the top bit is zero; a chunk holds at least a byte.
            if not 1 <= size < 2**31:
                raise RemoteProtocolError(f"a chunk size of {size} is announced")
            self._chunk_size = min(size, _MAX_CHUNK_SIZE)
        elif message.type_id == ABORT:
            stream = self._streams.get(read_u32(message))
            if stream is not None:
                self._drop_partial(stream)
