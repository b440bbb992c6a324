"""Samples that wait for their part, with the times that they will have in the file."""

from typing import Final

from streamserver.feeds.cmaf.entries import timescale
from streamserver.feeds.cmaf.fragment import NON_SYNC, SYNC, AudioRun, VideoRun
from streamserver.feeds.cmaf.frames import fixed_frame, frame_samples
from streamserver.feeds.cmaf.settings import CmafCounters
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Track

__all__ = [
    "DRIFT",
    "NEVER",
    "ROUNDING",
    "SAMPLE_COST",
    "SHORTEST_INTERVAL",
    "SLOWEST",
    "AudioQueue",
    "VideoQueue",
]

NEVER: Final = -(1 << 62)
"""The end of a track that has not begun: before every time."""

_USUAL: Final = VIDEO_CLOCK // 30
ROUNDING: Final = VIDEO_CLOCK // 1_000
"""Time stamps of RTMP are whole milliseconds: intervals differ by so much without meaning it."""

SLOWEST: Final = VIDEO_CLOCK
"""A longer distance of two frames is a silence, and says nothing about the rate."""

SHORTEST_INTERVAL: Final = 90
"""Frames come a millisecond apart at least, as far as lengths are planned."""

DRIFT: Final = 4_096
"""Samples that audio's time stamps may differ from its sample clock before it is set anew."""

SAMPLE_COST: Final = 64
"""What a sample weighs beside its bytes, so that empty ones are bounded as well."""


class VideoQueue:
    """Video samples of the part to come.

    The last sample of a part is written before the next frame shows how long it lasts. Its length
    is the shortest interval seen of late; the first sample of the next part starts where that ends
    and absorbs the error, so decoding times have neither gap nor overlap. Composition offsets are
    taken from the written time, so presentation times are exact.
    """

    __slots__ = (
        "_counters", "_declared", "_track_id", "data", "end", "interval", "last", "lead",
        "measured", "shortest", "start", "table", "track", "weight", "written",
    )  # fmt: skip

    def __init__(self, track: Track, track_id: int, counters: CmafCounters) -> None:
        self._track_id = track_id
        self._counters = counters
        rate = track.frame_rate
        self._declared = int(VIDEO_CLOCK / rate) if rate is not None and rate > 0 else _USUAL
        self.track = track
        """What it holds frames of."""
        self.measured = False
        """Whether `interval` and `shortest` come from frames."""
        self.shortest = 0
        """The shortest distance of two frames seen of late."""
        self.table: list[int] = []
        self.data: list[bytes] = []
        self.weight = 0
        """Bytes waiting, and a little for each sample."""
        self.start = 0
        """Written decoding time of the first sample waiting."""
        self.written = NEVER
        """Written decoding time of the newest sample."""
        self.end = NEVER
        """Where the last run that was taken ends."""
        self.last = 0
        """True decoding time of the newest frame."""
        # A declared rate may be anything; the second frame shows the real one.
        self.interval = min(max(self._declared, SHORTEST_INTERVAL), _USUAL)
        """Ticks from frame to frame, smoothed."""
        self.lead = self.interval
        """Ticks that the newest frame lasts at least, as far as one can tell."""

    def nominal(self) -> int:
        """Ticks from frame to frame: what the bitstream declares, unless frames say otherwise."""
        declared = self._declared
        return declared if abs(self.interval - declared) * 20 <= declared else self.interval

    def measure(self, dts: int) -> None:
        """Learns from the distance of a frame to the one before."""
        step = dts - self.last
        self.last = dts
        if step > SLOWEST:
            return
        if self.measured:
            interval = self.interval + (step - self.interval + 4 >> 3)
            shortest = self.shortest
            shortest = step if step < shortest else shortest + (interval - shortest - ROUNDING >> 6)
        else:
            self.measured = True
            interval = shortest = step
        self.shortest = shortest
        if interval < SHORTEST_INTERVAL:
            interval = SHORTEST_INTERVAL
        self.interval = interval
        half = interval >> 1
        self.lead = shortest if shortest > half else half

    def append(self, packet: Packet, reach: int) -> None:
        """Adds a frame; within ``reach`` ticks it joins the run before without a hole."""
        dts = packet.dts
        data = packet.data
        if self.data:
            # Decoding times only grow, by a tick at least.
            step = dts - self.written
            if step < 1:
                step = 1
            self.table[-4] = step
            self.written = written = self.written + step
        else:
            self.start = self.written = written = self._begin(dts, reach)
        flags = SYNC if packet.keyframe else NON_SYNC
        self.table += (0, len(data), flags, packet.pts - written)
        self.data.append(data)
        self.weight += len(data) + SAMPLE_COST

    def take(self, end: int) -> VideoRun | None:
        """The samples waiting, the last of them lasting until ``end``."""
        if not self.data:
            return None
        last = max(end - self.written, 1)
        self.table[-4] = last
        self.end = self.written + last
        run = VideoRun(self._track_id, self.start, self.table, self.data)
        self.table, self.data, self.weight = [], [], 0
        return run

    def _begin(self, dts: int, reach: int) -> int:
        if self.end == NEVER or self.end - self.interval <= dts <= self.end + reach:
            return dts if self.end == NEVER else self.end
        if dts > self.end:
            self._counters.video_holes += 1
            return dts
        # The sample before was stretched over the time of this one: its length was wrong, the
        # order of decoding is not.
        self._counters.video_late += 1
        return max(dts, self.written + 1)


