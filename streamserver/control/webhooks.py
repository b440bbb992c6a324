"""The operations on webhooks."""

from dataclasses import replace
from typing import Any

from streamserver.control.webhook_models import (
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookDeliveryPage,
    WebhookError,
    WebhookPage,
)
from streamserver.times import unix_ns_to_rfc3339
from streamserver.webhooks.endpoint import Endpoint, WebhookSpec, WebhookState, masked_url
from streamserver.webhooks.manager import Webhooks
from streamserver.webhooks.outbox import Delivery

__all__ = ["WebhookControl"]


class WebhookControl:
    """What may be asked about where events are sent to.

    What does not exist raises `NotFoundError`, what cannot be another `RefusedError`.
    """

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def list(self) -> WebhookPage:
        """All of them."""
        items = [_present(one) for one in self._webhooks.all()]
        return WebhookPage(items=items, total=len(items))

    async def get(self, ident: str) -> Webhook:
        """One of them."""
        return _present(self._webhooks.get(ident))

    async def add(self, new: NewWebhook) -> Webhook:
        """Adds one; the answer, and no other, tells its secret."""
        spec = WebhookSpec(
            id="",
            url=new.url,
            name=new.name,
            events=new.events,
            streams=new.streams,
            secret=new.secret or "",
            enabled=new.enabled,
            timeout_s=new.timeout_s,
        )
        added = await self._webhooks.add(spec)
        return _present(added, secret=added.spec.secret)

    async def change(self, ident: str, change: WebhookChange) -> Webhook:
        """Changes one, and tries at once what waits."""
        wishes: dict[str, Any] = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not None
        }
        changed = await self._webhooks.change(ident, lambda spec: replace(spec, **wishes))
        return _present(changed, secret=change.secret)

    async def remove(self, ident: str) -> None:
        """Forgets one, with all that it had to send."""
        await self._webhooks.remove(ident)

    async def deliveries(
        self, ident: str, *, limit: int = 1000, offset: int = 0
    ) -> WebhookDeliveryPage:
        """What waits, and what became of the rest, newest first."""
        found = list(self._webhooks.get(ident).outbox.newest_first())
        items = [_delivery(one) for one in found[offset : offset + limit]]
        return WebhookDeliveryPage(items=items, total=len(found))


def _present(one: Endpoint, *, secret: str | None = None) -> Webhook:
    spec, outbox = one.spec, one.outbox
    error = outbox.last_error
    next_ns = outbox.next_attempt_ns if one.state is WebhookState.BACKOFF else None
    return Webhook(
        id=spec.id,
        name=spec.name,
        url=masked_url(spec.url),
        events=list(spec.events),
        streams=list(spec.streams),
        enabled=spec.enabled,
        timeout_s=spec.timeout_s,
        configured=spec.configured,
        signed=bool(spec.secret),
        secret=secret,
        state=one.state,
        queued=len(outbox),
        delivered=outbox.delivered,
        failed=outbox.failed,
        dropped=outbox.dropped,
        last_error=(
            None
            if error is None
            else WebhookError(message=error[0], at=unix_ns_to_rfc3339(error[1]))
        ),
        next_attempt_at=_time(next_ns or 0),
    )


def _delivery(one: Delivery) -> WebhookDelivery:
    return WebhookDelivery(
        event_id=one.event_id,
        type=one.event_type,
        stream=one.stream or None,
        created_at=unix_ns_to_rfc3339(one.created_ns),
        state=one.state,
        attempts=one.attempts,
        status=one.status or None,
        duration_ms=one.duration_ms if one.attempts else None,
        error=one.error or None,
        next_attempt_at=_time(one.next_ns),
        finished_at=_time(one.finished_ns),
    )


def _time(unix_ns: int) -> str | None:
    return unix_ns_to_rfc3339(unix_ns) if unix_ns else None
