"""Which tracks go into MPEG-TS; known without FFmpeg."""

from typing import Final

from streamserver.media.track import Codec, Track

__all__ = ["supports"]

_REASONS: Final = {
    Codec.AV1: "MPEG-TS has no mapping for AV1 that players know",
    Codec.VP8: "MPEG-TS has no mapping for VP8",
    Codec.VP9: "MPEG-TS has no mapping for VP9",
    Codec.OPUS: "old players do not take Opus in MPEG-TS: FFmpeg's family reads it, browsers' "
    "transmuxers and Apple's players do not",
}


def supports(tracks: tuple[Track, ...]) -> str | None:
    """Why these tracks cannot be offered as MPEG-TS, as a sentence; None when they can."""
    if not tracks:
        return "there is no track"
    return next((_REASONS[track.codec] for track in tracks if track.codec in _REASONS), None)
