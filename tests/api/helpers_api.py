"""The API over a small server, answered by aiohttp on a loopback port."""

from collections.abc import AsyncIterator
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
from streamserver.control import LoopLag
from streamserver.control.credentials import CredentialControl
from streamserver.control.session_ends import SessionEnds
from streamserver.hub.slicer import Slicer
from streamserver.storage import MemoryStorage
from tests.control.helpers_world import World, call_at_once

Client = TestClient[web.Request, web.Application]


@dataclass
class FakeAuthorizer:
    """Remembers what it was asked; raises what it is told to."""

    error: Exception | None = None
    asked: list[ApiRequest] = field(default_factory=list)

    async def authorize(self, request: ApiRequest) -> None:
        self.asked.append(request)
        if self.error is not None:
            raise self.error


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


class ApiWorld(World):
    """A small server with its API."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.driver = FakeDriver(self.clock.now_ns)
        self.slicer = Slicer(now_ns=self.clock.monotonic_ns, schedule=call_at_once)
        self.authorizer = FakeAuthorizer()
        self.storage = MemoryStorage()
        self.access = unguarded_access(self.storage, self.clock)
        self.ends = SessionEnds(self.sessions, self.clock)
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
            )
        )

    def api(self, settings: ApiSettings | None = None, authorizer: Authorizer | None = None) -> Api:
        """The API, as the composition root makes it."""
        services = Services(
            control=self.control,
            credentials=CredentialControl(self.access, self.storage, self.ends, self.clock),
            scrape=self.metrics.scrape,
            heartbeat=self.driver,
            clock=self.clock,
            openapi=render(),
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
