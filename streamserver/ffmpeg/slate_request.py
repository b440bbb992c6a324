"""What the child process of `streamserver.ffmpeg.slate` is asked; asking needs no av."""

import json
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Final

__all__ = ["COMMAND", "MAX_SLATE_BYTES", "SlateRequest"]

COMMAND: Final = (sys.executable, "-m", "streamserver.ffmpeg.slate")
"""How to run the child."""

MAX_SLATE_BYTES: Final = 4 << 20
"""Most bytes that a slate becomes; one that would be larger is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateRequest:
    """Which picture, and in what form a stream can show it. Equal requests make equal slates."""

    path: str
    """A still picture, or a short file whose sound is left out."""

    video: str = ""
    """``h264``, ``vp8`` or ``vp9``; empty: no picture."""

    profile: str = ""
    """Of H.264: ``baseline``, ``main`` or ``high``."""

    width: int = 0
    """Pixels, even."""

    height: int = 0
    """Pixels, even."""

    frames: int = 30
    """Frames in ``seconds``: the frame rate is their quotient."""

    seconds: int = 1
    """See ``frames``."""

    audio: str = ""
    """``aac`` or ``opus``; empty: no sound."""

    sample_rate: int = 48_000
    """Samples per second."""

    channels: int = 2
    """1, 2, 6 or 8."""

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.frames, self.seconds)

    def to_line(self) -> bytes:
        """As the child reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "SlateRequest":
        """As the parent wrote it."""
        return cls(**json.loads(line))
