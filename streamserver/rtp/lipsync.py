"""One time line for the sources of a peer, from their time stamps and sender reports.

The time stamps of each source begin anywhere. Until sender reports of both have come, a source
lies where its first packet arrived; then the reports say which time stamps belong together
(RFC 3550, section 6.4.1), and video is moved until it fits. Audio never is: its packets follow
each other without a gap, and people hear one that is stretched.
"""

from typing import Final

__all__ = ["LipSync", "SourceClock"]

_SECOND: Final = 1_000_000_000

_SLEW: Final = 16
"""Video is moved by at most a sixteenth of the time between two frames: nobody sees it, and time
stamps keep their order."""

_MAX_ERROR_NS: Final = 2 * _SECOND
"""Sender reports that put sources further apart than this, against their arrival, are wrong."""


class SourceClock:
    """Where the time stamps of one source lie on the time line."""

    __slots__ = ("_last", "_ntp_ns", "_offset", "_reported", "_target", "clock_rate")

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        """Ticks per second of the source, and of what `place` answers."""
        # What to add to time stamps; where it shall get to.
        self._offset: int | None = None
        self._target = 0
        self._last = 0
        # Of the last sender report: its wall clock, and its time stamp.
        self._ntp_ns: int | None = None
        self._reported = 0

    @property
    def begun(self) -> bool:
        """Whether a frame has a place already."""
        return self._offset is not None

    @property
    def pending_ticks(self) -> int:
        """How far frames still have to be moved."""
        return 0 if self._offset is None else self._target - self._offset

    def place(self, timestamp: int, elapsed_ns: int) -> int:
        """A frame's place in ticks; ``elapsed_ns`` is its arrival on the time line."""
        offset = self._offset
        if offset is None:
            self._offset = self._target = elapsed_ns * self.clock_rate // _SECOND - timestamp
            self._last = timestamp
            return timestamp + self._offset
        if offset != self._target and (step := timestamp - self._last) > 0:
            most = step // _SLEW
            offset += max(-most, min(self._target - offset, most))
            self._offset = offset
        self._last = timestamp
        return timestamp + offset

    def reported(self, ntp: int, timestamp: int) -> None:
        """Takes a sender report; ``timestamp`` without wraps."""
        self._ntp_ns = ntp * _SECOND >> 32
        self._reported = timestamp

    def ntp_lead_ns(self) -> int | None:
        """By how much the peer's wall clock is ahead of the time line; None when unknown."""
        if self._ntp_ns is None or self._offset is None:
            return None
        return self._ntp_ns - (self._reported + self._offset) * _SECOND // self.clock_rate

    def move(self, error_ns: int) -> None:
        """Begins to move frames by nanoseconds, from where they are now."""
        if self._offset is not None:
            self._target = self._offset + error_ns * self.clock_rate // _SECOND


class LipSync:
    """The clocks of one audio and one video source, side by side."""

    __slots__ = ("audio", "disagreements", "video")

    def __init__(self) -> None:
        self.audio: SourceClock | None = None
        self.video: SourceClock | None = None
        self.disagreements = 0
        """Sender reports that put the sources seconds apart; not followed."""

    def update(self) -> None:
        """To be called after a sender report: finds out by how much video has to move."""
        if self.audio is None or self.video is None:
            return
        audio, video = self.audio.ntp_lead_ns(), self.video.ntp_lead_ns()
        if audio is None or video is None:
            return
        if abs(video - audio) > _MAX_ERROR_NS:
            self.disagreements += 1
            return
        self.video.move(video - audio)
