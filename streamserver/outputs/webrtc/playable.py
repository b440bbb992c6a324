"""Whether browsers can play a stream as it is, and what its publisher has to change if not.

Unless pictures may be converted, what comes must be what decoders of WebRTC take.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.log import Log
from streamserver.media.h264 import AvcConfig, parse_sps
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track

__all__ = ["CODECS", "Form", "why_not_offered", "why_unplayable"]

CODECS: Final = frozenset((Codec.H264, Codec.H265, Codec.VP8, Codec.VP9, Codec.AV1, Codec.OPUS))
"""What can be sent over WebRTC, if the player offers it."""


@dataclass(frozen=True, slots=True)
class Form:
    """In what form a stream is played to somebody."""

    tracks: tuple[Track, ...]
    """What it consists of then; not the objects that packets belong to."""

    converted: bool = False
    """Whether its pictures are converted for that."""


_NAMES: Final = {
    Codec.H264: "H.264", Codec.H265: "H.265 (HEVC)", Codec.VP8: "VP8", Codec.VP9: "VP9",
    Codec.AV1: "AV1",
}  # fmt: skip

_TEN_BITS: Final = frozenset((Codec.AV1,))
"""Whose decoders in browsers take more than 8 bits in the profile that is negotiated."""

_ENOUGH: Final = 60
"""Pictures that are looked at: B-frames come out of order within a few."""

_NO_B_FRAMES: Final = (
    "In OBS: Settings → Output → Output Mode: Advanced → Encoder Settings: B-frames 0, or Profile: "
    "baseline; in ffmpeg: -bf 0."
)
_PLAIN_COLOURS: Final = (
    "In OBS: Settings → Advanced → Color Format: NV12; in ffmpeg: -pix_fmt yuv420p."
)


def why_unplayable(tracks: Iterable[Track], packets: Log[Packet] | None) -> str | None:
    """A sentence on why WebRTC cannot carry the pictures of a stream; None when it can.

    ``packets`` shows whether pictures come in the order in which they are shown.
    """
    video = next((track for track in tracks if track.kind is Kind.VIDEO), None)
    if video is None:
        return None
    name = _NAMES.get(video.codec, video.codec.value)
    if video.chroma_format not in ("4:2:0", "4:0:0"):
        return (
            f"The video has {video.chroma_format} colours, and browsers play {name} over WebRTC "
            f"with 4:2:0 only. {_PLAIN_COLOURS}"
        )
    if video.bit_depth > 8 and video.codec not in _TEN_BITS:
        return (
            f"The video has {video.bit_depth} bits per sample, and browsers play {name} over "
            f"WebRTC with 8 only. {_PLAIN_COLOURS}"
        )
    if video.codec in (Codec.H264, Codec.H265) and _has_b_frames(video, packets):
        return (
            "The video has B-frames, which no browser plays over WebRTC: pictures would stutter "
            f"and jump back. {_NO_B_FRAMES}"
        )
    return None


def why_not_offered(track: Track, offered: Collection[Codec]) -> str | None:
    """A sentence on why a player cannot take a track; None when it offers the codec."""
    if track.codec in offered:
        return None
    name = _NAMES.get(track.codec, track.codec.value.upper())
    return (
        f"The {track.kind.value} is {name}, which this player does not offer to receive. "
        "Every browser takes H.264, profile baseline."
    )


def _has_b_frames(track: Track, log: Log[Packet] | None) -> bool:
    shown = _times_shown(track, log)
    # A constant distance of pts and dts is harmless; a step back is a B-frame.
    if shown != sorted(shown):
        return True
    # Too early to see one: the encoder's word is taken.
    return len(shown) < _ENOUGH // 2 and _declares_b_frames(track)


def _times_shown(track: Track, log: Log[Packet] | None) -> list[int]:
    """When the newest pictures are shown, in the order in which they came."""
    if log is None:
        return []
    # Sound stands between: three packets for each picture are more than there ever are.
    recent = log.since(max(log.start, log.end - 4 * _ENOUGH))
    return [packet.pts for packet in recent if packet.track is track]


def _declares_b_frames(track: Track) -> bool:
    if track.codec is not Codec.H264:
        return False
    with suppress(RemoteProtocolError):
        return bool(parse_sps(AvcConfig.parse(track.config).sps[0]).vui.max_reorder_frames)
    return False
