"""The routes that register streams."""

from typing import Any, Final

import msgspec

from streamserver.api.access import Access
from streamserver.api.calls import Call, NoQuery
from streamserver.api.handlers import Services
from streamserver.api.route import Route
from streamserver.control.models import NewDestination, StreamInfo
from streamserver.control.stream_models import (
    NewStream,
    PublishKey,
    RegisteredStream,
    StreamChange,
)

__all__ = ["STREAM_EXAMPLES", "STREAM_ROUTES"]

_STREAM: Final = "/api/v1/streams/{app}/{name}"


async def create_stream(services: Services, call: Call[NoQuery]) -> RegisteredStream:
    """``POST /api/v1/streams``."""
    return await services.registering.create(call.read(NewStream))


async def change_stream(services: Services, call: Call[NoQuery]) -> StreamInfo:
    """``PATCH /api/v1/streams/{app}/{name}``."""
    return await services.registering.change(call.stream, call.read(StreamChange))


async def remove_stream(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE /api/v1/streams/{app}/{name}``."""
    await services.registering.remove(call.stream)


async def new_stream_key(services: Services, call: Call[NoQuery]) -> PublishKey:
    """``POST /api/v1/streams/{app}/{name}/key``."""
    return await services.registering.new_key(call.stream)


STREAM_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="POST",
        path="/api/v1/streams",
        handler=create_stream,
        name="createStream",
        tag="streams",
        summary="Register a stream; the answer tells its publish key, once.",
        access=Access.WRITE,
        query=NoQuery,
        body=NewStream,
        response=RegisteredStream,
        problems=(409, 503),
    ),
    Route(
        method="PATCH",
        path=_STREAM,
        handler=change_stream,
        name="changeStream",
        tag="streams",
        summary="Change the title, the metadata or the recording of a registered stream.",
        access=Access.WRITE,
        query=NoQuery,
        body=StreamChange,
        response=StreamInfo,
        problems=(404,),
    ),
    Route(
        method="DELETE",
        path=_STREAM,
        handler=remove_stream,
        name="removeStream",
        tag="streams",
        summary="Forget a stream with its key and destinations, and end its broadcast.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404,),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/key",
        handler=new_stream_key,
        name="newStreamKey",
        tag="streams",
        summary="Give a stream a new publish key; the old one, and who uses it, is out.",
        access=Access.WRITE,
        manage=True,
        query=NoQuery,
        response=PublishKey,
        problems=(404,),
    ),
)
"""Their part of the one table."""

_KEY: Final = "aebagbafaydqqcikbmga2dqpcaireeyu"

STREAM_EXAMPLES: Final[tuple[msgspec.Struct, ...]] = (
    NewStream(
        app="live",
        name="show",
        title="The morning show",
        metadata={"owner": 42},
        destinations=(
            NewDestination(url="rtmps://a.rtmps.youtube.com/live2/ab12-cd34-ef56", name="YouTube"),
        ),
    ),
    StreamChange(title="The evening show"),
    PublishKey(app="live", name="show", publish_key=_KEY),
)
"""One example of each of their shapes but that of a stream."""
