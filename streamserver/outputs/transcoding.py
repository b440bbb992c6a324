"""Pictures for browsers that could not play them: one H.264 rendition per stream, on demand.

Each runs in a process of its own, as long as somebody watches it and some seconds longer.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Final

from streamserver.clock import Clock
from streamserver.errors import (
    LimitError,
    RemoteProtocolError,
    StreamServerError,
    UnplayableError,
)
from streamserver.feeds.video_rendition import VideoRendition, video_converted
from streamserver.ffmpeg.transcode_wire import (
    MAX_PIXELS,
    Configured,
    Fault,
    Picture,
    RecordReader,
    Taken,
    to_bytes,
)
from streamserver.hub.feeds import FeedHold, FeedPool
from streamserver.hub.registry import StreamListener
from streamserver.hub.sources import Sources
from streamserver.hub.stream import LogBounds, Schedule, Stream, VideoRenditionStats
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track
from streamserver.net.backoff import Backoff
from streamserver.outputs.transcode_child import Child, open_child

__all__ = ["ConvertedHold", "VideoRenditions"]

logger = logging.getLogger(__name__)

_LINGER_NS: Final = 8_000_000_000
"""How long the conversion goes on that nobody watches: a page that is loaded again finds it."""

_HANGS_NS: Final = 20_000_000_000
"""A process that is not done with anything for so long is ended."""

_STEADY_NS: Final = 30_000_000_000
"""One that lived this long was no failure at once: the next is started soon."""

_SUMMED: Final = tuple(one.name for one in fields(VideoRenditionStats) if one.type in (int, "int"))


class ConvertedHold:
    """One reader's share in a stream with converted pictures."""

    def __init__(self, share: FeedHold[VideoRendition]) -> None:
        self._share = share

    @property
    def packets(self) -> Log[Packet]:
        """The log."""
        return self._share.feed.log

    def request_keyframe(self) -> bool:
        """Asks for a keyframe; True, since that can be done."""
        self._share.feed.request_keyframe()
        return True

    def release(self) -> None:
        """Gives it back. A second call does nothing."""
        self._share.release()


class VideoRenditions(StreamListener):
    """Shares in streams with their pictures as H.264 for browsers.

    Give it to the registry behind what it reads from and before the outputs, as `Renditions`.
    """

    def __init__(
        self,
        *,
        sources: Sources,
        clock: Clock,
        schedule: Schedule,
        bounds: LogBounds,
        on_error: Callable[[Exception], None],
        most: int,
        open_child: Callable[[], Awaitable[Child]] = open_child,
        between: Callable[[int, int], int] = random.randint,
    ) -> None:
        """``sources`` are streams with sound that WebRTC carries; ``bounds`` are those of each
        rendition's log; ``most`` is how many streams may be converted at once; ``between`` is
        `Backoff`'s."""
        self._sources = sources
        self._clock = clock
        self._schedule = schedule
        self._bounds = bounds
        self._open_child = open_child
        self._between = between
        self._most = most
        self._pool = FeedPool(clock.monotonic_ns, on_error, linger_ns=_LINGER_NS)
        self._workers: dict[Stream, _Worker] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._past = VideoRenditionStats()

    def __len__(self) -> int:
        return len(self._workers)

    def check(self, stream: Stream) -> None:
        """Raises `UnplayableError` for pictures that are too large to be converted, and
        `LimitError` where as many streams are converted as may be."""
        for track in stream.tracks:
            if track.width * track.height > MAX_PIXELS:
                raise UnplayableError(
                    f"Browsers cannot play the video as it is, and {track.width}x{track.height} "
                    "pixels are too many to be converted. In OBS: Settings → Video → Output "
                    "(Scaled) Resolution."
                )
        if stream not in self._workers and len(self._workers) >= self._most:
            raise LimitError(
                f"The server converts the video of {self._most} other streams already, and "
                "browsers cannot play this one as it is."
            )

    def hold(self, stream: Stream) -> ConvertedHold:
        """A share in a stream with its pictures converted."""
        source = self._sources.hold(stream)

        def make() -> VideoRendition:
            return self._make(stream, source.packets, source.tracks_of)

        parent = source.share
        return ConvertedHold(self._pool.hold(source.packets, "video", make, parent=parent))

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """The tracks that it would have now, as far as they are known."""
        return video_converted(self._sources.tracks(stream))

    def totals(self) -> VideoRenditionStats:
        """Sums over all streams, those that are over too."""
        sums = VideoRenditionStats()
        for stats in (self._past, *(worker.stats for worker in self._workers.values())):
            _add(sums, stats)
        return sums

    @property
    def held_bytes(self) -> int:
        """Bytes in the logs, pictures and sound."""
        return sum(worker.rendition.log.bytes for worker in self._workers.values())

    def tick(self, now_ns: int) -> None:
        """Lets those go that nobody watches, and ends processes that hang."""
        self._pool.tick(now_ns)
        for worker in self._workers.values():
            worker.tick(now_ns)

    def stream_started(self, stream: Stream) -> None:
        """From now on its health says that it may be converted."""
        stream.conversion = VideoRenditionStats()

    def stream_interrupted(self, stream: Stream) -> None:
        """What was not done when the publisher left is not sent after it."""
        worker = self._workers.get(stream)
        if worker is not None:
            worker.rendition.pump()
            worker.rendition.cut()

    async def close(self) -> None:
        """Ends every conversion, and waits until the processes are gone."""
        self._pool.close("the server is shutting down")
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _make(
        self,
        stream: Stream,
        packets: Log[Packet],
        tracks_of: Callable[[int], tuple[Track, ...]],
    ) -> VideoRendition:
        stats = stream.conversion = VideoRenditionStats(running=1)
        rendition = VideoRendition(packets, tracks_of, self._bounds, self._schedule, stats)
        worker = _Worker(
            str(stream.key), rendition, self._clock, self._open_child, Backoff(self._between)
        )
        self._workers[stream] = worker
        rendition.on_work = worker.wake
        rendition.on_close = lambda: self._closed(stream, worker)
        return rendition

    def _closed(self, stream: Stream, worker: "_Worker") -> None:
        task = worker.stop()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        worker.stats.running = 0
        if self._workers.get(stream) is worker:
            del self._workers[stream]
            stream.conversion = VideoRenditionStats()
        _add(self._past, worker.stats)


