"""The handlers of the routes: each makes one call of `Control`, or reads a figure."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import UNSET, Meta

from streamserver.api.calls import Call, EventsQuery, NoQuery, PageQuery, StreamsQuery
from streamserver.api.event_streams import EventStreams
from streamserver.api.idempotency import Idempotency
from streamserver.api.problems import UnhealthyError
from streamserver.api.streamed import Streamed
from streamserver.clock import Clock
from streamserver.control.control import Control
from streamserver.control.credentials import CredentialControl
from streamserver.control.live_settings import LiveSettings
from streamserver.control.models import (
    Destination,
    DestinationChange,
    DestinationPage,
    NewDestination,
    ServerInfo,
    ServerState,
    SessionPage,
    StreamInfo,
    StreamPage,
    ViewerCount,
    ViewerPage,
)
from streamserver.control.registering import Registering
from streamserver.control.reloading import Reloading
from streamserver.control.webhook_models import (
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDeliveryPage,
    WebhookPage,
)
from streamserver.control.webhooks import WebhookControl
from streamserver.errors import ShuttingDownError
from streamserver.events import EventFilter
from streamserver.hub.stream import StreamState

__all__ = ["Heartbeat", "Probe", "Services"]

_TICK_WITHIN_NS: Final = 2_000_000_000
"""A loop that has not ticked for this long is stuck; it ticks four times a second."""


class Heartbeat(Protocol):
    """The hub's driver: shows that the loop turns."""

    @property
    def last_tick_ns(self) -> int:
        """Monotonic time of the last tick."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a probe that is content."""

    status: Annotated[str, Meta(description="Always ok.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What handlers work with."""

    control: Control
    """The operations."""

    settings: LiveSettings
    """What may change."""

    reloading: Reloading
    """Reads the configuration again."""

    idempotency: Idempotency
    """Gives answers again."""

    registering: Registering
    """Those on registered streams."""

    credentials: CredentialControl
    """Those on tokens and bans."""

    scrape: Callable[[], Awaitable[bytes]]
    """Renders the metrics."""

    heartbeat: Heartbeat
    """Shows that the loop turns."""

    clock: Clock
    """The time."""

    events: EventStreams
    """Sends what happens."""

    webhooks: WebhookControl
    """The operations on webhooks."""

    openapi: Callable[[], bytes]
    """The OpenAPI document; see ``openapi.render``."""


async def server(services: Services, call: Call[NoQuery]) -> ServerInfo:
    """``GET /api/v1/server``."""
    return await services.control.server_info()


async def openapi(services: Services, call: Call[NoQuery]) -> bytes:
    """``GET /api/v1/openapi.json``."""
    # In a thread: the first time it takes some 40 ms.
    return await asyncio.to_thread(services.openapi)


async def streams(services: Services, call: Call[StreamsQuery]) -> StreamPage:
    """``GET /api/v1/streams``."""
    query = call.query
    return await services.control.streams(
        state=None if query.state is UNSET else StreamState(query.state),
        search=query.search,
        limit=query.limit,
        offset=query.offset,
    )


async def stream(services: Services, call: Call[NoQuery]) -> StreamInfo:
    """``GET /api/v1/streams/{app}/{name}``."""
    return await services.control.stream(call.stream)


async def stop(services: Services, call: Call[NoQuery]) -> None:
    """``POST /api/v1/streams/{app}/{name}/stop``."""
    await services.control.stop(call.stream)


async def viewers(services: Services, call: Call[PageQuery]) -> ViewerPage:
    """``GET /api/v1/streams/{app}/{name}/viewers``."""
    query = call.query
    return await services.control.viewers(call.stream, limit=query.limit, offset=query.offset)


async def viewer_count(services: Services, call: Call[NoQuery]) -> ViewerCount:
    """``GET …/viewers/count``, of one stream or of all."""
    return await services.control.viewer_count(call.key)


async def destinations(services: Services, call: Call[NoQuery]) -> DestinationPage:
    """``GET …/destinations``."""
    return await services.control.destinations.list(call.stream)


async def add_destination(services: Services, call: Call[NoQuery]) -> Destination:
    """``POST …/destinations``."""
    return await services.control.destinations.add(call.stream, call.read(NewDestination))


async def destination(services: Services, call: Call[NoQuery]) -> Destination:
    """``GET …/destinations/{id}``."""
    return await services.control.destinations.get(call.stream, call.id)


async def change_destination(services: Services, call: Call[NoQuery]) -> Destination:
    """``PATCH …/destinations/{id}``."""
    change = call.read(DestinationChange)
    return await services.control.destinations.change(call.stream, call.id, change)


async def remove_destination(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE …/destinations/{id}``."""
    await services.control.destinations.remove(call.stream, call.id)


async def retry_destination(services: Services, call: Call[NoQuery]) -> Destination:
    """``POST …/destinations/{id}/retry``."""
    return await services.control.destinations.retry(call.stream, call.id)


async def kick_viewer(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE /api/v1/viewers/{id}``."""
    await services.control.kick_viewer(call.id)


async def sessions(services: Services, call: Call[PageQuery]) -> SessionPage:
    """``GET /api/v1/sessions``."""
    return await services.control.sessions(limit=call.query.limit, offset=call.query.offset)


async def kick_session(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE /api/v1/sessions/{id}``."""
    await services.control.kick_session(call.id)


async def events(services: Services, call: Call[EventsQuery]) -> Streamed:
    """``GET /api/v1/events``."""
    query = call.query
    return services.events.open(EventFilter.parse(query.stream, query.type), query.last_event_id)


async def webhooks(services: Services, call: Call[NoQuery]) -> WebhookPage:
    """``GET /api/v1/webhooks``."""
    return await services.webhooks.list()


async def add_webhook(services: Services, call: Call[NoQuery]) -> Webhook:
    """``POST /api/v1/webhooks``."""
    return await services.webhooks.add(call.read(NewWebhook))


async def webhook(services: Services, call: Call[NoQuery]) -> Webhook:
    """``GET /api/v1/webhooks/{id}``."""
    return await services.webhooks.get(call.id)


async def change_webhook(services: Services, call: Call[NoQuery]) -> Webhook:
    """``PATCH /api/v1/webhooks/{id}``."""
    return await services.webhooks.change(call.id, call.read(WebhookChange))


async def remove_webhook(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE /api/v1/webhooks/{id}``."""
    await services.webhooks.remove(call.id)


async def webhook_deliveries(services: Services, call: Call[PageQuery]) -> WebhookDeliveryPage:
    """``GET /api/v1/webhooks/{id}/deliveries``."""
    query = call.query
    return await services.webhooks.deliveries(call.id, limit=query.limit, offset=query.offset)


async def healthz(services: Services, call: Call[NoQuery]) -> Probe:
    """``GET /healthz``: whether the loop ticked lately."""
    silent_ns = services.clock.monotonic_ns() - services.heartbeat.last_tick_ns
    if silent_ns > _TICK_WITHIN_NS:
        raise UnhealthyError(f"the event loop was stuck for {silent_ns // 1_000_000} ms")
    return Probe(status="ok")


async def readyz(services: Services, call: Call[NoQuery]) -> Probe:
    """``GET /readyz``: whether newcomers are welcome."""
    state = services.control.state
    if state is ServerState.DRAINING:
        raise ShuttingDownError("the server is shutting down")
    if state is ServerState.STARTING:
        raise UnhealthyError("the server is starting; not every port is open yet")
    return Probe(status="ok")


async def metrics(services: Services, call: Call[NoQuery]) -> bytes:
    """``GET /metrics``."""
    return await services.scrape()
