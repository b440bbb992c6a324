"""What the child process of `streamserver.ffmpeg.pull` is asked; asking needs no av."""

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Final

__all__ = ["COMMAND", "PullRequest"]

COMMAND: Final = (sys.executable, "-m", "streamserver.ffmpeg.pull")
"""How to run the child."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to read, and how."""

    url: str = field(repr=False)
    """The source; may hold credentials."""

    options: dict[str, str]
    """Options of FFmpeg's demuxer and protocols; ``protocol_whitelist`` among them."""

    timeout_s: float = 15
    """How long the source may be silent."""

    pace: bool = True
    """Whether packets are written no earlier than their times say: HLS brings them in segments."""

    command: bool = False
    """Whether an ``ffmpeg`` command reads it and hands it on: for protocols that PyAV's wheel does
    not have."""

    def to_line(self) -> bytes:
        """As the child reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "PullRequest":
        """As the parent wrote it."""
        return cls(**json.loads(line))
