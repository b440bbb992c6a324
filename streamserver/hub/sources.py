"""What feeds read: the packets of a stream as they came, or of a rendition of it."""

from collections.abc import Callable
from typing import Any, Protocol

from streamserver.hub.feeds import FeedHold
from streamserver.hub.stream import Stream
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track

__all__ = ["OwnPackets", "SourceHold", "Sources"]


class SourceHold:
    """One reader's share in the packets of a stream or of a rendition, until it is released.

    A stream and a rendition are read alike: ``packet.track in tracks_of(packet.track.epoch)``
    holds for every packet, by identity.
    """

    __slots__ = ("_tracks", "lag_ms", "packets", "share", "tracks_of")

    def __init__(
        self,
        packets: Log[Packet],
        tracks_of: Callable[[int], tuple[Track, ...]],
        tracks: Callable[[], tuple[Track, ...]],
        share: FeedHold[Any] | None = None,
        lag_ms: int = 0,
    ) -> None:
        self.packets = packets
        """The log."""
        self.tracks_of = tracks_of
        """The tracks of an epoch, video first."""
        self.share = share
        """The share in the rendition, for `FeedPool.hold` as parent of a feed that is made of it;
        None where the stream itself is read, which costs nothing."""
        self.lag_ms = lag_ms
        """How much later audio comes than the publisher sends it, at most, as a rule."""
        self._tracks = tracks

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of the current epoch."""
        return self._tracks()

    def pump(self) -> None:
        """Has a rendition read what the stream has got."""
        if self.share is not None:
            self.share.pump()

    def release(self) -> None:
        """Gives it back. A second call does nothing."""
        if self.share is not None:
            self.share.release()


class Sources(Protocol):
    """Where an output takes its packets from."""

    def hold(self, stream: Stream) -> SourceHold:
        """A share in what the output reads of a stream."""

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """The tracks that it would read now."""


class OwnPackets:
    """Every stream as its publisher sends it."""

    def hold(self, stream: Stream) -> SourceHold:
        """See `Sources`."""
        return SourceHold(stream.packets, stream.tracks_of, lambda: stream.tracks)

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """See `Sources`."""
        return stream.tracks
