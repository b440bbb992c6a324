"""One time line for the sources of a peer, from their time stamps and sender reports.

The time stamps of each source begin anywhere. Until sender reports of both have come, a source
lies where its first packet arrived; then the reports say which time stamps belong together
(RFC 3550, section 6.4.1), and video is moved until it fits. Audio never is stretched, since people
hear that; but it gets a hole where its source has lost some.

Two habits of browsers make reports of sound alone a bad guide:

- They do not know when sound was recorded, and take the last packet to be as old as it was sent
  ago. One that a busy machine sent 200 ms late makes the next report wrong by as much, until
  another comes five seconds later. Whoever saw that packet arrive knows how late it was, beside
  those around it: a report tells a range, from there to what it says, and what is believed only
  moves when it lies outside.
- A machine that is too busy to record leaves out sound, and time stamps do not count it. Whatever
  follows comes late by as much and does not catch up, while pictures are in time: that is seen half
  a second later, long before the next report.
"""

from collections import deque
from typing import Final

__all__ = ["LipSync", "SourceClock"]

_SECOND: Final = 1_000_000_000
_MS: Final = 1_000_000

_SLEW: Final = 16
"""Video is moved by at most a sixteenth of the time between two frames: nobody sees it, and time
stamps keep their order."""

_FAST_SLEW: Final = 4
_FAR_NS: Final = 45 * _MS
"""Further apart than this, people notice (ITU-R BT.1359): a quarter is the lesser evil then."""

_MAX_ERROR_NS: Final = 2 * _SECOND
"""Sender reports that put sources further apart than this, against their arrival, are wrong."""

_HOLE_NS: Final = 100 * _MS
"""Sound that lost so much gets a hole: if pictures were moved back instead, the stream would be
shorter than the time that passed, and players would run dry. After less, pictures follow."""

_MAX_HOLE_NS: Final = 10 * _SECOND
"""What comes later than this by its time stamps has another clock."""

_PIECE_NS: Final = 300 * _MS
_VIDEO_PIECE_NS: Final = 150 * _MS
_PIECES: Final = 4
"""Of arrivals, the fastest of each piece is known: it has met no queue.
Those of pictures are shorter, so that what delays both shows there first."""

_MAX_STEP_NS: Final = 40 * _MS
"""A longer pause counts as this: what comes in a burst after it is late, and still catching up."""


class _Arrivals:
    """From time stamps to arrivals, of packets that met no queue."""

    __slots__ = ("_fastest", "_last_ns", "_piece_ns", "_span_ns")

    def __init__(self, transit: int, now_ns: int, piece_ns: int) -> None:
        self._fastest: deque[int] = deque((transit,), _PIECES)
        self._last_ns = now_ns
        self._piece_ns = piece_ns
        self._span_ns = 0

    def add(self, transit: int, now_ns: int) -> None:
        """Takes the next one."""
        fastest = self._fastest
        self._span_ns += min(now_ns - self._last_ns, _MAX_STEP_NS)
        self._last_ns = now_ns
        if self._span_ns >= self._piece_ns:
            fastest.append(transit)
            self._span_ns = 0
        elif transit < fastest[-1]:
            fastest[-1] = transit

    @property
    def last(self) -> int:
        """Of the piece that is not over."""
        return self._fastest[-1]

    @property
    def newest(self) -> int:
        """Of the last two pieces."""
        fastest = self._fastest
        return min(fastest[-1], fastest[-2]) if len(fastest) > 1 else fastest[-1]

    @property
    def all(self) -> int:
        """Of all pieces that are known."""
        return min(self._fastest)


