"""A stream: the log of a publisher's packets, and what is known about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streamserver.errors import LocalProtocolError
from streamserver.hub.keyframes import KeyframeDemand
from streamserver.hub.rates import FrameMeter, RateMeter
from streamserver.hub.sessions import Session
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.timeline import Timeline
from streamserver.media.track import Codec, Kind, Track
from streamserver.names import StreamKey

__all__ = [
    "LogBounds",
    "RenditionStats",
    "Schedule",
    "Stream",
    "StreamState",
    "TrackStats",
    "VideoRenditionStats",
]

Schedule = Callable[[Callable[[], None]], None]
"""Calls a function once, at the end of this turn of the loop."""

_VIDEO: Final = Kind.VIDEO
"""Python 3.11 takes eight times as long to find a member through its class."""

_EPOCHS_KEPT: Final = 16
"""Epochs whose tracks are remembered; a log bounded in seconds holds few of them."""


_NOTES_KEPT: Final = 32
"""Names of oddities that are counted apart."""


class StreamState(StrEnum):
    """What the API says of a stream."""

    IDLE = "idle"
    """Claimed, but no media yet; or registered and not published."""

    LIVE = "live"
    """Media arrives."""

    INTERRUPTED = "interrupted"
    """The publisher is gone and may come back within the reconnect window."""

    ENDED = "ended"
    """Over; the object will not be used again."""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """How much of a stream is held in memory."""

    max_ms: int = 12_000
    """Milliseconds of media; more than OBS's default group of pictures of 8.33 s."""

    max_bytes: int = 16 * 1024 * 1024
    """Bytes of media; where one group of pictures is larger, this bound wins."""


@dataclass(slots=True, eq=False)
class TrackStats:
    """What was measured on one kind of track since the stream began."""

    rate: RateMeter
    """Bit rate."""

    packets: int = 0
    """Packets appended."""

    bytes: int = 0
    """Bytes appended."""


@dataclass(slots=True, eq=False)
class RenditionStats:
    """What was measured on one audio rendition of a stream since it began."""

    source: Codec | None = None
    """What is converted now; None where nothing has to be."""

    fault: str = ""
    """Why the publisher's audio cannot be converted, as a sentence; empty when it can."""

    packets_in: int = 0
    """Packets that were transcoded."""

    packets_out: int = 0
    """Packets that came of them and were in time."""

    dropped: int = 0
    """Packets left out because too many waited, or the threads had too much to do."""

    late: int = 0
    """Packets left out because their epoch was over when they were done."""

    missed: int = 0
    """Packets that had left the stream's log before they were read."""

    damaged: int = 0
    """Packets that could not be decoded."""

    gaps: int = 0
    """Gaps that were filled with silence."""

    restarts: int = 0
    """Gaps that were too long for that."""

    overlaps: int = 0
    """Packets left out because their time was filled already."""

    busy_ns: int = 0
    """Processor time, in nanoseconds."""


@dataclass(slots=True, eq=False)
class VideoRenditionStats:
    """What was measured on converting the pictures of a stream since it began."""

    running: int = 0
    """1 while somebody watches and a process converts."""

    fault: str = ""
    """Why the pictures cannot be converted, as a sentence; empty when they can."""

    packets_in: int = 0
    """Access units that the process was done with."""

    pictures_out: int = 0
    """Pictures that came of them and were in time."""

    skipped: int = 0
    """Access units that were decoded but not shown, since they came too late for that."""

    dropped: int = 0
    """Access units left out up to a keyframe because too many waited, or no process was there."""

    behind: int = 0
    """How many of these were skipped or dropped since the process had too much to do, not because
    it was beginning."""

    late: int = 0
    """Pictures left out because their epoch was over when they were done."""

    missed: int = 0
    """Packets that had left the stream's log before they were read."""

    damaged: int = 0
    """Access units that could not be decoded."""

    restarts: int = 0
    """Times that the process ended, or hung, and another took its place."""

    busy_us: int = 0
    """Processor time, in microseconds."""


