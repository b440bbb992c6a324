"""The first bytes of messages that hold one frame and nothing else: nearly every message.

Whoever finds a message here knows what `streamserver.media.flv` would say of it, without asking:
the tables are made of the parser's own answers.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple, TypeAlias

from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import AudioFrame, FrameType, VideoFrame, parse_audio, parse_video
from streamserver.media.track import Codec, Kind

__all__ = ["LONG_HEAD", "SHORT_HEAD", "FrameHead", "Heads", "frame_heads"]

SHORT_HEAD: Final = 2
"""Bytes that tell a frame of the legacy form: codec, what the sender says of it, packet type."""

LONG_HEAD: Final = 5
"""Bytes that tell a frame of the enhanced form: packet type, then the codec's four."""

_FOUR_CCS: Final = {
    Codec.H264: (b"avc1",),
    Codec.H265: (b"hvc1",),
    Codec.AV1: (b"av01",),
    Codec.AAC: (b"mp4a",),
}
"""Of the codecs whose frames are told by a head; others are read with care."""


class FrameHead(NamedTuple):
    """What comes behind the first bytes of a message with one frame."""

    start: int
    """Where the coded bytes begin; a message that ends there or before holds none."""

    is_composed: bool
    """Whether the three bytes before them are the composition time, signed."""

    key_hint: bool
    """Whether the sender says that a decoder can begin here."""


Heads: TypeAlias = Mapping[bytes, FrameHead]
"""By the first bytes of a message."""


@cache
def frame_heads(codec: Codec) -> Heads:
    """By the first `SHORT_HEAD` or `LONG_HEAD` bytes; no message fits two of them."""
    heads: dict[bytes, FrameHead] = {}
    for rest in (b"\x01", *_FOUR_CCS.get(codec, ())):
        for first in range(256):
            head = bytes((first,)) + rest
            found = _ask(codec, head)
            if found is not None:
                heads[head] = found
    return heads


def _ask(codec: Codec, head: bytes) -> FrameHead | None:
    """What the parser makes of a head with a composition time of 0 and a byte behind it."""
    body = head + b"\0\0\0\x01"
    try:
        items = parse_video(body) if codec.kind is Kind.VIDEO else parse_audio(body)
    except DamagedFrameError:
        return None
    match items:
        case (VideoFrame(found, data, 0, frame_type, 0),) if found is codec:
            hint = frame_type in (FrameType.KEY, FrameType.GENERATED_KEY)
            return FrameHead(len(body) - len(data), len(data) == 1, hint)
        case (AudioFrame(found, data, 0),) if found is codec and len(data) == 4:
            return FrameHead(len(head), False, True)
    return None
