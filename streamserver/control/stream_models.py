"""Shapes of the API that are about registered streams; see `models`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streamserver.control.models import NewDestination, StreamInfo

__all__ = ["NewStream", "PublishKey", "RegisteredStream", "StreamChange"]


def _says(text: str) -> Meta:
    return Meta(description=text)


Segment = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]

Title = Annotated[str, Meta(max_length=200, description="For people.")]

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=128)], Any],
    Meta(max_length=64, description="Anything, as JSON, kept and shown; at most 16 KB."),
]


class NewStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream to register."""

    app: Annotated[Segment, _says("First segment of its name.")]
    name: Annotated[Segment, _says("Second segment of its name.")]
    title: Title = ""
    metadata: Metadata = {}
    record: Annotated[bool, _says("Whether it is to be recorded.")] = False
    destinations: Annotated[
        tuple[NewDestination, ...],
        Meta(max_length=32, description="Where it is sent on to."),
    ] = ()


class StreamChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a registered stream; null, or nothing, leaves as it is."""

    title: Title | None = None
    metadata: Metadata | None = None
    record: Annotated[bool | None, _says("Whether it is to be recorded.")] = None


_KEY = _says("Its publish key: the stream key of an encoder by itself, or ?key=. Shown this once.")


class RegisteredStream(StreamInfo, frozen=True, kw_only=True):
    """A stream that was just registered."""

    publish_key: Annotated[str, _KEY]


class PublishKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new publish key."""

    app: Annotated[str, _says("First segment of the stream's name.")]
    name: Annotated[str, _says("Second segment of the stream's name.")]
    publish_key: Annotated[str, _KEY]
