"""The two promises of a playlist, TARGETDURATION and PART-TARGET: made once, early, and kept."""

from typing import Final

from streamserver.feeds.cmaf.settings import CmafSettings
from streamserver.feeds.items import Target
from streamserver.media.track import VIDEO_CLOCK

__all__ = ["KEYFRAME_TOLERANCE", "PART_TOLERANCE", "TargetChoice", "part_target", "target_duration"]

MS: Final = VIDEO_CLOCK // 1_000

PART_TOLERANCE: Final = 10 * MS
"""A part may be so much longer than asked if that makes it a whole number of frames, and
PART-TARGET has so much room above it for frames that come early or late."""

KEYFRAME_TOLERANCE: Final = 100 * MS
"""A keyframe so little before the segment's length still ends it: capture clocks jitter."""

_ROUNDING_ROOM: Final = 400 * MS
"""EXTINF is rounded to the nearest second (RFC 8216bis 4.4.3.1), which leaves half a second above
the target; a fifth of that is kept for groups of pictures that vary."""

_SEGMENT_ROOM: Final = 499 * MS
"""A segment may exceed the target duration by this and still round down to it."""

_FIRST_LOOK: Final = 900 * MS
"""Keyframes before this say nothing: encoders like to start with two in a row."""

_PATIENCE: Final = 4_100 * MS
"""Without a second keyframe for this long, the longest target is taken."""

_SHORTEST_S: Final = 2
_LONGEST_S: Final = 10


def target_duration(gop: int, segment: int) -> int:
    """Seconds that segments need when keyframes come every ``gop`` ticks.

    A segment is the smallest whole number of groups that reaches ``segment`` ticks.
    """
    groups = -(-(segment - KEYFRAME_TOLERANCE) // max(gop, 1))
    seconds = -(-(groups * gop - _ROUNDING_ROOM) // VIDEO_CLOCK)
    return min(max(seconds, _SHORTEST_S), _LONGEST_S)


def part_target(interval: int, part: int) -> int:
    """PART-TARGET in milliseconds for frames of ``interval`` ticks and parts of about ``part``.

    Parts are as many whole frames as fit, at least one. Frames that come early or late by less
    than the tolerance change nothing, so parts also are at least 85 % of it (4.4.4.9).
    """
    frames = max((part + PART_TOLERANCE) // interval, 1)
    return -(-(frames * interval + PART_TOLERANCE) // MS)


def _covering(length: int) -> int:
    """The smallest target duration that allows a segment of that length."""
    return -(-(length - _SEGMENT_ROOM) // VIDEO_CLOCK)


class TargetChoice:
    """Watches the first group of pictures, then chooses. All times in 1/90000 s."""

    __slots__ = (
        "_configured_s", "_first_key", "_last_key", "_longest_part", "_longest_segment", "_part",
        "_segment", "_since", "gop", "part_limit", "segment_limit", "target",
    )  # fmt: skip

    def __init__(self, settings: CmafSettings) -> None:
        self._part = settings.part_ms * MS
        self._segment = settings.segment_ms * MS
        self._configured_s = settings.target_duration_s
        self._first_key: int | None = None
        self._last_key: int | None = None
        self._since: int | None = None
        self._longest_part = self._longest_segment = 0
        self.gop = 0
        self.target: Target | None = None
        self.part_limit = self._part + PART_TOLERANCE
        self.segment_limit = (self._configured_s or _LONGEST_S) * VIDEO_CLOCK + _SEGMENT_ROOM

    def begin(self) -> None:
        """A new epoch: distances to keyframes before it mean nothing."""
        self._first_key = self._last_key = self._since = None

    def slow_frames(self, interval: int) -> None:
        """Before the promise, a part has room for one frame, however slow they come."""
        self.part_limit = max(self._part, interval) + PART_TOLERANCE

    def keyframe(self, at: int, length: int, interval: int) -> Target | None:
        """A keyframe came, ``length`` after the segment's start; answers the choice if made now."""
        first, last = self._first_key, self._last_key
        self._last_key = self._since = at
        if first is None or last is None:
            self._first_key = at
            return None
        # A group that was long once is slowly forgotten.
        self.gop = max(at - last, self.gop - (self.gop >> 3))
        if self.target is not None or at - first < _FIRST_LOOK:
            return None
        seconds = target_duration(self.gop, self._segment)
        # What was cut already, or now will be, must fit as well.
        seconds = max(seconds, _covering(length))
        return self._choose(min(seconds, _LONGEST_S), part_target(interval, self._part))

    def part(self, start: int, end: int, interval: int) -> Target | None:
        """A part was cut; answers the choice when it is made now."""
        if self.target is not None:
            return None
        self._longest_part = max(self._longest_part, end - start)
        if self._since is None:
            self._since = start
        if self._configured_s:
            return self._choose(self._configured_s, part_target(interval, self._part))
        if end - self._since > _PATIENCE:
            return self._choose(_LONGEST_S, part_target(interval, self._part))
        return None

    def pending(self, length: int) -> None:
        """A part of this length may be cut soon; the promise must cover it."""
        self._longest_part = max(self._longest_part, length)

    def segment(self, length: int) -> None:
        """A segment was cut: before the promise its length must be remembered, to be covered."""
        self._longest_segment = max(self._longest_segment, length)

    def last_call(self, interval: int) -> Target | None:
        """The stream is over: the choice from what there was."""
        if self.target is not None:
            return None
        gop = self.gop or self._segment
        return self._choose(
            self._configured_s or target_duration(gop, self._segment),
            part_target(interval, self._part),
        )

    def audio(self, frame: int, rate: int) -> Target | None:
        """Audio alone: everything is known with its first frame, of ``frame`` samples."""
        if self.target is not None:
            return None
        room = (self._part + PART_TOLERANCE) * rate // VIDEO_CLOCK
        samples = max(room // frame, 1) * frame
        # Cuts fall on samples, which may lie between two ticks: then one tick of room.
        ticks, between = divmod(samples * VIDEO_CLOCK, rate)
        ticks += 2 if between else 0
        seconds = self._configured_s or target_duration(ticks, self._segment)
        return self._choose(seconds, -(-ticks // MS))

    def _choose(self, seconds: int, part_ms: int) -> Target:
        # What was cut before the promise must keep it as well.
        part_ms = max(part_ms, -(-self._longest_part // MS))
        seconds = max(seconds, _covering(self._longest_segment))
        self.target = Target(seconds, part_ms)
        self.part_limit = part_ms * MS
        self.segment_limit = seconds * VIDEO_CLOCK + _SEGMENT_ROOM
        return self.target
