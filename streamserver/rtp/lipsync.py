"""One time line for the sources of a peer, from their time stamps and sender reports.

The time stamps of each source begin anywhere. Until sender reports of both have come, a source
lies where its first packet arrived; then the reports say which time stamps belong together
(RFC 3550, section 6.4.1), and video is moved until it fits. Audio never is: its packets follow
each other without a gap, and people hear one that is stretched.

Browsers do not know when sound was recorded. They take its last packet to be as old as it was sent
ago, and a packet that a busy machine sent 200 ms late makes the next report wrong by as much, for
the five seconds until another comes. Whoever saw that packet arrive knows how late it was, beside
those around it: so a report tells a range, from there to what it says, and what is believed only
moves when it lies outside.
"""

from typing import Final

__all__ = ["LipSync", "SourceClock"]

_SECOND: Final = 1_000_000_000
_MS: Final = 1_000_000

_SLEW: Final = 16
"""Video is moved by at most a sixteenth of the time between two frames: nobody sees it, and time
stamps keep their order."""

_FAST_SLEW: Final = 4
_FAR_NS: Final = 45 * _MS
"""Further apart than this, people see it (ITU-R BT.1359): a quarter is the lesser evil then."""

_MAX_ERROR_NS: Final = 2 * _SECOND
"""Sender reports that put sources further apart than this, against their arrival, are wrong."""

_FLOOR_NS: Final = 1_500 * _MS
"""What is the fastest of this long, and of as long before it, has met no queue."""

_LEAST_LOSS_NS: Final = 30 * _MS
"""Sound that lost less shows it with its next report; busy machines look alike until then."""


class SourceClock:
    """Where the time stamps of one source lie on the time line."""

    __slots__ = (
        "_before", "_floor", "_floor_ns", "_is_sound", "_last", "_offset", "_target", "_transit",
        "_wall", "clock_rate",
    )  # fmt: skip

    def __init__(self, clock_rate: int, *, is_sound: bool = False) -> None:
        self.clock_rate = clock_rate
        """Ticks per second of the source, and of what `place` answers."""
        self._is_sound = is_sound
        # What to add to time stamps; where it shall get to.
        self._offset: int | None = None
        self._target = 0
        self._last = 0
        # What to add to time stamps in ns: for the peer's wall clock, for the newest arrival, and
        # for the fastest of these since a while, and of the while before that.
        self._wall: int | None = None
        self._transit = 0
        self._floor = self._before = 0
        self._floor_ns = 0

    @property
    def begun(self) -> bool:
        """Whether a frame has a place already."""
        return self._offset is not None

    @property
    def pending_ticks(self) -> int:
        """How far frames still have to be moved."""
        return 0 if self._offset is None else self._target - self._offset

    @property
    def floor_ns(self) -> int:
        """From a time stamp to the arrival of what met no queue; it grows where time is lost."""
        return min(self._floor, self._before)

    def place(self, timestamp: int, elapsed_ns: int) -> int:
        """A frame's place in ticks; ``elapsed_ns`` is its arrival on the time line."""
        self._arrived(elapsed_ns - timestamp * _SECOND // self.clock_rate, elapsed_ns)
        offset = self._offset
        if offset is None:
            self._offset = self._target = elapsed_ns * self.clock_rate // _SECOND - timestamp
            self._last = timestamp
            return timestamp + self._offset
        if offset != self._target and (step := timestamp - self._last) > 0:
            error = self._target - offset
            is_far = abs(error) * _SECOND > _FAR_NS * self.clock_rate
            most = step // (_FAST_SLEW if is_far else _SLEW)
            offset += max(-most, min(error, most))
            self._offset = offset
        self._last = timestamp
        return timestamp + offset

    def reported(self, ntp: int, timestamp: int) -> None:
        """Takes a sender report; ``timestamp`` without wraps."""
        most = (ntp * _SECOND >> 32) - timestamp * _SECOND // self.clock_rate
        least = most - (self._transit - self.floor_ns) if self.begun else most
        if self._wall is None:
            # Pictures carry the time of their capture, in browsers too.
            self._wall = least if self._is_sound else most
        else:
            self._wall = max(least, min(self._wall, most))

    def ntp_lead_ns(self) -> int | None:
        """By how much the peer's wall clock is ahead of the time line; None when unknown."""
        if self._wall is None or self._offset is None:
            return None
        return self._wall - self._offset * _SECOND // self.clock_rate

    def move(self, error_ns: int) -> None:
        """Begins to move frames by nanoseconds, from where they are now."""
        if self._offset is not None:
            self._target = self._offset + error_ns * self.clock_rate // _SECOND

    def _arrived(self, transit: int, now_ns: int) -> None:
        self._transit = transit
        if self._offset is None:
            self._floor = self._before = transit
            self._floor_ns = now_ns
        elif now_ns - self._floor_ns >= _FLOOR_NS:
            self._before, self._floor = self._floor, transit
            self._floor_ns = now_ns
        elif transit < self._floor:
            self._floor = transit


class LipSync:
    """The clocks of one audio and one video source, side by side."""

    __slots__ = ("_audio_floor", "_video_floor", "audio", "disagreements", "video")

    def __init__(self) -> None:
        self.audio: SourceClock | None = None
        self.video: SourceClock | None = None
        self.disagreements = 0
        """Sender reports that put the sources seconds apart; not followed."""
        # At the last report of the sound.
        self._audio_floor = self._video_floor = 0

    def update(self, *, of_sound: bool = False) -> None:
        """To be called after a sender report: finds out by how much video has to move."""
        if self.audio is None or self.video is None:
            return
        if of_sound:
            self._audio_floor, self._video_floor = self.audio.floor_ns, self.video.floor_ns
        audio, video = self.audio.ntp_lead_ns(), self.video.ntp_lead_ns()
        if audio is None or video is None:
            return
        error = video - audio - self._lost_ns(self.audio, self.video)
        if abs(error) > _MAX_ERROR_NS:
            self.disagreements += 1
            return
        self.video.move(error)

    def _lost_ns(self, audio: SourceClock, video: SourceClock) -> int:
        """What sound has lost since its last report.

        A browser without a processor leaves out sound and counts on, so that all later time stamps
        are too early. Reports of sound come every five seconds, those of pictures every second.
        """
        lost = audio.floor_ns - self._audio_floor
        # What delays both is the way, or the machine.
        lost -= max(0, video.floor_ns - self._video_floor)
        return lost if lost >= _LEAST_LOSS_NS else 0
