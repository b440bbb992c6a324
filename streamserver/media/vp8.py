"""VP8: the frame tag (RFC 6386 9.1)."""

from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import VIDEO_CLOCK, Codec, Track

__all__ = ["is_keyframe", "keyframe_size", "track_from_vp8"]

_START_CODE = b"\x9d\x01\x2a"


def is_keyframe(data: bytes) -> bool:
    """Whether the lowest bit of the frame tag says key frame. Raises `DamagedFrameError`."""
    if len(data) < 3:
        raise DamagedFrameError("the VP8 frame is shorter than its tag")
    return not data[0] & 1


def keyframe_size(data: bytes) -> tuple[int, int]:
    """Width and height that a key frame tells, without its hint for scaling.

    Raises `DamagedFrameError`.
    """
    if len(data) < 10 or data[3:6] != _START_CODE:
        raise DamagedFrameError("the VP8 key frame has no start code")
    width = int.from_bytes(data[6:8], "little") & 0x3FFF
    height = int.from_bytes(data[8:10], "little") & 0x3FFF
    return width, height


def track_from_vp8(config: bytes, epoch: int = 0, keyframe: bytes = b"") -> Track:
    """The track of VP8; its size is known only with a key frame.

    VP8 needs no configuration; what comes as one is not kept. Raises `RemoteProtocolError`.
    """
    width, height = keyframe_size(keyframe) if keyframe else (0, 0)
    return Track(
        codec=Codec.VP8,
        clock_rate=VIDEO_CLOCK,
        config=b"",
        epoch=epoch,
        codec_string="vp08.00.10.08",
        profile="Profile 0",
        width=width,
        height=height,
    )
