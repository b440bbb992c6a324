"""What a signed token opens: rights for a pattern of streams."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from streamserver.auth.request import AccessRequest, Action
from streamserver.names import StreamKey

__all__ = ["Right", "Rights", "StreamPattern", "covers_name"]

_PART: Final = re.compile(r"[A-Za-z0-9_*-][A-Za-z0-9._*-]{0,127}\Z")
_MAX_STARS: Final = 4
"""In one part of a pattern: each multiplies the work of a comparison that fails."""


class Right(StrEnum):
    """One right of a token."""

    PUBLISH = "publish"
    PLAY = "play"
    MANAGE = "manage"
    READ = "read"
    API = "api"
    METRICS = "metrics"


def covers_name(stream: StreamKey, app: str, name: str) -> bool:
    """Whether a stream fits ``app`` and ``name``, in which ``*`` stands for any characters."""
    # A rendition (name@720p) is a part of its stream.
    return fnmatchcase(stream.app, app) and fnmatchcase(stream.name.partition("@")[0], name)


@dataclass(frozen=True, slots=True)
class StreamPattern:
    """``app/name`` with ``*`` for any characters; ``*`` alone is every stream."""

    app: str
    """The first segment."""

    name: str
    """The second segment."""

    @classmethod
    def parse(cls, text: str) -> "StreamPattern":
        """Reads a pattern. Raises `ValueError` with a sentence for people."""
        app, slash, name = text.partition("/")
        parts = ("*", "*") if text == "*" else (app, name if slash else "default")
        for part in parts:
            if not _PART.match(part) or part.count("*") > _MAX_STARS:
                raise ValueError("a stream pattern is app/name, with * for any characters")
        return cls(*parts)

    @property
    def is_all(self) -> bool:
        """Whether it means every stream, and so the server as a whole."""
        return self.app == self.name == "*"

    def covers(self, stream: StreamKey | None) -> bool:
        """Whether a stream fits; None is the server as a whole."""
        return self.is_all if stream is None else covers_name(stream, self.app, self.name)

    def __str__(self) -> str:
        return f"{self.app}/{self.name}"


@dataclass(frozen=True, slots=True)
class Rights:
    """All that one token opens."""

    actions: frozenset[Right]
    """What may be done."""

    patterns: tuple[StreamPattern, ...]
    """With which streams."""

    @classmethod
    def of(cls, actions: Iterable[str], patterns: Iterable[str]) -> "Rights":
        """Reads words. Unknown actions are left out: a token may say more than we know.

        Raises `ValueError` for a pattern that is none.
        """
        known = frozenset(Right(one) for one in actions if one in frozenset(Right))
        return cls(known, tuple(StreamPattern.parse(one) for one in patterns))

    def refusal(self, request: AccessRequest) -> str | None:
        """Why the token does not open what is asked, as a sentence for people; None: it does."""
        may = self.actions
        allowed = False
        match request.action:
            case Action.PUBLISH:
                allowed = Right.PUBLISH in may
            case Action.PLAY:
                allowed = Right.PLAY in may
            case Action.METRICS:
                return self._metrics()
            case Action.API:
                # The right to all of the API is bound to no stream.
                if Right.API in may:
                    return None
                allowed = self._api(request)
            case Action.CONNECT:
                return "the token opens no connection"
        if not allowed:
            return f"the token does not allow this ({request.action.value})"
        if not any(pattern.covers(request.stream) for pattern in self.patterns):
            return "the token is for another stream"
        return None

    def _api(self, request: AccessRequest) -> bool:
        if request.write:
            return Right.MANAGE in self.actions and request.manage
        # Who manages a stream has to see it.
        return bool(self.actions & {Right.MANAGE, Right.READ})

    def _metrics(self) -> str | None:
        if Right.METRICS in self.actions or Right.API in self.actions:
            return None
        if Right.READ in self.actions and any(one.is_all for one in self.patterns):
            return None
        return "the token does not allow this (metrics)"
