"""What can be chosen about the cmaf feed, and what it counts."""

from dataclasses import dataclass

from streamserver.errors import LocalProtocolError

__all__ = ["CmafCounters", "CmafSettings"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CmafSettings:
    """Lengths and bounds. Raises `LocalProtocolError` for values that make no playlist."""

    part_ms: int = 333
    """Length of a part; PART-TARGET is the nearest whole number of frames and a little room."""

    segment_ms: int = 2_000
    """A segment ends at the first keyframe after this time."""

    target_duration_s: int = 0
    """EXT-X-TARGETDURATION; 0: taken from the first group of pictures."""

    window_ms: int = 60_000
    """How much of the log stays readable, in milliseconds."""

    window_bytes: int = 32 * _MIB
    """How much of the log stays readable, in bytes."""

    max_part_bytes: int = 8 * _MIB
    """A part is cut at this size, whatever its length: a bound for broken time stamps."""

    def __post_init__(self) -> None:
        if not 50 <= self.part_ms <= 5_000:
            raise LocalProtocolError(f"parts of {self.part_ms} ms")
        if not 1_000 <= self.segment_ms <= 10_000:
            raise LocalProtocolError(f"segments of {self.segment_ms} ms")
        if self.target_duration_s < 0 or self.window_ms <= 0:
            raise LocalProtocolError("a negative length")
        if self.window_bytes <= 0 or self.max_part_bytes <= 0:
            raise LocalProtocolError("a bound of no bytes")


@dataclass(slots=True)
class CmafCounters:
    """What a feed met, as plain integers that metrics and health read."""

    parts: int = 0
    """Parts made."""

    segments: int = 0
    """Segments completed."""

    long_gops: int = 0
    """Segments that had to end without a keyframe, because the target duration was reached."""

    forced_parts: int = 0
    """Parts cut because of their size."""

    video_holes: int = 0
    """Times that video was silent for longer than a part and left its track with a hole."""

    video_late: int = 0
    """Times that video came after the part that it belongs to had been cut by audio's clock."""

    audio_holes: int = 0
    """Times that audio skipped more than the tolerated drift."""

    audio_overlaps: int = 0
    """Audio frames dropped because their time was already filled."""

    jumps: int = 0
    """Times that nothing at all came for longer than a part, and the playlist's time jumped."""

    before_keyframe: int = 0
    """Video frames dropped while waiting for the first keyframe of an epoch."""

    empty: int = 0
    """Packets without data."""

    stale: int = 0
    """Packets of an epoch that was over."""

    skipped: int = 0
    """Packets of tracks that this feed does not carry."""

    missed: int = 0
    """Packets that had left the packet log before the feed read them."""
