"""The one table of routes: aiohttp's routing and the OpenAPI document are both made from it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from streamserver.api import handlers
from streamserver.api.access import Access
from streamserver.api.calls import Call, NoQuery, PageQuery, StreamsQuery
from streamserver.api.handlers import Probe, Services
from streamserver.control.models import (
    Destination,
    DestinationChange,
    DestinationPage,
    NewDestination,
    ServerInfo,
    SessionPage,
    StreamInfo,
    StreamPage,
    ViewerCount,
    ViewerPage,
)
from streamserver.metrics import CONTENT_TYPE as METRICS_TYPE

__all__ = ["ROUTES", "Route"]

Q = TypeVar("Q", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[Q]):
    """One method of one path."""

    method: str
    """``GET`` (which answers ``HEAD``, too), ``POST``, ``PATCH``, ``DELETE``."""

    path: str
    """Below the base path; ``{app}``, ``{name}`` and ``{id}`` are parameters."""

    handler: Callable[[Services, Call[Q]], Awaitable[msgspec.Struct | bytes | None]]
    """Answers a struct (sent as JSON), bytes of `content_type`, or None (204)."""

    name: str
    """``operationId``: unique, stable."""

    tag: str
    """The group in the document."""

    summary: str
    """One line for people."""

    access: Access
    """What it asks of its caller."""

    query: type[Q]
    """Its query parameters."""

    body: type[msgspec.Struct] | None = None
    """What it takes as JSON; None for a route that takes none."""

    response: type[msgspec.Struct] | None = None
    """What it answers; None for bytes or nothing."""

    content_type: str = "application/json"
    """The media type of the answer."""

    problems: tuple[int, ...] = ()
    """Statuses of refusals besides those that follow from the other fields."""

    lenient: bool = False
    """Whether unknown query parameters are ignored: a load balancer may add its own."""

    @property
    def is_write(self) -> bool:
        """Whether something changes."""
        return self.method not in ("GET", "HEAD")

    @property
    def status(self) -> int:
        """Of success; RFC 9110, section 15.3.2: 201 where something was made."""
        if self.is_write and self.response is None:
            return 204
        return 201 if self.method == "POST" and self.body is not None else 200

    @property
    def has_answer(self) -> bool:
        """Whether the answer has a body; otherwise its status is 204."""
        return not self.is_write or self.response is not None

    @property
    def refusals(self) -> list[int]:
        """Every status of a problem document that the route answers."""
        statuses = set(self.problems)
        if self.access is not Access.PUBLIC:
            statuses |= {401, 403}
        if not self.lenient or "{" in self.path:
            statuses.add(400)
        if self.body is not None:
            statuses.add(400)
        if self.is_write:
            statuses |= {403, 408, 413, 415}
        return sorted(statuses)


_STREAM: Final = "/api/v1/streams/{app}/{name}"
_DESTINATIONS: Final = f"{_STREAM}/destinations"
_DESTINATION: Final = f"{_DESTINATIONS}/{{id}}"

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="GET",
        path="/api/v1/server",
        handler=handlers.server,
        name="getServer",
        tag="server",
        summary="Version, uptime, open ports and totals.",
        access=Access.READ,
        query=NoQuery,
        response=ServerInfo,
    ),
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        handler=handlers.openapi,
        name="getOpenApi",
        tag="server",
        summary="This document.",
        access=Access.READ,
        query=NoQuery,
    ),
    Route(
        method="GET",
        path="/api/v1/streams",
        handler=handlers.streams,
        name="listStreams",
        tag="streams",
        summary="The streams, in the order of their names.",
        access=Access.READ,
        query=StreamsQuery,
        response=StreamPage,
    ),
    Route(
        method="GET",
        path=_STREAM,
        handler=handlers.stream,
        name="getStream",
        tag="streams",
        summary="One stream.",
        access=Access.READ,
        query=NoQuery,
        response=StreamInfo,
        problems=(404,),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/stop",
        handler=handlers.stop,
        name="stopStream",
        tag="streams",
        summary="End the broadcast and disconnect its publisher, who may publish again.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404,),
    ),
    Route(
        method="GET",
        path=f"{_STREAM}/viewers",
        handler=handlers.viewers,
        name="listViewers",
        tag="viewers",
        summary="Who watches a stream, oldest first.",
        access=Access.READ,
        query=PageQuery,
        response=ViewerPage,
        problems=(404,),
    ),
    Route(
        method="GET",
        path=f"{_STREAM}/viewers/count",
        handler=handlers.viewer_count,
        name="countViewersOfStream",
        tag="viewers",
        summary="How many watch a stream; open to everyone with http.public_viewer_count.",
        access=Access.VIEWER_COUNT,
        query=NoQuery,
        response=ViewerCount,
        problems=(404,),
    ),
    Route(
        method="GET",
        path=_DESTINATIONS,
        handler=handlers.destinations,
        name="listDestinations",
        tag="destinations",
        summary="Where a stream is sent on to, whether it is live or not.",
        access=Access.READ,
        query=NoQuery,
        response=DestinationPage,
    ),
    Route(
        method="POST",
        path=_DESTINATIONS,
        handler=handlers.add_destination,
        name="addDestination",
        tag="destinations",
        summary="Send a stream on; begins at once when it is live.",
        access=Access.WRITE,
        query=NoQuery,
        body=NewDestination,
        response=Destination,
        problems=(409, 503),
    ),
    Route(
        method="GET",
        path=_DESTINATION,
        handler=handlers.destination,
        name="getDestination",
        tag="destinations",
        summary="One destination.",
        access=Access.READ,
        query=NoQuery,
        response=Destination,
        problems=(404,),
    ),
    Route(
        method="PATCH",
        path=_DESTINATION,
        handler=handlers.change_destination,
        name="changeDestination",
        tag="destinations",
        summary="Rename, pause or resume a destination.",
        access=Access.WRITE,
        query=NoQuery,
        body=DestinationChange,
        response=Destination,
        problems=(404,),
    ),
    Route(
        method="DELETE",
        path=_DESTINATION,
        handler=handlers.remove_destination,
        name="removeDestination",
        tag="destinations",
        summary="Take leave of a destination and forget it.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404, 409),
    ),
    Route(
        method="POST",
        path=f"{_DESTINATION}/retry",
        handler=handlers.retry_destination,
        name="retryDestination",
        tag="destinations",
        summary="Try now, and not when the next attempt is due.",
        access=Access.WRITE,
        query=NoQuery,
        response=Destination,
        problems=(404, 409),
    ),
    Route(
        method="GET",
        path="/api/v1/viewers/count",
        handler=handlers.viewer_count,
        name="countViewers",
        tag="viewers",
        summary="How many watch, over all streams.",
        access=Access.READ,
        query=NoQuery,
        response=ViewerCount,
    ),
    Route(
        method="DELETE",
        path="/api/v1/viewers/{id}",
        handler=handlers.kick_viewer,
        name="kickViewer",
        tag="viewers",
        summary="Disconnect a viewer.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404,),
    ),
    Route(
        method="GET",
        path="/api/v1/sessions",
        handler=handlers.sessions,
        name="listSessions",
        tag="sessions",
        summary="Every connection, publishers included, oldest first.",
        access=Access.READ,
        query=PageQuery,
        response=SessionPage,
    ),
    Route(
        method="DELETE",
        path="/api/v1/sessions/{id}",
        handler=handlers.kick_session,
        name="kickSession",
        tag="sessions",
        summary="Disconnect a publisher or viewer.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404,),
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=handlers.healthz,
        name="getLiveness",
        tag="probes",
        summary="Whether the event loop turns.",
        access=Access.PUBLIC,
        query=NoQuery,
        response=Probe,
        problems=(503,),
        lenient=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=handlers.readyz,
        name="getReadiness",
        tag="probes",
        summary="Whether newcomers are welcome: every port is open and the server does not drain.",
        access=Access.PUBLIC,
        query=NoQuery,
        response=Probe,
        problems=(503,),
        lenient=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=handlers.metrics,
        name="getMetrics",
        tag="probes",
        summary="Metrics in Prometheus' text format 0.0.4.",
        access=Access.METRICS,
        query=NoQuery,
        content_type=METRICS_TYPE,
        lenient=True,
    ),
)
"""Every route of the API."""
