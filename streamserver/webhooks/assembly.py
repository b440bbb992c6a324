"""Puts the parts of webhooks together, for the composition root."""

import ssl
from collections.abc import Iterable

from streamserver.config import WebhookConfig
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.webhooks.manager import ConfiguredWebhook

__all__ = ["configured_webhooks", "make_http_client"]


def make_http_client(guard: OutgoingGuard, tls: ssl.SSLContext, *, version: str) -> HttpClient:
    """The client of all webhooks; ``tls`` as `streamserver.net.tls.outgoing_context` makes it."""
    return HttpClient(guard, tls, user_agent=f"streamserver/{version}")


def configured_webhooks(webhooks: Iterable[WebhookConfig]) -> list[ConfiguredWebhook]:
    """Those of the configuration."""
    return [
        ConfiguredWebhook(
            url=one.url.reveal(),
            name=one.name,
            events=one.events,
            streams=one.streams,
            secret=one.secret.reveal(),
            enabled=one.enabled,
            timeout_s=one.timeout_s,
        )
        for one in webhooks
    ]
