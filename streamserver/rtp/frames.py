"""From packets in order to frames: where one ends, and which must not be handed on after a loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Codec
from streamserver.rtp.depacketize.av1 import Av1Depacketizer
from streamserver.rtp.depacketize.base import MAX_FRAME_BYTES, Depacketizer
from streamserver.rtp.depacketize.h264 import H264Depacketizer
from streamserver.rtp.depacketize.h265 import H265Depacketizer
from streamserver.rtp.depacketize.vp8 import Vp8Depacketizer
from streamserver.rtp.depacketize.vp9 import Vp9Depacketizer
from streamserver.rtp.packet import RtpPacket

__all__ = ["AudioFrames", "FrameCounters", "RtpFrame", "VideoFrames", "unwrap"]

_MAX_PACKETS: Final = 8192
"""Packets of one frame; the largest frame in packets of 1,200 bytes has 3,500."""

_NONE: Final = -1
"""No packet was seen since a loss: the next one may stand in the middle of a frame."""

_ANY: Final = -2
"""The next packet begins a frame, whatever its time stamp."""

_DEPACKETIZERS: Final[Mapping[Codec, Callable[[], Depacketizer]]] = {
    Codec.H264: H264Depacketizer,
    Codec.H265: H265Depacketizer,
    Codec.AV1: Av1Depacketizer,
    Codec.VP8: Vp8Depacketizer,
    Codec.VP9: Vp9Depacketizer,
}


def unwrap(newest: int, value: int) -> int:
    """The time stamp of 32 bits as one that never wraps, next to the newest such."""
    return newest + ((value - newest + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


class RtpFrame(NamedTuple):
    """A whole frame of video, or an audio packet."""

    timestamp: int
    """Sampling time in ticks of the source, without wraps; its zero means nothing."""

    data: bytes
    """The coded bytes; parameter sets may still be among them."""

    keyframe: bool
    """Whether a decoder can begin here, as far as the payload tells; True for audio."""

    received_ns: int
    """Monotonic time when its last packet could be read."""


@dataclass(slots=True)
class FrameCounters:
    """What became of frames."""

    frames: int = 0
    """Frames handed on."""

    damaged: int = 0
    """Frames that made no sense, or were too large."""

    dropped: int = 0
    """Whole frames that were held back, since the picture before them was lost."""


class VideoFrames:
    """Builds the frames of one source.

    A frame is whole at its marker; nobody waits for the next time stamp. After a loss everything
    is dropped until a keyframe, since what refers to a lost picture shows a broken one.
    """

    __slots__ = (
        "_bytes", "_depacketizer", "_packets", "_seeking", "_wrapped",
        "asks_keyframe", "counters", "newest", "waits_for_keyframe",
    )  # fmt: skip

    def __init__(self, codec: Codec) -> None:
        self.counters = FrameCounters()
        self.waits_for_keyframe = True
        """Whether frames are held back until a keyframe comes."""
        self.asks_keyframe = False
        """Whether one has to be asked for: the first one comes by itself."""
        self.newest: int | None = None
        """The time stamp of the newest frame, without wraps; None before the first."""
        self._depacketizer: Depacketizer = _DEPACKETIZERS[codec]()
        # Of the frame that is being built; its time stamp as it came, None between frames.
        self._wrapped: int | None = None
        self._bytes = 0
        self._packets = 0
        # After a loss: the time stamp that was seen since, of a frame without its beginning.
        # None when frames are whole.
        self._seeking: int | None = _NONE

    def push(self, packet: RtpPacket, now_ns: int) -> tuple[RtpFrame, ...]:
        """Takes the next packet; answers the frames that it ends, if they are fit to be shown."""
        payload = packet.payload
        if not payload or (self._seeking is not None and not self._found(packet)):
            return ()
        done: RtpFrame | None = None
        if packet.timestamp != self._wrapped:
            # Some senders leave the marker out; without a gap the frame before is whole.
            if self._wrapped is not None:
                done = self._finish(now_ns)
            self._begin(packet.timestamp)
        self._bytes += len(payload)
        self._packets += 1
        try:
            if self._bytes > MAX_FRAME_BYTES or self._packets > _MAX_PACKETS:
                raise DamagedFrameError("the frame is too large")
            self._depacketizer.add(payload)
        except DamagedFrameError:
            self.counters.damaged += 1
            self._abandon(_ANY if packet.marker else packet.timestamp)
        else:
            if packet.marker:
                frame = self._finish(now_ns)
                if frame is not None:
                    return (frame,) if done is None else (done, frame)
        return () if done is None else (done,)

    def begins(self, packet: RtpPacket) -> bool:
        """Whether a frame certainly begins with this packet."""
        return bool(packet.payload) and self._depacketizer.begins(packet.payload)

    def lost(self) -> None:
        """Says that packets before the next one are missing for good."""
        self._abandon(_NONE)

    def _found(self, packet: RtpPacket) -> bool:
        """Whether a frame begins with this packet, after a loss."""
        seen = self._seeking
        if seen not in (_NONE, packet.timestamp) or self._depacketizer.begins(packet.payload):
            self._seeking = None
            return True
        # What follows a marker is a beginning too.
        self._seeking = _ANY if packet.marker else packet.timestamp
        self.asks_keyframe = True
        return False

    def _begin(self, timestamp: int) -> None:
        newest = self.newest
        self.newest = timestamp if newest is None else unwrap(newest, timestamp)
        self._wrapped = timestamp
        self._bytes = self._packets = 0

    def _finish(self, now_ns: int) -> RtpFrame | None:
        """Ends the frame that is being built; None when it must not be shown."""
        self._wrapped = None
        counters = self.counters
        try:
            coded = self._depacketizer.take()
        except DamagedFrameError:
            counters.damaged += 1
            self.waits_for_keyframe = self.asks_keyframe = True
            return None
        if coded is None:
            return None
        data, keyframe = coded
        if self.waits_for_keyframe:
            if not keyframe:
                counters.dropped += 1
                self.asks_keyframe = True
                return None
            self.waits_for_keyframe = self.asks_keyframe = False
        counters.frames += 1
        return RtpFrame(self.newest or 0, data, keyframe, now_ns)

    def _abandon(self, seeking: int) -> None:
        self._depacketizer.drop()
        self._wrapped = None
        self._seeking = seeking
        self.waits_for_keyframe = self.asks_keyframe = True


class AudioFrames:
    """The frames of one audio source: every packet is one (RFC 7587, section 4.2)."""

    __slots__ = ("counters", "newest")

    asks_keyframe = False
    waits_for_keyframe = False

    def __init__(self) -> None:
        self.counters = FrameCounters()
        self.newest: int | None = None
        """The time stamp of the newest frame, without wraps; None before the first."""

    def push(self, packet: RtpPacket, now_ns: int) -> tuple[RtpFrame, ...]:
        """Takes the next packet."""
        if not packet.payload:
            return ()
        newest = self.newest
        timestamp = packet.timestamp if newest is None else unwrap(newest, packet.timestamp)
        self.newest = timestamp
        self.counters.frames += 1
        return (RtpFrame(timestamp, packet.payload, True, now_ns),)

    def begins(self, packet: RtpPacket) -> bool:
        """Whether a frame certainly begins with this packet."""
        return True

    def lost(self) -> None:
        """Says that packets are missing: the next one can be decoded without them."""
