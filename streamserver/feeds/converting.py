"""What renditions of sound and of pictures have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track

__all__ = ["Rendition", "TracksOf"]

_EPOCHS_KEPT: Final = 16

TracksOf = Callable[[int], tuple[Track, ...]]
"""The tracks of an epoch."""


class Rendition(ABC):
    """Reads a packet log from its newest keyframe on, and fills a log of its own."""

    def __init__(
        self,
        packets: Log[Packet],
        tracks_of: TracksOf,
        convert: Callable[[tuple[Track, ...]], tuple[Track, ...]],
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
    ) -> None:
        """``packets`` and ``tracks_of`` are those of what is converted; ``convert`` says what
        becomes of the tracks."""
        self.log: Log[Packet] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=schedule
        )
        self.on_work: Callable[[], None] = lambda: None
        """Called when there may be something to take."""
        self.on_close: Callable[[], None] = lambda: None
        """Called once, when the log is closed."""
        self._packets = packets
        self._source_tracks_of = tracks_of
        self._convert = convert
        self._tracks: dict[int, tuple[Track, ...]] = {}
        self._epoch = -1
        newest = packets.newest_keyframe
        self._position = packets.end if newest is None else newest

    def tracks_of(self, epoch: int) -> tuple[Track, ...]:
        """The tracks of an epoch; the same objects each time, unless they were told anew."""
        tracks = self._tracks.get(epoch)
        if tracks is None:
            source = self._source_tracks_of(epoch)
            tracks = self._convert(source)
            # One that the stream has forgotten, or does not know yet, is answered with another.
            if source and source[0].epoch == epoch:
                self._tracks[epoch] = tracks
                self._tracks.pop(epoch - _EPOCHS_KEPT, None)
        return tracks

    @abstractmethod
    def cut(self) -> None:
        """The publisher is gone, for now: what is not done belongs to the past."""

    def close(self, reason: str) -> None:
        """Closes the log; what is not done is dropped. A second close does nothing."""
        if self.log.closed is None:
            self.cut()
            self.log.close(reason)
            self.on_close()

    def _skip_lost(self) -> int:
        """Goes on at the newest keyframe where packets are lost; answers how many are."""
        packets = self._packets
        if packets.start <= self._position:
            return 0
        newest = packets.newest_keyframe
        before, self._position = self._position, packets.end if newest is None else newest
        return self._position - before

    def _news(self) -> list[Packet]:
        """What came since the last call."""
        news = self._packets.since(self._position)
        self._position += len(news)
        return news
