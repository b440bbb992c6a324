"""The audio rendition: a stream with its audio in another codec, a log like the stream's own.

Video is passed on at once and is the same objects; audio comes when it is done. Who transcodes is
somebody else's business: he takes batches, one at a time, and brings back what came of them.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from streamserver.feeds.converting import Rendition, TracksOf
from streamserver.hub.stream import LogBounds, RenditionStats
from streamserver.log import Log
from streamserver.media.aac import track_from_asc
from streamserver.media.opus import OpusHead, track_from_opus_head
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track

__all__ = ["AudioBatch", "AudioRendition", "Coded", "converted", "may_convert"]

_AAC_CONFIG: Final = bytes.fromhex("1190")
"""AudioSpecificConfig of AAC-LC, 48 kHz, stereo (ISO/IEC 14496-3 1.6.2.1)."""

_OPUS_CONFIG: Final = OpusHead(2, pre_skip=0).to_bytes()
"""Nothing is to be skipped: times say when what is decoded is heard."""

_FOREIGN: Final = {
    Codec.AAC: frozenset((Codec.OPUS,)),
    Codec.OPUS: frozenset((Codec.AAC, Codec.MP3)),
}
"""What is converted into a codec. HLS and RTMP carry MP3 as well as AAC."""

_MAX_WAITING_MS: Final = 12_000
_MAX_WAITING_BYTES: Final = 512 * 1024
_MAX_WAITING: Final = 800
"""Audio that waits to be taken: a group of pictures that is read at once has as much."""

_MAX_LATE_NS: Final = 500_000_000
"""How long it waits at most. Where the threads cannot follow, holes are better than a delay that
grows: silence is soon made."""

_MAX_BATCH: Final = 32
"""Packets in one batch: some 15 ms of work, so that others have their turn."""


def may_convert(tracks: Iterable[Track], codec: Codec) -> bool:
    """Whether a stream with these tracks has, or may get, audio that has to be converted.

    A publisher that changes the codec of its audio ends the broadcast; audio that joins later
    does not.
    """
    audio = [track for track in tracks if track.kind is Kind.AUDIO]
    return not audio or any(track.codec in _FOREIGN[codec] for track in audio)


def converted(tracks: tuple[Track, ...], codec: Codec) -> tuple[Track, ...]:
    """The tracks with audio in ``codec``; what need not be converted stays the same object."""
    return tuple(
        _target(codec, track.epoch) if track.codec in _FOREIGN[codec] else track for track in tracks
    )


def _target(codec: Codec, epoch: int) -> Track:
    if codec is Codec.AAC:
        return track_from_asc(_AAC_CONFIG, epoch)
    return track_from_opus_head(_OPUS_CONFIG, epoch)


class Coded(NamedTuple):
    """A packet that came of a batch."""

    pts: int
    """In ticks of the rendition's track, on the log's time line."""

    duration: int
    """The same unit."""

    data: bytes
    """The coded bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioBatch:
    """Audio packets to be transcoded, in order."""

    run: int
    """Batches of one run continue each other; another run begins anew."""

    track: Track
    """The track of all of them; one run has one."""

    packets: tuple[Packet, ...]
    """At least one."""


class AudioRendition(Rendition):
    """Reads a packet log from its newest keyframe on, and fills a log of its own.

    Every epoch has the stream's number and the stream's video track; an epoch whose audio needs
    nothing is passed on as it is. Audio that is not done when its epoch is over, or when the
    publisher leaves, is dropped: a few hundredths of a second, so that nothing ever waits for it.
    """

    def __init__(
        self,
        packets: Log[Packet],
        tracks_of: TracksOf,
        codec: Codec,
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
        stats: RenditionStats,
    ) -> None:
        """``codec`` is AAC or Opus."""
        super().__init__(packets, tracks_of, partial(converted, codec=codec), bounds, schedule)
        self.codec = codec
        self.stats = stats
        self._has_video = False
        self._source: Track | None = None
        """The audio track that is converted; None in an epoch that needs nothing."""
        self._target: Track | None = None
        self._run = 0
        self._reached = 0
        self._waiting: deque[tuple[int, Packet]] = deque()
        """With the monotonic time since when each waits."""
        self._waiting_bytes = 0
        self._taken: AudioBatch | None = None

    def pump(self) -> None:
        """Takes what came since the last call."""
        self.stats.missed += self._skip_lost()
        news = self._news()
        # What is read in one go arrived at different times, but has waited for us alike.
        now_ns = news[-1].received_ns if news else 0
        for packet in news:
            track = packet.track
            if track.epoch != self._epoch:
                self._begin(track.epoch)
            if track is self._source:
                self._wait(packet, now_ns)
            else:
                self._append(packet)
        if self._waiting and self._taken is None:
            self.on_work()

    def cut(self) -> None:
        """The publisher is gone, for now: what is not done belongs to the past."""
        self._run += 1
        self.stats.late += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def take(self) -> AudioBatch | None:
        """What is to be transcoded next, once the batch before is `done` or `failed`."""
        if not self._waiting or self._taken is not None or self._source is None:
            return None
        count = min(len(self._waiting), _MAX_BATCH)
        packets = tuple(self._waiting.popleft()[1] for _ in range(count))
        self._waiting_bytes -= sum(len(packet.data) for packet in packets)
        self._taken = AudioBatch(self._run, self._source, packets)
        return self._taken

    def done(self, batch: AudioBatch, coded: Iterable[Coded]) -> None:
        """What came of the batch that was taken. Packets of a run that is over are dropped."""
        self._taken = None
        self.stats.packets_in += len(batch.packets)
        target = self._target
        for one in coded:
            if batch.run != self._run or target is None or one.pts < self._reached:
                self.stats.late += 1
                continue
            self._reached = one.pts + one.duration
            self.stats.packets_out += 1
            received_ns = batch.packets[-1].received_ns
            self._append(
                Packet(target, one.pts, one.pts, one.duration, True, one.data, received_ns)
            )

    def failed(self, batch: AudioBatch) -> None:
        """Nothing came of the batch that was taken."""
        self._taken = None
        self.stats.dropped += len(batch.packets)

    def _begin(self, epoch: int) -> None:
        """A new epoch: what belongs to the one before may come no more."""
        self.cut()
        self._epoch = epoch
        source, mine = self._source_tracks_of(epoch), self.tracks_of(epoch)
        self._has_video = any(track.kind is Kind.VIDEO for track in mine)
        self._source = self._target = None
        self._reached = 0
        for theirs, ours in zip(source, mine, strict=True):
            if theirs is not ours:
                self._source, self._target = theirs, ours
        self.stats.source = self._source.codec if self._source is not None else None

    def _wait(self, packet: Packet, now_ns: int) -> None:
        waiting = self._waiting
        waiting.append((now_ns, packet))
        self._waiting_bytes += len(packet.data)
        while (
            now_ns - waiting[0][0] > _MAX_LATE_NS
            or packet.dts_ms - waiting[0][1].dts_ms > _MAX_WAITING_MS
            or self._waiting_bytes > _MAX_WAITING_BYTES
            or len(waiting) > _MAX_WAITING
        ):
            self._waiting_bytes -= len(waiting.popleft()[1].data)
            self.stats.dropped += 1

    def _append(self, packet: Packet) -> None:
        if self.log.closed is not None:
            return
        entry = packet.keyframe and (packet.is_video or not self._has_video)
        self.log.append(packet, size=len(packet.data), at_ms=packet.dts_ms, keyframe=entry)
