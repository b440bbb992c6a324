"""The API over a small server, answered by aiohttp on a loopback port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from streamserver.api import (
    Api,
    ApiRequest,
    ApiSettings,
    Authorizer,
    MetricsSources,
    ServerMetrics,
    Services,
)
from streamserver.api.access import Grant
from streamserver.api.event_streams import EventStreams
from streamserver.api.idempotency import Idempotency
from streamserver.api.openapi import render
from streamserver.auth import (
    Access,
    AccessContext,
    BanSettings,
    BanTable,
    Chain,
    DefaultPolicy,
    Gate,
)
from streamserver.auth.stream_keys import StreamKeyDecider
from streamserver.auth.tokens import OwnTokens
from streamserver.clock import Clock
from streamserver.config import LoadedConfig
from streamserver.control import LoopLag
from streamserver.control.announcing import Announcer
from streamserver.control.credentials import CredentialControl
from streamserver.control.live_settings import LiveSettings
from streamserver.control.registering import Registering
from streamserver.control.reloading import Reloading
from streamserver.control.session_ends import SessionEnds
from streamserver.control.webhooks import WebhookControl
from streamserver.events import EventLog
from streamserver.hub.slicer import Slicer
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpAnswer, HttpClientError
from streamserver.net.resolver import DnsResolver
from streamserver.storage import MemoryStorage
from streamserver.webhooks.manager import Webhooks
from tests.control.helpers_world import World, call_at_once

Client = TestClient[web.Request, web.Application]


@dataclass
class FakeAuthorizer:
    """Remembers what it was asked; raises what it is told to."""

    error: Exception | None = None
    grant: Grant = field(default_factory=Grant)
    asked: list[ApiRequest] = field(default_factory=list)

    async def authorize(self, request: ApiRequest) -> Grant:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return self.grant


@dataclass
class FakeDriver:
    """A loop's heart, and its failures."""

    last_tick_ns: int = 0
    failures: int = 0


def unguarded_access(storage: MemoryStorage, clock: Clock) -> Access:
    """Who may, as far as operations on credentials look."""
    bans = BanTable(BanSettings(), clock.monotonic_ns)
    return Access(
        gate=Gate(Chain([], DefaultPolicy(api_hash="")), bans),
        tokens=OwnTokens(b"secret", clock.wall_ns),
        stream_keys=StreamKeyDecider(storage),
        store=storage,
        context=AccessContext(clock=clock),
    )


class NoHttp:
    """Nobody is there."""

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float
    ) -> HttpAnswer:
        raise HttpClientError("connection refused")


def soon(function: Callable[[], None]) -> None:
    """As the hub's driver does it."""
    asyncio.get_running_loop().call_soon(function)


class ApiWorld(World):
    """A small server with its API."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.driver = FakeDriver(self.clock.now_ns)
        self.slicer = Slicer(now_ns=self.clock.monotonic_ns, schedule=call_at_once)
        self.authorizer = FakeAuthorizer()
        self.storage = MemoryStorage()
        self.records._storage = self.storage
        self.live_settings = LiveSettings(LoadedConfig(), self.storage)
        self.certificates_reloaded = asyncio.Event()
        self.idempotency = Idempotency(self.storage, self.clock.wall_ns)
        self.access = unguarded_access(self.storage, self.clock)
        self.ends = SessionEnds(self.sessions, self.clock)
        self.events = EventLog(boot=1, wall_ns=self.clock.wall_ns, schedule=soon)
        self.announcer = Announcer(
            log=self.events,
            registry=self.registry,
            sessions=self.sessions,
            facts=self.facts,
            clock=self.clock,
        )
        self.event_streams = EventStreams(
            self.events,
            self.control.snapshot,
            self.clock.wall_ns,
            ends=self.ends,
            max_clients=3,
            ping_s=0.05,
        )
        self.webhooks = Webhooks(
            log=self.events,
            http=NoHttp(),
            guard=OutgoingGuard(DnsResolver(), allow_private=True),
            storage=MemoryStorage(),
            clock=self.clock,
        )
        self.metrics = ServerMetrics(
            MetricsSources(
                facts=self.facts,
                registry=self.registry,
                sessions=self.sessions,
                totals=self.totals,
                slicer=self.slicer,
                driver=self.driver,
                loop_lag=LoopLag(),
                destinations=self.destinations,
                events=self.events,
                announcer=self.announcer,
                event_streams=self.event_streams,
                webhooks=self.webhooks,
            )
        )

    def api(self, settings: ApiSettings | None = None, authorizer: Authorizer | None = None) -> Api:
        """The API, as the composition root makes it."""
        credentials = CredentialControl(self.access, self.storage, self.ends, self.clock)
        services = Services(
            settings=self.live_settings,
            reloading=Reloading(
                self.live_settings, self.access, credentials, self.certificates_reloaded.set
            ),
            idempotency=self.idempotency,
            registering=Registering(self.control, self.records, credentials),
            events=self.event_streams,
            webhooks=WebhookControl(self.webhooks),
            control=self.control,
            credentials=credentials,
            scrape=self.metrics.scrape,
            heartbeat=self.driver,
            clock=self.clock,
            openapi=render,
        )
        return Api(services, authorizer or self.authorizer, settings or ApiSettings())

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        *,
        settings: ApiSettings | None = None,
        authorizer: Authorizer | None = None,
        **request: Any,
    ) -> AsyncIterator[ClientResponse]:
        """One request by a client of its own."""
        async with (
            self.client(settings=settings, authorizer=authorizer) as client,
            client.request(method, path, **request) as response,
        ):
            yield response

    @asynccontextmanager
    async def client(
        self,
        *,
        base: str = "",
        settings: ApiSettings | None = None,
        authorizer: Authorizer | None = None,
    ) -> AsyncIterator[Client]:
        """A client of an application that has nothing but the API."""
        app = web.Application()
        self.api(settings, authorizer).register(app, base)
        async with TestClient(TestServer(app)) as client:
            yield client
