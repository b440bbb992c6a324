"""What the cmaf log holds; a mirror copies these, only the owner of a stream numbers them."""

from dataclasses import dataclass

import msgspec

from streamserver.media.track import Track

__all__ = ["CmafItem", "Init", "Part", "SegmentEnd", "Target"]


@dataclass(frozen=True, slots=True, eq=False)
class Init:
    """An initialisation segment (``ftyp`` and ``moov``); every epoch has its own."""

    epoch: int
    """The epoch whose tracks it describes."""

    tracks: tuple[Track, ...]
    """The tracks in it, video first; track ids count from 1 in this order."""

    data: bytes
    """The bytes of the file."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the playlists promise for the whole session; the first item that a playlist needs.

    It comes when the first group of pictures has shown its length, so parts may precede it.
    """

    target_duration_s: int
    """EXT-X-TARGETDURATION: no segment is longer, rounded; never changes within a session."""

    part_target_ms: int
    """EXT-X-PART-INF PART-TARGET in milliseconds: no part is longer; never changes."""


class Part(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One ``moof`` and ``mdat``: a piece of a segment that players fetch as soon as it exists.

    A struct, since one is made three times a second for every stream: `Packet` says why.
    """

    msn: int
    """Media sequence number of its segment."""

    index: int
    """Its place in the segment, from 0."""

    init: Init
    """What a decoder needs first."""

    discontinuity: bool
    """Whether it begins a segment after a discontinuity (a new epoch)."""

    independent: bool
    """Whether it begins with a keyframe (for audio-only always True)."""

    start_ms: int
    """When it begins on the stream's log time line, in milliseconds; dates are
    ``Stream.wall_origin_ns`` plus this."""

    duration: int
    """Its length in ticks of 1/90000 s; the sum over a segment is the segment's length."""

    pieces: tuple[bytes, ...]
    """The bytes of the part, still apart: boxes, then coded frames, which the packet log holds as
    well. A segment is its parts joined."""

    size: int
    """Bytes of all pieces."""

    @property
    def data(self) -> bytes:
        """The pieces joined, anew each time."""
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The segment is complete; the next part begins ``msn + 1``."""

    msn: int
    """Media sequence number of the finished segment."""

    parts: int
    """How many parts it has."""

    duration: int
    """Its length in ticks of 1/90000 s."""


CmafItem = Target | Part | SegmentEnd
"""What a ``Log[CmafItem]`` holds; an `Init` travels inside its parts."""
