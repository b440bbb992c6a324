"""What goes into a transcoder of audio, and what it counts; known without FFmpeg."""

from dataclasses import dataclass, fields
from typing import NamedTuple

__all__ = ["AudioCounters", "AudioInput"]


class AudioInput(NamedTuple):
    """A packet of the track."""

    pts: int
    """In ticks of the track."""

    data: bytes
    """The coded bytes."""


@dataclass(slots=True)
class AudioCounters:
    """What a transcoder met."""

    damaged: int = 0
    """Packets that could not be decoded."""

    gaps: int = 0
    """Gaps that silence filled."""

    filled: int = 0
    """Samples of that silence."""

    overlaps: int = 0
    """Packets left out because their time was filled already."""

    restarts: int = 0
    """Gaps that were too long to be filled."""

    corrected: int = 0
    """Samples added or left out in order to follow a clock."""

    def add(self, other: "AudioCounters") -> None:
        """Adds another's, for sums."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
