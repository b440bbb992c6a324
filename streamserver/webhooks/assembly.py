"""Puts the parts of webhooks together, for the composition root."""

from collections.abc import Iterable

from streamserver.clock import Clock
from streamserver.config import WebhookConfig
from streamserver.errors import ConfigError
from streamserver.events import EventLog
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.net.resolver import Resolver
from streamserver.net.tls import client_context
from streamserver.storage import Storage
from streamserver.webhooks.manager import ConfiguredWebhook, Webhooks

__all__ = ["configured_webhooks", "make_http_client", "make_webhooks"]


def make_http_client(guard: OutgoingGuard, *, version: str, ca_file: str = "") -> HttpClient:
    """The client of all webhooks. Reads the authorities from disk. Raises `ConfigError`."""
    try:
        context = client_context(ca_file)
    except OSError as error:
        words = error.strerror or error
        raise ConfigError(f"outgoing.ca_file: {ca_file} cannot be used: {words}") from error
    return HttpClient(guard, context, user_agent=f"streamserver/{version}")


def make_webhooks(
    *,
    log: EventLog,
    client: HttpClient,
    resolver: Resolver,
    storage: Storage,
    clock: Clock,
    allow_private: bool,
) -> Webhooks:
    """All webhooks; `Webhooks.load` is next. ``allow_private`` as in ``[outgoing]``."""
    guard = OutgoingGuard(resolver, allow_private=allow_private)
    return Webhooks(log=log, http=client, guard=guard, storage=storage, clock=clock)


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
