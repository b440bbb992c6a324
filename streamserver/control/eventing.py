"""Puts events together, for the composition root: who writes them, who reads them, what is kept."""

import ssl
from collections.abc import Iterable
from typing import Final

from streamserver.clock import Clock
from streamserver.config import WebhookConfig
from streamserver.control.announcing import Announcer
from streamserver.control.callbacks import Callbacks
from streamserver.control.facts import ServerFacts
from streamserver.control.live_record import LiveRecord, next_boot
from streamserver.events import EventLog
from streamserver.hub.driver import Driver
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import SessionTable
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.net.resolver import Resolver
from streamserver.storage import Storage
from streamserver.webhooks.assembly import configured_webhooks, make_http_client
from streamserver.webhooks.manager import Webhooks

__all__ = ["Eventing", "open_events"]

_GRACE_S: Final = 2.0
"""How long the last events have to reach webhooks; the rest goes out after the next start."""


class Eventing:
    """The log, and everything that hangs on it."""

    def __init__(
        self,
        log: EventLog,
        announcer: Announcer,
        record: LiveRecord,
        webhooks: Webhooks,
        client: HttpClient,
        callbacks: Callbacks,
    ) -> None:
        self.log = log
        """What happened."""
        self.announcer = announcer
        """Who writes it."""
        self.webhooks = webhooks
        """Where it is sent to."""
        self._record = record
        self._client = client
        self._callbacks = callbacks

    async def close(self) -> None:
        """Tells the last events, and writes what has to outlive the process."""
        self.log.close()
        await self._callbacks.close()
        await self.webhooks.close(_GRACE_S)
        await self._client.close()
        await self._record.flush()


async def open_events(
    *,
    registry: Registry,
    sessions: SessionTable,
    driver: Driver,
    facts: ServerFacts,
    storage: Storage,
    resolver: Resolver,
    clock: Clock,
    callbacks: Callbacks,
    webhooks: Iterable[WebhookConfig],
    public_url: str = "",
    tls: ssl.SSLContext,
    allow_private: bool = True,
) -> Eventing:
    """Begins to listen, and says what a crash of the last process ended.

    Call it before any other listener of the registry is added. Raises `StorageError` and
    `ConfigError`. ``tls`` is whom webhooks are to believe.
    """
    boot = await next_boot(storage, clock.wall_ns())
    log = EventLog(boot=boot, wall_ns=clock.wall_ns, schedule=driver.schedule)
    announcer = Announcer(
        log=log,
        registry=registry,
        sessions=sessions,
        facts=facts,
        clock=clock,
        public_url=public_url,
    )
    record = LiveRecord(storage, announcer.live)
    left_over = await record.left_over()
    announcer.left_over(left_over)
    announcer.on_live_changed = record.touch
    guard = OutgoingGuard(resolver, allow_private=allow_private)
    client = make_http_client(guard, tls, version=facts.version)
    sent = Webhooks(log=log, http=client, guard=guard, storage=storage, clock=clock)
    try:
        await sent.load(configured_webhooks(webhooks))
    except BaseException:
        await sent.close()
        await client.close()
        raise
    if left_over:
        # Only now: the queues of the webhooks are on their way to the storage.
        record.touch()
    callbacks.start(log)
    driver.add_ticker(announcer.tick, seldom=True)
    return Eventing(log, announcer, record, sent, client, callbacks)
