"""The cmaf feed: reads the packet log, fills the cmaf log."""

from collections.abc import Callable, Iterable

from streamserver.feeds.cmaf.packager import Packager
from streamserver.feeds.cmaf.settings import CmafCounters, CmafSettings
from streamserver.feeds.items import CmafItem, Init, Part, Target
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track

__all__ = ["CmafFeed"]

_NOTICE_BYTES = 64
"""What an item without media weighs in the log."""


class CmafFeed:
    """Packages a stream once, for all that read CMAF: HLS now, recordings later.

    ``tracks_of`` answers the tracks of an epoch, ``first_msn`` is the number of the first segment
    (the Unix second of the stream's start), ``schedule`` is the log's. Positions of packets begin
    at ``position``.

    Whatever `push` and `pump` raise leaves the feed unusable, and only the feed.
    """

    def __init__(
        self,
        tracks_of: Callable[[int], tuple[Track, ...]],
        first_msn: int,
        settings: CmafSettings,
        schedule: Callable[[Callable[[], None]], None],
        *,
        position: int = 0,
    ) -> None:
        self.log: Log[CmafItem] = Log(
            max_ms=settings.window_ms, max_bytes=settings.window_bytes, schedule=schedule
        )
        self.position = position
        """The position in the packet log that `pump` reads next."""
        self._packager = Packager(tracks_of, first_msn, settings)
        self._at_ms = 0

    @property
    def counters(self) -> CmafCounters:
        """What the feed met."""
        return self._packager.counters

    @property
    def target(self) -> Target | None:
        """What the playlists promise, once it is known; stays when its item left the log."""
        return self._packager.target

    @property
    def init(self) -> Init | None:
        """The initialisation segment of the current epoch."""
        return self._packager.init

    @property
    def unsupported(self) -> tuple[Track, ...]:
        """Tracks of the current epoch that the feed leaves out."""
        return self._packager.unsupported

    @property
    def quiet_until_ms(self) -> int:
        """Log time before which only a keyframe or many bytes complete a part.

        What comes before it may wait in the packet log, and is then read in one go: that costs
        less than looking at each packet as it comes.
        """
        return self._packager.quiet_until_ms

    def push(self, packet: Packet) -> None:
        """Takes one packet. Does nothing once the feed is closed.

        Raises `RemoteProtocolError` when a track's config is malformed.
        """
        if items := self._packager.push(packet):
            self._append(items)

    def pump(self, packets: Log[Packet]) -> None:
        """Takes what the packet log holds since the last call; what it lost before is counted."""
        if packets.start > self.position:
            self._packager.counters.missed += packets.start - self.position
            self.position = packets.start
        run = packets.since(self.position)
        self.position += len(run)
        skim, push = self._packager.skim, self._packager.push
        index, end = 0, len(run)
        while (index := skim(run, index)) < end:
            if items := push(run[index]):
                self._append(items)
            index += 1

    def flush(self) -> None:
        """Completes part and segment: the publisher is gone, for now or for good."""
        self._append(self._packager.flush())

    def close(self, reason: str) -> None:
        """Completes everything and closes the log. A second close does nothing."""
        if self.log.closed is None:
            self._append(self._packager.finish())
            self.log.close(reason)

    def _append(self, items: Iterable[CmafItem]) -> None:
        log = self.log
        if log.closed is not None:
            return
        for item in items:
            if isinstance(item, Part):
                self._at_ms = max(self._at_ms, item.start_ms)
                size = item.size + _NOTICE_BYTES
                log.append(item, size=size, at_ms=self._at_ms, keyframe=item.index == 0)
            else:
                log.append(item, size=_NOTICE_BYTES, at_ms=self._at_ms)
