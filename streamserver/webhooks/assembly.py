"""Puts the parts of webhooks together, for the composition root."""

from collections.abc import Iterable

from streamserver.config import WebhookConfig
from streamserver.errors import ConfigError
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.net.tls import client_context
from streamserver.webhooks.manager import ConfiguredWebhook

__all__ = ["configured_webhooks", "make_http_client"]


def make_http_client(guard: OutgoingGuard, *, version: str, ca_file: str = "") -> HttpClient:
    """The client of all webhooks. Reads the authorities from disk. Raises `ConfigError`."""
    try:
        context = client_context(ca_file)
    except OSError as error:
        words = error.strerror or error
        raise ConfigError(f"outgoing.ca_file: {ca_file} cannot be used: {words}") from error
    return HttpClient(guard, context, user_agent=f"streamserver/{version}")


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