class AudioQueue:
    """Audio samples of the parts to come, on a clock that counts samples.

    Time stamps in milliseconds jitter by one; frames do not. All times here are ticks of the
    file's track, which is what the frames count in.
    """

    __slots__ = (
        "_clock", "_track_id", "data", "durations", "end", "fixed", "rate", "scaled", "start",
        "track", "weight",
    )  # fmt: skip

    def __init__(self, track: Track, track_id: int) -> None:
        self._track_id = track_id
        self._clock = track.clock_rate
        self.track = track
        """What it holds frames of."""
        self.fixed = fixed_frame(track)
        """Ticks of every frame; 0 where they vary."""
        self.rate = timescale(track)
        """Ticks per second."""
        self.scaled = self.rate != track.clock_rate
        """Whether packets count in another clock than the file."""
        self.data: list[bytes] = []
        self.durations: list[int] = []
        self.weight = 0
        """Bytes waiting, and a little for each sample."""
        self.start = 0
        """Time of the first sample waiting."""
        self.end = NEVER
        """Where the newest sample ends, and the next begins."""

    def frame(self, packet: Packet) -> int:
        """Samples in a frame: as the packet says, or its codec."""
        if packet.duration:
            return self.rescale(packet.duration) if self.scaled else packet.duration
        return self.fixed or frame_samples(packet)

    def rescale(self, ticks: int) -> int:
        """The packets' clock in ticks of the file."""
        return ticks * self.rate // self._clock

    def append(self, data: bytes, frame: int) -> None:
        """Adds a frame where the one before ends."""
        if not self.data:
            self.start = self.end
        self.data.append(data)
        self.durations.append(frame)
        self.end += frame
        self.weight += len(data) + SAMPLE_COST

    def skip_to(self, at: int) -> None:
        """Goes on at a later time; what waits is stretched to it."""
        if self.data:
            self.durations[-1] += at - self.end
        self.end = at

    def take(self, limit: int) -> AudioRun | None:
        """The samples that begin before ``limit``."""
        data, durations = self.data, self.durations
        count, at = len(data), self.end
        while count and at - durations[count - 1] >= limit:
            count -= 1
            at -= durations[count]
        if not count:
            return None
        if count == len(data):
            self.data, self.durations, self.weight = [], [], 0
        else:
            self.data, self.durations = data[count:], durations[count:]
            data, durations = data[:count], durations[:count]
            self.weight = sum(map(len, self.data)) + SAMPLE_COST * len(self.data)
        run = AudioRun(self._track_id, self.start, durations, data)
        self.start = at
        return run
