"""Bodies with the bytes of one format around them, ready to be sent: made once for all viewers."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from streamserver.feeds.body import Body, Header
from streamserver.hub.stream import LogBounds
from streamserver.log import Log

__all__ = ["Format", "Framed", "FramedFeed"]

_ITEM_COST: Final = 128
"""What an item weighs besides its bytes."""

_MAX_BODY: Final = 0xFFFFFF
"""Lengths have 24 bits in a message header (RTMP 5.3.1.2.1) and in an FLV tag (E.4.1)."""


class Format(Protocol):
    """How bodies are framed."""

    def frame(self, kind: int, time_ms: int, data: bytes) -> bytes:
        """The bytes of one body; its length fits 24 bits."""

    def greeting(self, header: Header) -> bytes:
        """What a viewer is sent once, before everything."""


class Framed(NamedTuple):
    """A body, ready to be sent. A tuple: every packet makes one."""

    data: bytes
    """The bytes on the wire."""

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
        newest = bodies.newest_keyframe
        self._position = bodies.end if newest is None else newest

    def pump(self) -> None:
        """Takes what came since the last call."""
        bodies = self._bodies
        if bodies.start > self._position:
            self.missed += bodies.start - self._position
            self._position = bodies.start
        news = bodies.since(self._position)
        self._position += len(news)
        frame, append = self._form.frame, self.log.append
        for kind, time_ms, data, keyframe, header, is_media in news:
            if len(data) > _MAX_BODY:
                self.oversized += 1
                continue
            wire = frame(kind, time_ms, data)
            append(
                Framed(wire, kind, time_ms, keyframe, header, is_media),
                size=len(wire) + _ITEM_COST,
                at_ms=time_ms,
                keyframe=keyframe,
            )

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
        frame, header, time_ms = self._form.frame, item.header, item.time_ms
        return [
            Framed(frame(kind, time_ms, data), kind, time_ms, False, header, False)
            for kind, data in header.bodies
        ]
