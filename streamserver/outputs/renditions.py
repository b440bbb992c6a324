"""Audio renditions of all streams: on demand, shared, transcoded in the media threads."""

import logging
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from streamserver.errors import LimitError, RemoteProtocolError, ShuttingDownError
from streamserver.feeds.rendition import AudioBatch, AudioRendition, Coded, converted, may_convert
from streamserver.ffmpeg.audio_forms import AudioCounters, AudioInput
from streamserver.hub.feeds import FeedPool
from streamserver.hub.registry import StreamListener
from streamserver.hub.sources import OwnPackets, SourceHold
from streamserver.hub.stream import LogBounds, RenditionStats, Schedule, Stream
from streamserver.media.track import Codec, Track

if TYPE_CHECKING:
    from streamserver.ffmpeg.audio import AudioTranscoder

__all__ = ["RenditionSources", "Renditions", "SubmitToThread"]

logger = logging.getLogger(__name__)

_LAG_MS: Final = 150
"""Of AAC, the slower of the two: it is complete 43 ms after its sound (one frame of priming, one of
look-ahead), at the packet after that, and a few more for the threads; and frames are stamped with
their beginning, 21 ms before."""

_SUMMED: Final = tuple(one.name for one in fields(RenditionStats) if one.type in (int, "int"))


Outcome = tuple[list[Coded], str]
"""What came of a batch, and why nothing did."""


class SubmitToThread(Protocol):
    """`MediaExecutor.submit`."""

    def __call__(
        self,
        call: Callable[[], Outcome],
        done: Callable[[Outcome | None, BaseException | None], None],
        /,
    ) -> Callable[[], None]:
        """Runs a call off the loop, then ``done`` on it; answers what calls it off.

        Raises `LimitError` when too many wait already, `ShuttingDownError` at the end.
        """


class Renditions(StreamListener):
    """Shares in streams with their audio in a codec.

    A rendition runs once per stream and codec, from its first reader until half a minute after
    its last (`FeedPool`), across reconnects of the publisher. Where the audio has that codec
    already, the share is in the stream itself and costs nothing.

    Give it to the registry before the outputs: what it holds back of a publisher that left must
    be gone when they complete what they have.
    """

    def __init__(
        self, *, feeds: FeedPool, schedule: Schedule, bounds: LogBounds, submit: SubmitToThread
    ) -> None:
        """``bounds`` are those of each rendition's log; it shares the video with the stream's."""
        self._feeds = feeds
        self._schedule = schedule
        self._bounds = bounds
        self._submit = submit
        self._workers: dict[tuple[Stream, Codec], _Worker] = {}
        self._past = RenditionStats()

    def __len__(self) -> int:
        return len(self._workers)

    def hold(self, stream: Stream, codec: Codec) -> SourceHold:
        """A share in a stream with its audio in ``codec``, which is AAC or Opus."""
        if not may_convert(stream.tracks, codec):
            return OwnPackets().hold(stream)
        share = self._feeds.hold(
            stream.packets, ("audio", codec), lambda: self._make(stream, codec)
        )
        rendition = share.feed
        return SourceHold(
            rendition.log,
            rendition.tracks_of,
            lambda: rendition.tracks_of(stream.epoch),
            share,
            _LAG_MS,
        )

    def sources(self, codec: Codec) -> "RenditionSources":
        """For an output whose viewers all get this codec."""
        return RenditionSources(self, codec)

    def totals(self) -> RenditionStats:
        """Sums over all renditions, those of streams that are over too."""
        sums = RenditionStats()
        for stats in (self._past, *(worker.stats for worker in self._workers.values())):
            _add(sums, stats)
        return sums

    def stream_interrupted(self, stream: Stream) -> None:
        """What was not done when the publisher left is not sent after it."""
        for (of, _), worker in self._workers.items():
            if of is stream:
                worker.rendition.pump()
                worker.rendition.cut()

    def close(self) -> None:
        """Stops transcoding, at shutdown."""
        for worker in list(self._workers.values()):
            worker.rendition.close("the server is shutting down")

    def _make(self, stream: Stream, codec: Codec) -> AudioRendition:
        stats = stream.renditions[codec] = RenditionStats()
        rendition = AudioRendition(
            stream.packets, stream.tracks_of, codec, self._bounds, self._schedule, stats
        )
        worker = self._workers[stream, codec] = _Worker(str(stream.key), rendition, self._submit)
        rendition.on_work = worker.wake
        rendition.on_close = lambda: self._closed(stream, codec, worker)
        return rendition

    def _closed(self, stream: Stream, codec: Codec, worker: "_Worker") -> None:
        worker.stop()
        if self._workers.get((stream, codec)) is worker:
            del self._workers[stream, codec]
            stream.renditions.pop(codec, None)
            _add(self._past, worker.stats)


