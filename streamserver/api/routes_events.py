"""The routes of events and webhooks."""

from typing import Any, Final

from streamserver.api import handlers
from streamserver.api.access import Access
from streamserver.api.calls import EventsQuery, NoQuery, PageQuery
from streamserver.api.route import Route
from streamserver.control.webhook_models import (
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDeliveryPage,
    WebhookPage,
)

__all__ = ["EVENT_ROUTES"]

_WEBHOOKS: Final = "/api/v1/webhooks"
_WEBHOOK: Final = f"{_WEBHOOKS}/{{id}}"

EVENT_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="GET",
        path="/api/v1/events",
        handler=handlers.events,
        name="readEvents",
        tag="events",
        summary="What happens, as Server-Sent Events; the same objects over WebSocket on upgrade.",
        access=Access.READ,
        query=EventsQuery,
        content_type="text/event-stream",
        problems=(503,),
        asks_by_stream=True,
    ),
    Route(
        method="GET",
        path=_WEBHOOKS,
        handler=handlers.webhooks,
        name="listWebhooks",
        tag="events",
        summary="Where events are sent to.",
        access=Access.READ,
        query=NoQuery,
        response=WebhookPage,
    ),
    Route(
        method="POST",
        path=_WEBHOOKS,
        handler=handlers.add_webhook,
        name="addWebhook",
        tag="events",
        summary="Send events to one more URL; the answer tells the key of the signatures, once.",
        access=Access.WRITE,
        query=NoQuery,
        body=NewWebhook,
        response=Webhook,
        problems=(409, 503),
    ),
    Route(
        method="GET",
        path=_WEBHOOK,
        handler=handlers.webhook,
        name="getWebhook",
        tag="events",
        summary="One webhook.",
        access=Access.READ,
        query=NoQuery,
        response=Webhook,
        problems=(404,),
    ),
    Route(
        method="PATCH",
        path=_WEBHOOK,
        handler=handlers.change_webhook,
        name="changeWebhook",
        tag="events",
        summary="Change, pause or resume it; what waits is tried at once.",
        access=Access.WRITE,
        query=NoQuery,
        body=WebhookChange,
        response=Webhook,
        problems=(404, 409),
    ),
    Route(
        method="DELETE",
        path=_WEBHOOK,
        handler=handlers.remove_webhook,
        name="removeWebhook",
        tag="events",
        summary="Send nothing more to it, and forget what waited.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404, 409),
    ),
    Route(
        method="GET",
        path=f"{_WEBHOOK}/deliveries",
        handler=handlers.webhook_deliveries,
        name="listDeliveries",
        tag="events",
        summary="What waits for a webhook and what became of the rest, newest first.",
        access=Access.READ,
        query=PageQuery,
        response=WebhookDeliveryPage,
        problems=(404,),
    ),
)
"""Part of the one table."""