class _Worker:
    """Has one process after the other convert for one rendition."""

    def __init__(
        self,
        name: str,
        rendition: VideoRendition,
        clock: Clock,
        open_child: Callable[[], Awaitable[Child]],
        backoff: Backoff,
    ) -> None:
        self.rendition = rendition
        self.stats = rendition.stats
        self._name = name
        self._now_ns = clock.monotonic_ns
        self._open_child = open_child
        self._backoff = backoff
        self._child: Child | None = None
        self._progress_ns = 0
        self._task = asyncio.get_running_loop().create_task(self._work(), name="transcode")

    def wake(self) -> None:
        """There may be something to take."""
        child, rendition = self._child, self.rendition
        if child is None:
            return
        now_ns = self._now_ns()
        while (record := rendition.take(now_ns)) is not None:
            if rendition.ahead <= 1:  # Before, there was nothing to be done.
                self._progress_ns = now_ns
            child.write(to_bytes(record))

    def tick(self, now_ns: int) -> None:
        """Ends a process that hangs."""
        hangs = self.rendition.ahead and now_ns - self._progress_ns > _HANGS_NS
        if self._child is not None and hangs:
            self._progress_ns = now_ns
            self._child.kill()

    def stop(self) -> asyncio.Task[None]:
        """Ends it; the task that is answered is done once the process is gone."""
        self._task.cancel()
        return self._task

    async def _work(self) -> None:
        while True:
            began_ns = self._now_ns()
            try:
                words = await self._live()
            except (OSError, StreamServerError) as error:
                words = str(error)
            if self._now_ns() - began_ns > _STEADY_NS:
                self._backoff.reset()
            self.stats.restarts += 1
            wait_ms = self._backoff.next_ms()
            logger.warning(
                "%s: the process that converts the video ended: %s; another is started in %d ms",
                self._name, words or "without a word", wait_ms,
            )  # fmt: skip
            await asyncio.sleep(wait_ms / 1000)

    async def _live(self) -> str:
        """The life of one process; answers its last words."""
        child = await self._open_child()
        words = ""
        try:
            self._progress_ns = self._now_ns()
            self._child = child
            self.rendition.start(self._progress_ns)
            self.wake()
            reader = RecordReader()
            while data := await child.read():
                self._progress_ns = self._now_ns()
                for record in reader.feed(data):
                    self._take(record)
                self.wake()
        finally:
            self._child = None
            self.rendition.stop()
            words = await child.close()
        return words

    def _take(self, record: object) -> None:
        match record:
            case Picture():
                self.rendition.picture(record)
            case Taken():
                self.rendition.taken(record)
            case Configured():
                self.rendition.configured(record)
            case Fault():
                if record.words != self.stats.fault:
                    logger.warning("%s: %s", self._name, record.words)
                self.stats.fault = record.words
            case _:
                raise RemoteProtocolError(f"a {type(record).__name__} came from it")


def _add(sums: VideoRenditionStats, stats: VideoRenditionStats) -> None:
    for name in _SUMMED:
        setattr(sums, name, getattr(sums, name) + getattr(stats, name))
