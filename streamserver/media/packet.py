"""The unit that every log of media holds."""

from typing import Final

import msgspec

from streamserver.media.track import Kind, Track

__all__ = ["Packet"]

_VIDEO: Final = Kind.VIDEO
"""Python 3.11 takes eight times as long to find a member through its class."""


class Packet(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One access unit or audio frame. Made once, shared by all readers, never changed.

    ``data`` by codec: H.264 and H.265 a length-prefixed (4 bytes) access unit without parameter
    sets; AV1 a temporal unit without temporal delimiter; VP8 and VP9 a frame; AAC raw;
    Opus one packet; MP3 one frame.

    A struct and no dataclass, since one is made for every message: that takes a third of the time,
    and the garbage collector, which would find no cycle, does not go through a log of them.
    """

    track: Track
    """The track it belongs to; a different object than before means a new epoch."""

    pts: int
    """When to show it, in ticks of the track, on the stream's rebased time line."""

    dts: int
    """When to decode it, same unit; never decreases within a track."""

    duration: int
    """Ticks of the track; 0 when unknown."""

    keyframe: bool
    """Whether a decoder can begin here; True for audio."""

    data: bytes
    """The coded bytes."""

    received_ns: int
    """Monotonic time of arrival, for measuring our own delay."""

    @property
    def dts_ms(self) -> int:
        """Decoding time in milliseconds, comparable between tracks."""
        return self.dts * 1000 // self.track.clock_rate

    @property
    def is_video(self) -> bool:
        """Whether it belongs to a video track."""
        return self.track.codec.kind is _VIDEO
