"""What the cutter decides: where parts and segments end."""

import msgspec

from streamserver.feeds.cmaf.fragment import AudioRun, VideoRun
from streamserver.feeds.items import Target

__all__ = ["Cut", "PartCut", "SegmentCut"]


class PartCut(msgspec.Struct, frozen=True, gc=False):
    """A part is complete; never without samples.

    A struct, as all that every part makes anew: `Packet` says why.
    """

    start: int
    """When it begins, in 1/90000 s of log time; where the part before it ended, if nothing jumped.
    """

    duration: int
    """Its length in 1/90000 s."""

    independent: bool
    """Whether it begins with a keyframe; True for audio alone."""

    discontinuity: bool
    """Whether time jumped before it, so that players must not expect its samples to follow."""

    video: VideoRun | None
    """Its video samples."""

    audio: AudioRun | None
    """Its audio samples."""


class SegmentCut(msgspec.Struct, frozen=True, gc=False):
    """The segment is complete."""

    duration: int
    """The sum of its parts, in 1/90000 s."""


Cut = PartCut | SegmentCut | Target
"""What `Cutter.push` answers, in the order in which it belongs into the log."""
