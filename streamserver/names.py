"""The name of a stream, validated once and then trusted everywhere."""

import re
from dataclasses import dataclass
from typing import Final

from streamserver.errors import InvalidNameError

__all__ = ["DEFAULT_NAME", "RESERVED_APPS", "StreamKey"]

DEFAULT_NAME: Final = "default"
"""The stream name where only an app is given: ``rtmp://host/live`` is ``live/default``."""

RESERVED_APPS: Final = frozenset(
    {
        "api", "assets", "embed", "favicon.ico", "flv", "healthz", "hls", "metrics",
        "play", "publish", "readyz", "robots.txt", "vendor", "whep", "whip",
    }
)  # fmt: skip
"""First path segments of our own URLs, which therefore name no app."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\Z")


@dataclass(frozen=True, slots=True, order=True)
class StreamKey:
    """``app/name``, compared exactly. Raises `InvalidNameError` when either part is not a name."""

    app: str
    """The first segment: a namespace such as ``live``."""

    name: str
    """The second segment. ``name@rendition`` names a derived stream."""

    def __post_init__(self) -> None:
        base, at, rendition = self.name.partition("@")
        for segment in (self.app, base, *([rendition] if at else [])):
            if not _SEGMENT.match(segment):
                raise InvalidNameError(
                    f"{segment[:64]!a} is no stream name: use 1 to 128 of A-Z a-z 0-9 _ - and ., "
                    "not beginning with a dot"
                )
        if self.app in RESERVED_APPS:
            raise InvalidNameError(f"{self.app!r} is a word of this server and names no app")

    @classmethod
    def parse(cls, text: str) -> "StreamKey":
        """Reads ``app/name``, or one segment, which means ``app/default``."""
        app, slash, name = text.strip("/").partition("/")
        if "/" in name:
            raise InvalidNameError(
                f"{text[:200]!a} has more than two segments: a stream is app/name"
            )
        return cls(app, name if slash else DEFAULT_NAME)

    def __str__(self) -> str:
        return f"{self.app}/{self.name}"
