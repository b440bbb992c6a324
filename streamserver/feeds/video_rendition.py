"""The video rendition: a stream with its pictures as H.264 for browsers, a log like its own.

::

    source log ─┬─ sound ────────────────────────────────────────► log
                └─ pictures ─► waiting ─► (another process) ─► H.264 ┘

Sound is passed on at once and is the same objects. Who transcodes is somebody else's business: he
takes one access unit after the other, a few ahead, and brings back what comes of them.

A conversion that cannot keep up loses pictures, never its place: what is late is decoded without
being shown, and where that does not help, all is left out up to the next keyframe.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from streamserver.feeds.converting import Rendition, TracksOf
from streamserver.ffmpeg.transcode_wire import (
    Begin,
    Coded,
    Configured,
    KeyframeWanted,
    Picture,
    Taken,
)
from streamserver.hub.stream import LogBounds, VideoRenditionStats
from streamserver.log import Log
from streamserver.media.h264 import track_from_avcc
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Kind, Track

__all__ = ["VideoRendition", "video_converted"]

_EXPECTED_CONFIG: Final = bytes.fromhex("0142e01fffe0")
"""avcC without parameter sets, until the first picture: constrained baseline (RFC 6184, 8.1)."""

_MAX_WAITING_MS: Final = 12_000
_MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
_MAX_WAITING: Final = 1_500
"""Pictures that wait to be taken: a group of pictures that is read at once has as much."""

_MAX_WAIT_NS: Final = 2_000_000_000
"""How long one waits at most, before all is left out up to a keyframe."""

_LATE_NS: Final = 400_000_000
_CAUGHT_UP_NS: Final = 100_000_000
"""An access unit that came longer ago is decoded, but not shown; and so are those behind it, until
one came no longer ago than the second of these: players would follow a delay up, and only slowly
down again."""

_STALE_MS: Final = 300
_SETTLING_MS: Final = 2_000
"""Sound that is so far behind the pictures when this begins is left out, for so long at most:
another conversion that begins brings some seconds of it at once, and players would keep them."""

_AHEAD: Final = 8
_AHEAD_BYTES: Final = 1024 * 1024
"""What the other process is given before it is done with the first of it."""

_TIMES_KEPT: Final = 128
"""Pictures on their way whose times of arrival are remembered."""

_LOOKED_AT: Final = 1_000
"""Packets that tell how many bits and pictures the source has in a second."""

_ENOUGH: Final = 10
_USUAL_RATE: Final = 30
_MAX_RATE: Final = 120
_LEAST_BIT_RATE: Final = 300_000
_MOST_BIT_RATE: Final = 8_000_000


def video_converted(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """The tracks with the pictures as they will be, as far as that is known before."""
    return tuple(_expected(track) if track.kind is Kind.VIDEO else track for track in tracks)


def _expected(source: Track) -> Track:
    return replace(
        source,
        codec=Codec.H264,
        clock_rate=VIDEO_CLOCK,
        config=_EXPECTED_CONFIG,
        codec_string="avc1.42E01F",
        profile="Constrained Baseline",
        bit_depth=8,
        chroma_format="4:2:0",
    )


class VideoRendition(Rendition):
    """Reads a packet log from its newest keyframe on, and fills a log of its own.

    Every epoch has the stream's number and the stream's sound. Pictures that are not done when
    their epoch is over, or when the publisher leaves, are dropped.
    """

    def __init__(
        self,
        packets: Log[Packet],
        tracks_of: TracksOf,
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
        stats: VideoRenditionStats,
    ) -> None:
        """``packets`` and ``tracks_of`` are those of what is converted."""
        super().__init__(packets, tracks_of, video_converted, bounds, schedule)
        self.stats = stats
        self._has_video = False
        self._source: Track | None = None
        """The track that is converted; None in an epoch without pictures."""
        self._target: Track | None = None
        self._started = False
        self._run = 0
        self._begun = -1
        """The run that the other process was told of last."""
        self._reached = -1
        self._needs_keyframe = True
        self._keyframe_wanted = False
        self._catching_up = True
        self._has_shown = False
        """Whether this run has; before, it catches up with what came when nobody watched."""
        self._has_sounded = False
        self._first_ms = self._newest_ms = -1
        """Log time of the newest picture: when this began, and now."""
        self._waiting: deque[tuple[int, Packet]] = deque()
        """With the monotonic time since when each waits."""
        self._waiting_bytes = 0
        self._ahead: deque[int] = deque()
        """The sizes of what was taken and is not done."""
        self._times: dict[int, tuple[int, int]] = {}
        """Time of arrival and duration of what was taken, by the time to show it."""

    @property
    def ahead(self) -> int:
        """Access units that were taken and are not done."""
        return len(self._ahead)

    # ---- what comes in ----------------------------------------------------------------------

    def pump(self) -> None:
        """Takes what came since the last call."""
        lost = self._skip_lost()
        if lost:
            self.stats.missed += lost
            self._needs_keyframe = True
        news = self._news()
        # What is read in one go arrived at different times, but has waited for us alike.
        now_ns = news[-1].received_ns if news else 0
        for packet in news:
            if packet.track.epoch != self._epoch:
                self._begin(packet.track.epoch)
            if packet.track is self._source:
                self._newest_ms = packet.dts_ms
                self._wait(packet, now_ns)
            elif self._has_sounded or not self._is_stale(packet):
                self._has_sounded = True
                self._append(packet)
        if self._first_ms < 0:
            self._first_ms = self._newest_ms
        if self._waiting:
            self.on_work()

    def start(self, now_ns: int) -> None:
        """Somebody takes from now on: he begins with the newest keyframe."""
        self._started = True
        self._new_run()
        newest = self._packets.newest_keyframe
        if newest is not None and newest < self._position:
            for packet in self._packets.since(newest, self._position - newest):
                if packet.track is self._source:
                    self._wait(packet, now_ns)

    def stop(self) -> None:
        """Nobody takes any more; what was taken comes to nothing."""
        self._started = False
        self.stats.dropped += len(self._ahead)
        self._ahead.clear()
        self._new_run()

    def cut(self) -> None:
        """The publisher is gone, for now: what is not done belongs to the past."""
        self._new_run()

    def request_keyframe(self) -> None:
        """A viewer cannot go on, or begin, without one."""
        self._keyframe_wanted = True
        self.on_work()

    # ---- what goes out and comes back -------------------------------------------------------

    def take(self, now_ns: int) -> Begin | Coded | KeyframeWanted | None:
        """What is to be said next to who transcodes; None while he has enough, or all."""
        if not self._started:
            return None
        if self._keyframe_wanted and self._begun == self._run:
            self._keyframe_wanted = False
            return KeyframeWanted()
        full = len(self._ahead) >= _AHEAD or sum(self._ahead) > _AHEAD_BYTES
        if not self._waiting or self._source is None or (full and self._ahead):
            return None
        if self._begun != self._run:
            self._begun = self._run
            self._keyframe_wanted = False  # Every run begins with one.
            self.stats.fault = ""
            return self._beginning(self._source)
        packet = self._waiting.popleft()[1]
        self._waiting_bytes -= len(packet.data)
        self._ahead.append(len(packet.data))
        most_ns = _CAUGHT_UP_NS if self._catching_up else _LATE_NS
        # The last one is shown in any case: where nothing follows, it is what stays.
        late = now_ns - packet.received_ns > most_ns and bool(self._waiting)
        self._catching_up = late
        self.stats.skipped += late
        self.stats.behind += late and self._has_shown
        if not late:
            self._has_shown = True
            self._times[packet.pts] = packet.received_ns, packet.duration
            if len(self._times) > _TIMES_KEPT:
                del self._times[next(iter(self._times))]
        return Coded(packet.pts, packet.dts, late, packet.data)

    def taken(self, taken: Taken) -> None:
        """One access unit is done with."""
        if self._ahead:
            self._ahead.popleft()
        self.stats.packets_in += 1
        self.stats.damaged += taken.damaged
        self.stats.busy_us += taken.busy_us

    def configured(self, configured: Configured) -> None:
        """How pictures are coded from here on. Raises `RemoteProtocolError`."""
        if configured.run != self._run:
            return
        tracks = self.tracks_of(self._epoch)
        target = next((track for track in tracks if track.config == configured.config), None)
        if target is None:
            target = track_from_avcc(configured.config, self._epoch)
            self._tracks[self._epoch] = tuple(
                target if track.kind is Kind.VIDEO else track for track in tracks
            )
        self._target = target

    def picture(self, picture: Picture) -> None:
        """A picture is done. One of a run that is over is dropped."""
        target = self._target
        if picture.run != self._run or target is None or picture.pts <= self._reached:
            self.stats.late += 1
            return
        self._reached = picture.pts
        self.stats.pictures_out += 1
        received_ns, duration = self._times.pop(picture.pts, (0, 0))
        if not received_ns and self._packets.end > self._packets.start:
            newest = self._packets.get(self._packets.end - 1)
            received_ns = newest.received_ns if newest is not None else 0
        self._append(
            Packet(
                target, picture.pts, picture.pts, duration, picture.keyframe, picture.data,
                received_ns,
            )
        )  # fmt: skip

    # ---- within -----------------------------------------------------------------------------

    def _begin(self, epoch: int) -> None:
        """A new epoch: what belongs to the one before may come no more."""
        self._new_run()
        self._epoch, self._reached = epoch, -1
        source = self._source_tracks_of(epoch)
        self.tracks_of(epoch)
        self._source = next((track for track in source if track.kind is Kind.VIDEO), None)
        self._has_video = self._source is not None

    def _new_run(self) -> None:
        self._run += 1
        self._target = None
        self._has_shown = False
        self._needs_keyframe = True
        self.stats.dropped += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._times.clear()

    def _is_stale(self, packet: Packet) -> bool:
        behind_ms = self._newest_ms - packet.dts_ms
        return behind_ms > _STALE_MS and self._newest_ms - self._first_ms < _SETTLING_MS

    def _wait(self, packet: Packet, now_ns: int) -> None:
        if not self._started or (self._needs_keyframe and not packet.keyframe):
            self.stats.dropped += self._started
            return
        self._needs_keyframe = False
        waiting = self._waiting
        waiting.append((now_ns, packet))
        self._waiting_bytes += len(packet.data)
        if (
            now_ns - waiting[0][0] > _MAX_WAIT_NS
            or packet.dts_ms - waiting[0][1].dts_ms > _MAX_WAITING_MS
            or self._waiting_bytes > _MAX_WAITING_BYTES
            or len(waiting) > _MAX_WAITING
        ):
            self._fall_behind()

    def _fall_behind(self) -> None:
        """Goes on at the newest keyframe that waits, or at the next one that comes."""
        waiting = self._waiting
        newest = max((at for at, (_, one) in enumerate(waiting) if one.keyframe), default=0)
        left_out = newest or len(waiting)
        for _ in range(left_out):
            self._waiting_bytes -= len(waiting.popleft()[1].data)
        self.stats.dropped += left_out
        self.stats.behind += left_out
        self._needs_keyframe = not waiting

    def _beginning(self, source: Track) -> Begin:
        log = self._packets
        recent = [one for one in log.since(log.end - _LOOKED_AT) if one.track is source]
        ticks = recent[-1].dts - recent[0].dts if recent else 0
        frame_rate, bit_rate = source.frame_rate or _USUAL_RATE, 0
        if len(recent) >= _ENOUGH and ticks:
            frame_rate = (len(recent) - 1) * VIDEO_CLOCK // ticks
            # The last one's time is not over, so its bits do not count.
            bits = sum(len(one.data) for one in recent[:-1]) * 8
            bit_rate = bits * VIDEO_CLOCK // ticks
        if not bit_rate:
            bit_rate = 2 * source.width * source.height
        # An encoder in a hurry needs more than who had time; one of a newer codec had less to say.
        bit_rate = bit_rate * 5 // 4 if source.codec is Codec.H264 else bit_rate * 2
        return Begin(
            self._run,
            source.codec.value,
            source.config,
            max(_LEAST_BIT_RATE, min(_MOST_BIT_RATE, bit_rate)),
            max(1, min(_MAX_RATE, int(frame_rate))),
        )

    def _append(self, packet: Packet) -> None:
        if self.log.closed is not None:
            return
        entry = packet.keyframe and (packet.is_video or not self._has_video)
        self.log.append(packet, size=len(packet.data), at_ms=packet.dts_ms, keyframe=entry)
