"""One call of a route: path, query and body as values, or a sentence that says what is wrong."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, Meta, UnsetType

from streamserver.api.problems import (
    BadRequestError,
    SlowBodyError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from streamserver.errors import InvalidNameError, LocalProtocolError
from streamserver.hub.stream import StreamState
from streamserver.names import StreamKey

__all__ = [
    "Call",
    "EventsQuery",
    "NoQuery",
    "PageQuery",
    "StateFilter",
    "StreamsQuery",
    "check_no_body",
    "parse_body",
    "parse_query",
    "parse_stream",
    "queried_stream",
]

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)

_MAX_BODY_BYTES: Final = 64 * 1024
"""Far more than any route takes."""

_NOT_JSON: Final = f"a body must be JSON ({hdrs.CONTENT_TYPE}: application/json)"

_AT: Final = re.compile(r"(?P<what>.*?) - at `\$\.(?P<name>\w+)`\Z", re.DOTALL)


class StateFilter(StrEnum):
    """The states that a stream can be looked for by."""

    IDLE = StreamState.IDLE.value
    LIVE = StreamState.LIVE.value
    INTERRUPTED = StreamState.INTERRUPTED.value


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a long list."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many items.")] = 1000
    offset: Annotated[int, Meta(ge=0, le=1_000_000, description="Items to leave out first.")] = 0


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the stream of events."""

    stream: Annotated[
        str,
        Meta(max_length=4096, description="Only of these: app/name, app/*; separated by commas."),
    ] = ""
    type: Annotated[
        str,
        Meta(max_length=1024, description="Only of these types or groups (viewer.*)."),
    ] = ""
    last_event_id: Annotated[
        str,
        Meta(
            max_length=64,
            description="Go on after this event, as the header Last-Event-ID does; one that is "
            "unknown, such as 0, begins with a reset that holds the live streams.",
        ),
    ] = ""


class StreamsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of streams."""

    state: Annotated[StateFilter | UnsetType, Meta(description="Only streams in this state.")] = (
        UNSET
    )
    search: Annotated[
        str,
        Meta(max_length=257, description="Only those with this in app/name or title."),
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many items.")] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000, description="Items to leave out first.")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q]):
    """What a handler is given."""

    query: Q
    """The query's parameters, checked."""

    id: str = ""
    """``{id}`` of the path."""

    pattern: tuple[str, str] = ("", "")
    """``{app}/{scope}`` of the path, not checked."""

    key: StreamKey | None = None
    """``{app}/{name}`` of the path."""

    body: msgspec.Struct | None = field(default=None, repr=False)
    """What came with it, checked; may hold secrets."""

    @property
    def stream(self) -> StreamKey:
        """The stream that the path names; `LocalProtocolError` where paths name none."""
        if self.key is None:
            raise LocalProtocolError("this route names no stream")
        return self.key

    def read(self, kind: type[B]) -> B:
        """The body, of the type that the route takes; `LocalProtocolError` for another."""
        if not isinstance(self.body, kind):
            raise LocalProtocolError("this route takes no such body")
        return self.body


def parse_stream(path: Mapping[str, str]) -> StreamKey | None:
    """The stream that a path names. Raises `InvalidNameError`."""
    return StreamKey(path["app"], path["name"]) if "name" in path else None


def queried_stream(request: web.Request) -> StreamKey | None:
    """The stream that the query names, where it names exactly one and no pattern."""
    named = request.query.getall("stream", [])
    try:
        return StreamKey.parse(named[0]) if len(named) == 1 and "/" in named[0] else None
    except InvalidNameError:
        return None


def parse_query(request: web.Request, kind: type[Q]) -> Q:
    """The query as a struct. Raises `BadRequestError` naming the parameter."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise BadRequestError(f"the query parameter {_shown(name)} is given twice")
        given[name] = value
    known = kind.__struct_fields__
    for name in given:
        if name not in known:
            offer = f"; known are: {', '.join(known)}" if known else "; there are none here"
            raise BadRequestError(f"there is no query parameter {_shown(name)}{offer}")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError(_explain(str(error), kind)) from None


async def parse_body(request: web.Request, kind: type[B], timeout_s: float) -> B:
    """The body as a struct. Raises `BadRequestError` naming the field.

    `UnsupportedMediaTypeError` for one that is not said to be JSON: HTML forms cannot send JSON.
    """
    body = await _body(request, timeout_s)
    if body and request.content_type != "application/json":
        raise UnsupportedMediaTypeError(_NOT_JSON)
    if not body:
        raise BadRequestError("this request needs a body in JSON")
    try:
        return _decode(body, kind)
    except msgspec.ValidationError as error:
        # It names types and fields, never values.
        raise BadRequestError(f"the body is wrong: {error}".replace("`", "")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError("the body is no JSON") from None


def _decode(body: bytes, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
    # JSON Schema Validation 2020-12, section 6.1.1: 1.0 is an integer, too.
    return msgspec.convert(_whole_numbers(msgspec.json.decode(body)), kind)


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole_numbers(one) for name, one in value.items()}
    return value


async def check_no_body(request: web.Request, timeout_s: float) -> None:
    """For a route that takes no body: only an empty one, or an empty JSON object, is taken.

    Raises `UnsupportedMediaTypeError` for a body that is not JSON.
    """
    body = await _body(request, timeout_s)
    if not body:
        return
    if request.content_type != "application/json":
        raise UnsupportedMediaTypeError(_NOT_JSON)
    try:
        msgspec.json.decode(body, type=NoQuery)
    except msgspec.MsgspecError as error:
        raise BadRequestError(f"this request takes no body: {error}") from None


async def _body(request: web.Request, timeout_s: float) -> bytes:
    if not request.can_read_body:
        return b""
    try:
        # aiohttp never ends a body whose chunks are broken; slow ones exist, too.
        async with asyncio.timeout(timeout_s):
            return await _read(request)
    except TimeoutError:
        raise SlowBodyError(f"the body did not come within {timeout_s:g} s") from None


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > _MAX_BODY_BYTES:
                raise TooLargeError(f"a body has at most {_MAX_BODY_BYTES} bytes")
    except web.RequestPayloadError:
        raise BadRequestError("the body of the request is broken") from None
    return bytes(body)


def _explain(message: str, kind: type[msgspec.Struct]) -> str:
    found = _AT.match(message)
    if found is None:
        return f"the query is wrong: {message}"
    name, what = found["name"], found["what"].replace("`", "")
    choices = _choices(kind, name)
    if choices:
        what = f"it is one of {', '.join(choices)}"
    return f"the query parameter {name} is wrong: {what[:1].lower()}{what[1:]}"


def _choices(kind: type[msgspec.Struct], name: str) -> list[str]:
    """The values of a parameter that is an enumeration."""
    _, components = msgspec.json.schema_components([kind])
    schema: dict[str, Any] = components[kind.__name__]["properties"][name]
    for part in (schema, *schema.get("allOf", ()), *schema.get("anyOf", ())):
        reference = part.get("$ref", "").rpartition("/")[2]
        if "enum" in components.get(reference, {}):
            return list(components[reference]["enum"])
    return []


def _shown(text: str) -> str:
    """A name that came from outside, safe to show."""
    return ascii(text[:64])