@dataclass(slots=True, eq=False)
class Stream:
    """One broadcast of one name. Appending is synchronous; readers come later, on their own."""

    key: StreamKey
    """Its name."""

    session_id: str
    """One broadcast as people see it; survives a reconnect of the publisher."""

    generation: int
    """Who holds the right to append: grows with every publish of the name."""

    packets: Log[Packet]
    """The log."""

    wall_origin_ns: int
    """Unix time of the log's time zero: dates are this plus log time. Set with the first packet."""

    origin_ns: int
    """Monotonic time of the log's time zero; until the first packet, when the name was claimed."""

    timeline: Timeline = field(default_factory=Timeline)
    """Places the packets of one publisher after the other on the log's time line."""

    keyframes: KeyframeDemand = field(default_factory=KeyframeDemand)
    """How often readers need a keyframe; a publisher that makes them on request listens."""

    publisher: Session | None = None
    """Who appends now; None while interrupted."""

    state: StreamState = StreamState.IDLE
    """Whether media arrives."""

    epoch: int = -1
    """The discontinuity in the media that readers are in; -1 before the first."""

    tracks: tuple[Track, ...] = ()
    """The tracks of the current epoch, video first."""

    last_packet_ns: int = 0
    """Monotonic time of the newest packet; 0 before the first."""

    keyframe_interval_ms: int = 0
    """Distance of the last two video keyframes; 0 before the second."""

    stats: dict[str, TrackStats] = field(default_factory=dict)
    """Measurements by kind of track."""

    frames: FrameMeter = field(default_factory=FrameMeter)
    """Video frames of the current epoch, by their timestamps."""

    health_notes: dict[str, int] = field(default_factory=dict)
    """Named oddities that the ingest met, with how often."""

    renditions: dict[Codec, RenditionStats] = field(default_factory=dict)
    """Audio renditions that run, by what they convert to."""

    conversion: VideoRenditionStats | None = None
    """How its pictures are converted where players need that; None where that is never done."""

    _epochs: dict[int, tuple[Track, ...]] = field(default_factory=dict)
    _last_keyframe_ms: int | None = None
    _has_video: bool = False
    _video: Track | None = None

    def tracks_of(self, epoch: int) -> tuple[Track, ...]:
        """The tracks of a recent epoch; the current ones when it is forgotten."""
        return self._epochs.get(epoch, self.tracks)

    def begin_epoch(self, tracks: tuple[Track, ...]) -> None:
        """Declares the tracks that packets belong to from here on.

        Raises `LocalProtocolError` when they do not carry the next epoch's number.
        """
        epoch = self.epoch + 1
        if not tracks or any(track.epoch != epoch for track in tracks):
            raise LocalProtocolError(f"the tracks of epoch {epoch} must carry its number")
        self.epoch = epoch
        self.tracks = tracks
        self._epochs[epoch] = tracks
        self._epochs.pop(epoch - _EPOCHS_KEPT, None)
        self._has_video = tracks[0].codec.kind == "video"
        pictures = [track for track in tracks if track.codec.kind is _VIDEO]
        self._video = pictures[0] if len(pictures) == 1 else None
        self._last_keyframe_ms = None
        self.frames = FrameMeter()

    def append(self, packet: Packet) -> int:
        """Adds a packet of the current epoch and answers its position."""
        track, received_ns = packet.track, packet.received_ns
        at_ms = packet.dts * 1000 // track.clock_rate
        is_video = track.codec.kind is _VIDEO
        kind = "video" if is_video else "audio"
        size = len(packet.data)
        self._count(kind, 1, size, received_ns)
        self.last_packet_ns = received_ns
        if is_video:
            self.frames.add(at_ms)
        # Without video a reader can begin anywhere; with it, only where a decoder can.
        entry = packet.keyframe and (is_video or not self._has_video)
        if entry and is_video:
            self._measure_keyframes(at_ms)
        return self.packets.append(packet, size=size, at_ms=at_ms, keyframe=entry)

    def extend(self, packets: Sequence[Packet]) -> None:
        """Adds a run of packets of the current epoch, with the same effect as `append` of each.

        Times of arrival do not fall. What came together is measured once; a run that did not is
        added packet by packet.
        """
        if not packets:
            return
        received_ns = packets[0].received_ns
        video = self._video
        if packets[-1].received_ns != received_ns or (video is None and self._has_video):
            for packet in packets:
                self.append(packet)
            return
        sizes: list[int] = []
        times: list[int] = []
        # Log times of pictures, and the places of those that a decoder can begin with.
        pictures: list[int] = []
        entries: list[int] = []
        video_bytes = 0
        for packet in packets:
            track = packet.track
            at_ms = packet.dts * 1000 // track.clock_rate
            size = len(packet.data)
            if track is video:
                video_bytes += size
                pictures.append(at_ms)
                if packet.keyframe:
                    entries.append(len(sizes))
            elif video is None and packet.keyframe:
                entries.append(len(sizes))
            sizes.append(size)
            times.append(at_ms)
        if pictures:
            self._count("video", len(pictures), video_bytes, received_ns)
            self.frames.extend(pictures)
            for index in entries:
                self._measure_keyframes(times[index])
        if len(pictures) < len(sizes):
            self._count("audio", len(sizes) - len(pictures), sum(sizes) - video_bytes, received_ns)
        self.last_packet_ns = received_ns
        self.packets.extend(packets, sizes=sizes, at_ms=times, keyframes=entries)

    def fill(self, packet: Packet) -> int:
        """Adds a packet of the current epoch that no publisher sent: it counts for nobody."""
        is_video = packet.is_video
        return self.packets.append(
            packet,
            size=len(packet.data),
            at_ms=packet.dts_ms,
            keyframe=packet.keyframe and (is_video or not self._has_video),
        )

    def note(self, what: str) -> None:
        """Counts an oddity of the media, for health and metrics.

        Names may hold a peer's words, so there is room for few of them.
        """
        if what in self.health_notes or len(self.health_notes) < _NOTES_KEPT:
            self.health_notes[what] = self.health_notes.get(what, 0) + 1

    def bit_rate(self, now_ns: int) -> int:
        """Bits per second over all tracks, averaged over the last seconds."""
        return sum(stats.rate.bits_per_second(now_ns) for stats in self.stats.values())

    @property
    def received_bytes(self) -> int:
        """Bytes of media appended since the broadcast began."""
        return sum(stats.bytes for stats in self.stats.values())

    def _count(self, kind: str, packets: int, size: int, received_ns: int) -> None:
        stats = self.stats.get(kind)
        if stats is None:
            stats = self.stats[kind] = TrackStats(RateMeter(received_ns))
        stats.packets += packets
        stats.bytes += size
        stats.rate.add(size, received_ns)

    def _measure_keyframes(self, at_ms: int) -> None:
        if self._last_keyframe_ms is not None:
            self.keyframe_interval_ms = at_ms - self._last_keyframe_ms
        self._last_keyframe_ms = at_ms
