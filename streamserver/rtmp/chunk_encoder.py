"""Writing the chunk layer (Adobe RTMP 1.0, 5.3). `streamserver.rtmp.chunk` reads it."""

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from streamserver.errors import LocalProtocolError
from streamserver.rtmp.chunk import DEFAULT_CHUNK_SIZE
from streamserver.rtmp.message import SET_CHUNK_SIZE, Message, read_u32

__all__ = ["ChunkEncoder", "MediaItem", "Run", "Tails"]

_EXTENDED: Final = 0xFFFFFF
_MASK: Final = 0xFFFFFFFF
_PACK_U32: Final = Struct(">I").pack
_PACK_TWO_U32: Final = Struct(">II").pack

MediaItem: TypeAlias = tuple[int, int, bytes]
"""An audio or video message of one stream: its type, its time modulo 2^32, and its body."""

Tails: TypeAlias = Mapping[int, tuple[int, int]]
"""For message types, time and length of their last message: the time in milliseconds of a line that
many connections share."""


class Run(NamedTuple):
    """Some messages as chunks, for each connection that is level with who cut them: `RunCutter`."""

    data: bytes
    """The chunks, with short headers only."""

    chunk_size: int
    """Of all such connections."""

    before: Tails
    """For each message type in it, the last message that has to precede it."""

    after: Tails
    """Its own last messages."""


class ChunkEncoder:
    """Messages in, bytes out. Remembers the last header of each chunk stream.

    A type 3 header never starts a message: it would save a few bytes, and readers disagree about
    the delta that it repeats.
    """

    def __init__(self, chunk_size: int = DEFAULT_CHUNK_SIZE) -> None:
        self._chunk_size = chunk_size
        self._last: dict[int, tuple[int, int, int, int]] = {}
        """For each chunk stream: time, message stream, type and length of its last message."""

    @property
    def chunk_size(self) -> int:
        """Bytes of payload in each chunk; changes with the SetChunkSize that is encoded."""
        return self._chunk_size

    def encode(self, message: Message, csid: int, *, full: bool = True) -> bytes:
        """The chunks of a message on chunk stream ``csid``, 2 to 63.

        ``full`` writes a type 0 header; otherwise type 1 or 2 is chosen where the last message
        on ``csid`` allows it. Raises `LocalProtocolError` when the message cannot be expressed.
        """
        if not 2 <= csid < 64:
            # Several readers get the longer forms wrong.
            raise LocalProtocolError(f"chunk stream {csid} is outside 2 to 63")
        type_id, timestamp, stream_id, body = message
        size = len(body)
        if size > 0xFFFFFF:
            raise LocalProtocolError("a message has at most 16777215 bytes")
        header, extended = self._header(message, csid, full)
        self._last[csid] = (timestamp, stream_id, type_id, size)
        if size <= self._chunk_size:
            chunks = header + body
        else:
            chunks = self._cut(header, bytes((0xC0 | csid,)) + extended, body)
        if type_id == SET_CHUNK_SIZE:
            self._chunk_size = read_u32(message)
        return chunks

    def add(
        self, out: list[bytes], stream_id: int, csids: Mapping[int, int], items: Iterable[MediaItem]
    ) -> None:
        """Appends to a list what ``encode(..., full=False)`` answers for each item, in pieces.

        ``csids`` tells the chunk stream of each message type. The common case, one chunk with a
        short header, copies nothing: what goes to many far sides is joined once for each. A run
        in one call, for a call costs as much as a header.
        """
        known, most, append = self._last, self._chunk_size, out.append
        for type_id, timestamp, body in items:
            csid, size = csids[type_id], len(body)
            last = known.get(csid)
            if last is not None and last[1] == stream_id and last[2] == type_id and size <= most:
                delta = (timestamp - last[0]) & _MASK
                if delta < _EXTENDED:
                    known[csid] = (timestamp, stream_id, type_id, size)
                    if size == last[3]:
                        append(_PACK_U32((0x80 | csid) << 24 | delta))
                    else:
                        append(_PACK_TWO_U32((0x40 | csid) << 24 | delta, size << 8 | type_id))
                    append(body)
                    continue
            message = Message(type_id, timestamp, stream_id, body)
            append(self.encode(message, csid, full=False))

    def follow(
        self, out: list[bytes], stream_id: int, csids: Mapping[int, int], run: Run, origin_ms: int
    ) -> bool:
        """Appends a run that was cut for many connections, in one piece.

        ``origin_ms`` is time 0 of this connection on the line of the run. False, and nothing is
        appended, where other messages than those before the run were sent last.
        """
        if run.chunk_size != self._chunk_size:
            return False
        if not self.is_level(stream_id, csids, run.before, origin_ms):
            return False
        out.append(run.data)
        self.were_sent(stream_id, csids, run.after, origin_ms)
        return True

    def is_level(
        self, stream_id: int, csids: Mapping[int, int], tails: Tails, origin_ms: int
    ) -> bool:
        """Whether these messages were the last of their types here."""
        known = self._last
        for type_id, (time_ms, size) in tails.items():
            last = ((time_ms - origin_ms) & _MASK, stream_id, type_id, size)
            if known.get(csids[type_id]) != last:
                return False
        return True

    def were_sent(
        self, stream_id: int, csids: Mapping[int, int], tails: Tails, origin_ms: int
    ) -> None:
        """Takes note of messages that others cut and sent: these were the last of their types."""
        for type_id, (time_ms, size) in tails.items():
            last = ((time_ms - origin_ms) & _MASK, stream_id, type_id, size)
            self._last[csids[type_id]] = last

    def _header(self, message: Message, csid: int, full: bool) -> tuple[bytes, bytes]:
        """The first header with the extended timestamp, and that again for the type 3 ones."""
        type_id, timestamp, stream_id, body = message
        size = len(body)
        last = None if full else self._last.get(csid)
        form, time = 0, timestamp
        if last is not None and last[1] == stream_id:
            delta = (timestamp - last[0]) & _MASK
            # A step back is written as an absolute time: not every reader knows negative deltas.
            if delta < 2**31:
                form = 2 if last[2] == type_id and last[3] == size else 1
                time = delta
        # 5.3.1.3: 0xFFFFFF itself has to be extended too.
        extended = b"" if time < _EXTENDED else time.to_bytes(4, "big")
        first = (form << 6 | csid) << 24 | min(time, _EXTENDED)
        if form == 2:
            header = _PACK_U32(first)
        else:
            header = _PACK_TWO_U32(first, size << 8 | type_id)
            if form == 0:
                header += stream_id.to_bytes(4, "little")
        return header + extended, extended

    def _cut(self, header: bytes, marker: bytes, body: bytes) -> bytes:
        size = self._chunk_size
        pieces = [header, body[:size]]
        for start in range(size, len(body), size):
            pieces.append(marker)
            pieces.append(body[start : start + size])
        return b"".join(pieces)
