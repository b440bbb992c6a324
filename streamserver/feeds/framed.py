"""Bodies with the bytes of one format around them, ready to be sent: made once for all viewers."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from streamserver.feeds.body import Body, Header
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.rtmp.message import AMF0_DATA

__all__ = ["Format", "Framed", "FramedFeed"]

_ITEM_COST: Final = 128
"""What an item weighs besides its bytes."""

_METADATA_MS: Final = 0
"""The time of metadata, always: at any other FFmpeg takes it for a subtitle."""

_MAX_BODY: Final = 0xFFFFFF
"""Lengths have 24 bits in a message header (RTMP 5.3.1.2.1) and in an FLV tag (E.4.1)."""


class Format(Protocol):
    """How bodies are framed."""

    def frame(self, kind: int, time_ms: int, head: bytes, data: bytes) -> tuple[bytes, ...]:
        """The bytes of one body, ``head`` and ``data``, in pieces; its length fits 24 bits.

        Large data is a piece as it is: it is copied when pieces are joined for all viewers.
        """

    def greeting(self, header: Header) -> bytes:
        """What a viewer is sent once, before everything."""


class Framed(NamedTuple):
    """A body, ready to be sent. A tuple: every packet makes one."""

    pieces: tuple[bytes, ...]
    """The bytes on the wire. In pieces: twelve seconds of copies would wait for those who lag."""

    kind: int
    """The message type: 8 audio, 9 video, 18 data."""

    time_ms: int
    """Decoding time on the stream's log time line, in milliseconds."""

    keyframe: bool
    """Whether a reader can begin here, after the header."""

    header: Header
    """What belongs before it."""

    is_media: bool
    """False for the header's own messages, which stand in the log where an epoch begins."""

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return sum(map(len, self.pieces))

    @property
    def data(self) -> bytes:
        """The bytes on the wire in one piece."""
        return b"".join(self.pieces)


class FramedFeed:
    """Reads a log of bodies from its newest keyframe on, and fills a log of their frames."""

    def __init__(
        self,
        bodies: Log[Body],
        form: Format,
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
    ) -> None:
        self.log: Log[Framed] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=schedule
        )
        self.missed = 0
        """Bodies that were evicted before they were read."""
        self.oversized = 0
        """Bodies that were too long for the format."""
        self._bodies = bodies
        self._form = form
        self._header: Header | None = None
        """What belongs before the newest item."""
        newest = bodies.newest_keyframe
        self._position = bodies.end if newest is None else newest

    def pump(self) -> None:
        """Takes what came since the last call."""
        bodies = self._bodies
        if bodies.start > self._position:
            self._skip_gap()
        news = bodies.since(self._position)
        self._position += len(news)
        if not news:
            return
        frame = self._form.frame
        items: list[Framed] = []
        sizes: list[int] = []
        times: list[int] = []
        keyframes: list[int] = []
        new = tuple.__new__  # what `Framed` calls too
        for kind, time_ms, data, keyframe, header, is_media, head in news:
            if len(head) + len(data) > _MAX_BODY:
                self.oversized += 1
                continue
            pieces = frame(kind, time_ms if kind != AMF0_DATA else _METADATA_MS, head, data)
            if keyframe:
                keyframes.append(len(items))
            items.append(new(Framed, (pieces, kind, time_ms, keyframe, header, is_media)))
            size = _ITEM_COST
            for piece in pieces:
                size += len(piece)
            sizes.append(size)
            times.append(time_ms)
        if items:
            self._header = items[-1].header
        self.log.extend(items, sizes=sizes, at_ms=times, keyframes=keyframes)

    def close(self, reason: str) -> None:
        """Takes the rest and closes the log. A second close does nothing."""
        if self.log.closed is None:
            try:
                self.pump()
            finally:
                self.log.close(reason)

    def greeting(self, header: Header) -> bytes:
        """What a viewer is sent once, before everything."""
        return self._form.greeting(header)

    def prologue(self, item: Framed) -> list[Framed]:
        """The header's messages for a reader that begins or jumps to ``item``, at its time."""
        return [self._frame(kind, item, data, False) for kind, data in item.header.bodies]

    def _frame(self, kind: int, at: Body | Framed, data: bytes, is_media: bool) -> Framed:
        time_ms = at.time_ms
        wire_ms = time_ms if kind != AMF0_DATA else _METADATA_MS
        pieces = self._form.frame(kind, wire_ms, b"", data)
        return Framed(pieces, kind, time_ms, is_media and at.keyframe, at.header, is_media)

    def _append(self, item: Framed) -> None:
        self._header = item.header
        size = item.size + _ITEM_COST
        self.log.append(item, size=size, at_ms=item.time_ms, keyframe=item.keyframe)

    def _skip_gap(self) -> None:
        """More came at once than the log of bodies holds: goes on at a keyframe, with its headers.

        Where there is none, one group of pictures exceeds the log, and pictures are broken until
        the next.
        """
        bodies = self._bodies
        newest = bodies.newest_keyframe
        position = bodies.end if newest is None else newest
        self.missed += position - self._position
        self._position = position
        first = bodies.get(position)
        if first is not None and first.header is not self._header:
            for kind, data in first.header.bodies:
                self._append(self._frame(kind, first, data, False))