class SourceClock:
    """Where the time stamps of one source lie on the time line."""

    __slots__ = (
        "_arrivals", "_is_sound", "_last", "_offset", "_target", "_transit", "_usual", "_wall",
        "clock_rate", "holes",
    )  # fmt: skip

    def __init__(self, clock_rate: int, *, is_sound: bool = False) -> None:
        self.clock_rate = clock_rate
        """Ticks per second of the source, and of what `place` answers."""
        self.holes = 0
        """Times that frames were put later, since the source had lost time."""
        self._is_sound = is_sound
        # What to add to time stamps; where it shall get to.
        self._offset: int | None = None
        self._target = 0
        self._last = 0
        # From time stamp 0 to that of the peer's wall clock, in ns; None before a report.
        self._wall: int | None = None
        # From a time stamp to its arrival, in ns: of the newest, of those that met no queue, and of
        # such when the clocks were last compared.
        self._transit = 0
        self._arrivals: _Arrivals | None = None
        self._usual = 0

    @property
    def begun(self) -> bool:
        """Whether a frame has a place already."""
        return self._offset is not None

    @property
    def pending_ticks(self) -> int:
        """How far frames still have to be moved."""
        return 0 if self._offset is None else self._target - self._offset

    def late_ns(self) -> tuple[int, int]:
        """By how much even the fastest frames come later than when the clocks were compared.

        At least, over half a second; and at most, which includes what has just become late.
        """
        if self._arrivals is None:
            return 0, 0
        newest = self._arrivals.newest
        self._usual = min(self._usual, newest)
        return newest - self._usual, max(self._arrivals.last - self._usual, 0)

    def place(self, timestamp: int, elapsed_ns: int) -> int:
        """A frame's place in ticks; ``elapsed_ns`` is its arrival on the time line."""
        transit = self._transit = elapsed_ns - timestamp * _SECOND // self.clock_rate
        offset = self._offset
        if offset is None or self._arrivals is None:
            offset = self._offset = elapsed_ns * self.clock_rate // _SECOND - timestamp
            self._target, self._last = offset, timestamp
            piece_ns = _PIECE_NS if self._is_sound else _VIDEO_PIECE_NS
            self._arrivals, self._usual = _Arrivals(transit, elapsed_ns, piece_ns), transit
            return timestamp + offset
        self._arrivals.add(transit, elapsed_ns)
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
        known, arrivals = self._wall, self._arrivals
        least = most if arrivals is None else most - (self._transit - arrivals.all)
        if known is None:
            # Pictures carry the time of their capture, in browsers too.
            self._wall = least if self._is_sound else most
            return
        self._wall = max(least, min(known, most))
        if self._is_sound and _HOLE_NS <= self._wall - known <= _MAX_ERROR_NS:
            self._put_later(self._wall - known)

    def compared(self) -> None:
        """Says that frames come as late as they should, from now on."""
        if self._arrivals is not None:
            self._usual = self._arrivals.newest

    def lost(self, lost_ns: int) -> None:
        """Says that the source left out time: all frames lie as much later from now on."""
        if self._wall is not None:
            self._wall += lost_ns
            self._put_later(lost_ns)
            self.compared()

    def ntp_lead_ns(self) -> int | None:
        """By how much the peer's wall clock is ahead of the time line; None when unknown."""
        if self._wall is None or self._offset is None:
            return None
        return self._wall - self._offset * _SECOND // self.clock_rate

    def move(self, error_ns: int) -> None:
        """Begins to move frames by nanoseconds, from where they are now."""
        if self._offset is not None:
            self._target = self._offset + error_ns * self.clock_rate // _SECOND

    def _put_later(self, by_ns: int) -> None:
        if self._offset is not None:
            ticks = by_ns * self.clock_rate // _SECOND
            self._offset += ticks
            self._target += ticks
            self.holes += 1


class LipSync:
    """The clocks of one audio and one video source, side by side."""

    __slots__ = ("audio", "disagreements", "video")

    def __init__(self) -> None:
        self.audio: SourceClock | None = None
        self.video: SourceClock | None = None
        self.disagreements = 0
        """Sender reports that put the sources seconds apart; not followed."""

    def reported(self, clock: SourceClock) -> None:
        """To be called after a sender report of a source: finds out by how much video has to move.

        Reports of sound come every five seconds, those of pictures every second.
        """
        if self.audio is None or self.video is None:
            return
        if clock is self.audio:
            self.audio.compared()
            self.video.compared()
        error = self._error_ns(self.audio, self.video)
        if error is not None and abs(error) > _MAX_ERROR_NS:
            self.disagreements += 1

    def look(self) -> None:
        """To be called a few times a second: whether sound was lost since its last report."""
        audio, video = self.audio, self.video
        if audio is None or video is None:
            return
        heard, _ = audio.late_ns()
        seen, just_seen = video.late_ns()
        # What delays both is the way, or the machine.
        lost = heard - max(seen, just_seen)
        if _HOLE_NS <= lost <= _MAX_HOLE_NS:
            audio.lost(heard - seen)
            lost = 0
        error = self._error_ns(audio, video)
        if error is None or abs(error) > _MAX_ERROR_NS:
            return
        video.move(error - lost if lost >= _FAR_NS else error)

    @staticmethod
    def _error_ns(audio: SourceClock, video: SourceClock) -> int | None:
        heard, seen = audio.ntp_lead_ns(), video.ntp_lead_ns()
        return None if heard is None or seen is None else seen - heard