class _Worker:
    """Takes the batches of one rendition to the threads and back, one at a time.

    Without a task: each turn of a busy loop between a packet and its sound costs milliseconds.
    """

    def __init__(self, name: str, rendition: AudioRendition, submit: SubmitToThread) -> None:
        self.rendition = rendition
        self.stats = rendition.stats
        self._name = name
        self._submit = submit
        self._transcoding = _Transcoding(rendition.codec)
        self._call_off: Callable[[], None] | None = None
        self._stopped = False

    def wake(self) -> None:
        """There may be something to take."""
        while not self._stopped and (batch := self.rendition.take()) is not None:
            try:
                self._call_off = self._submit(
                    partial(self._transcoding, batch), partial(self._take_back, batch)
                )
            except (LimitError, ShuttingDownError):
                self.rendition.failed(batch)
            else:
                return

    def stop(self) -> None:
        """Takes nothing any more; what a thread is busy with comes to nothing."""
        self._stopped = True
        if self._call_off is not None:
            self._call_off()
            self._call_off = None
        # FFmpeg keeps a thread for each core beside a coder: it goes now, or with the call that
        # still has it, and does not wait for the collector.
        self._transcoding = _Transcoding(self.rendition.codec)

    def _take_back(
        self, batch: AudioBatch, outcome: Outcome | None, error: BaseException | None
    ) -> None:
        self._call_off = None
        if outcome is None:  # Without sound, but with its video, the stream goes on.
            self.rendition.failed(batch)
            self._complain(f"the audio could not be converted: {error}")
        else:
            coded, fault = outcome
            self._complain(fault)
            self._transcoding.copy_counters(self.stats)
            self.rendition.done(batch, coded)
        self.wake()

    def _complain(self, fault: str) -> None:
        if fault and fault != self.stats.fault:
            logger.warning("%s: %s", self._name, fault)
        self.stats.fault = fault


class _Transcoding:
    """What a thread calls; never two at a time. Makes a transcoder for each run."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._run = -1
        self._transcoder: AudioTranscoder | None = None
        self._fault = ""
        self._busy_ns = 0
        self._past = AudioCounters()

    def __call__(self, batch: AudioBatch) -> Outcome:
        """What comes of a batch, and why nothing does."""
        began_ns = time.thread_time_ns()
        if batch.run != self._run:
            self._begin(batch)
        packets = [AudioInput(packet.pts, packet.data) for packet in batch.packets]
        coded = self._transcoder.feed(packets) if self._transcoder is not None else []
        self._busy_ns += time.thread_time_ns() - began_ns
        return [Coded(*one) for one in coded], self._fault

    def copy_counters(self, stats: RenditionStats) -> None:
        """Into what the API reads; not while a thread is busy."""
        past, now = self._past, self._transcoder
        counters = AudioCounters() if now is None else now.counters
        stats.damaged = past.damaged + counters.damaged
        stats.gaps = past.gaps + counters.gaps
        stats.restarts = past.restarts + counters.restarts
        stats.overlaps = past.overlaps + counters.overlaps
        stats.busy_ns = self._busy_ns

    def _begin(self, batch: AudioBatch) -> None:
        if self._transcoder is not None:
            self._past.add(self._transcoder.counters)
        self._run, self._transcoder, self._fault = batch.run, None, ""
        # Late: the server's start needs no FFmpeg (`assembly.late`).
        from streamserver.ffmpeg.audio import AudioTranscoder

        try:
            self._transcoder = AudioTranscoder(batch.track, self._codec)
        except RemoteProtocolError as error:
            self._fault = str(error)


class RenditionSources:
    """See `streamserver.hub.sources.Sources`: every stream with its audio in one codec."""

    def __init__(self, renditions: Renditions, codec: Codec) -> None:
        self._renditions = renditions
        self._codec = codec

    def hold(self, stream: Stream) -> SourceHold:
        """A share in what the output reads of a stream."""
        return self._renditions.hold(stream, self._codec)

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """The tracks that it would read now; not the same objects."""
        return converted(stream.tracks, self._codec)


def _add(sums: RenditionStats, stats: RenditionStats) -> None:
    for name in _SUMMED:
        setattr(sums, name, getattr(sums, name) + getattr(stats, name))
