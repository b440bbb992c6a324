"""Offers as real peers write them, and what is done to them in tests."""

from pathlib import Path
from typing import Final

__all__ = ["CHROMIUM_PLAY", "CHROMIUM_PUBLISH", "FFMPEG_PUBLISH", "without"]

_DATA: Final = Path(__file__).parent.parent / "data" / "sdp"


def _read(name: str) -> str:
    return (_DATA / name).read_text().replace("\n", "\r\n")


CHROMIUM_PUBLISH: Final = _read("chromium_publish.sdp")
"""Audio 0, video 1 and a data channel 2, of Chromium 156."""

CHROMIUM_PLAY: Final = _read("chromium_play.sdp")
"""Audio 0 and video 1, to receive."""

FFMPEG_PUBLISH: Final = _read("ffmpeg_publish.sdp")
"""Of the whip muxer of FFmpeg 8: audio 0 and video 1, DTLS passive."""


def without(offer: str, *begins: str) -> str:
    """The offer without the lines that begin so."""
    lines = [line for line in offer.split("\r\n") if not line.startswith(begins)]
    return "\r\n".join(lines)
