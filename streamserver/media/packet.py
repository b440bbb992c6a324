"""The unit that every log of media holds."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

from streamserver.media.track import Kind, Track

__all__ = ["Packet"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False)
def _never_changed(cls: type[T]) -> type[T]:
    """A dataclass that is frozen for the type checker only: one that checks each assignment when
    it runs takes four times as long to make, once for every packet."""
    return dataclass(slots=True, eq=False)(cls)


@_never_changed
class Packet:
    """One access unit or audio frame. Made once, shared by all readers, never changed.

    ``data`` by codec: H.264 and H.265 a length-prefixed (4 bytes) access unit without parameter
    sets; AV1 a temporal unit without temporal delimiter; VP8 and VP9 a frame; AAC raw;
    Opus one packet; MP3 one frame.
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
        return self.track.codec.kind is Kind.VIDEO
