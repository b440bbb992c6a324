"""What a hook is asked and what it answers, before any style gives it its words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from streamserver.auth.request import AccessRequest
from streamserver.config import HookAction
from streamserver.errors import StreamServerError
from streamserver.names import StreamKey
from streamserver.net.http_client import HttpAnswer

__all__ = ["BadAnswerError", "Body", "Notice", "Style", "Verdict", "client_of", "query_of"]


class BadAnswerError(StreamServerError):
    """The hook answered something that its style does not know: as good as no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a hook is told about a session."""

    action: HookAction
    """``disconnect``, ``publish_done``, ``play_done`` or ``update``."""

    request: AccessRequest
    """What the session had asked; its action tells publisher from viewer."""

    seconds: int = 0
    """How long it has been here; not for a connection."""

    log_ms: int = 0
    """Media time of its stream in milliseconds."""

    received_bytes: int = 0
    """Of a connection: what came."""

    sent_bytes: int = 0
    """Of a connection: what went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A question in the words of a style."""

    values: Mapping[str, Any] = field(repr=False)
    """Names and values, in order."""

    form: bool = False
    """Whether they are sent as a form; else as JSON."""

    def as_query(self) -> str:
        """The same for a URL or a form: an inner object becomes a query of its own."""
        flat = {name: _flat(value) for name, value in self.values.items()}
        return urlencode(flat, errors="replace")

    def as_json(self) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(_sound(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, understood."""

    allowed: bool
    """Yes or no."""

    reason: str = ""
    """What the hook says about it; empty: nothing."""

    outage: bool = False
    """Whether the no sounds like a backend in trouble rather than a decision."""

    stream: StreamKey | None = None
    """Another stream in the place of the one asked for."""

    destinations: tuple[str, ...] = field(default=(), repr=False)
    """Where the broadcast is sent on to."""

    expires_in_s: int | None = None
    """How long the yes holds."""


class Style(Protocol):
    """The words of one server."""

    def question(self, request: AccessRequest, headers: Mapping[str, str]) -> Body:
        """May this be done? ``headers`` are those that the hook is to be told."""

    def notice(self, notice: Notice) -> Body:
        """This has happened. Only asked for actions that the style has."""

    def read(self, answer: HttpAnswer, request: AccessRequest) -> Verdict:
        """What an answer means. Raises `BadAnswerError`."""


def client_of(request: AccessRequest) -> str:
    """The id of the connection, which those servers give all its events; else of the session."""
    return request.details.get("connection") or request.id


def query_of(request: AccessRequest) -> str:
    """The parameters of a client's URL as one text, without the question mark."""
    return urlencode(request.query, errors="replace")


def _flat(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return urlencode(value, errors="replace") if isinstance(value, Mapping) else str(value)


def _sound(value: Any) -> Any:
    """Text that can be written: clients can send halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_sound(name): _sound(one) for name, one in value.items()}
    return value
