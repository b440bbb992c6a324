"""Webhooks against receivers that do whatever receivers do."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streamserver.clock import SystemClock
from streamserver.errors import ConfigError, LimitError, NotFoundError
from streamserver.events import EventLog, EventType, InvalidFilterError
from streamserver.names import StreamKey
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.storage import MemoryStorage, SqliteStorage, Storage, StorageError
from streamserver.webhooks import signing
from streamserver.webhooks.endpoint import WebhookSpec, WebhookState, masked_url
from streamserver.webhooks.manager import (
    ConfiguredWebhook,
    InvalidWebhookError,
    WebhookConflictError,
    Webhooks,
)
from streamserver.webhooks.outbox import DeliveryState, OutboxSettings

LIVE = StreamKey("live", "x")
OTHER = StreamKey("tv", "x")
SECRET = "a-secret-of-this-test"


def soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    loop.call_soon(call)


class Literal:
    """Knows no names."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        return (host,)


class Receiver:
    """Takes events and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self._fine
        self._changed = asyncio.Event()
        self._server: TestServer | None = None

    async def start(self, port: int = 0) -> str:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._server = TestServer(app, port=port)
        await self._server.start_server()
        return str(self._server.make_url("/hook"))

    @property
    def port(self) -> int:
        assert self._server is not None
        assert self._server.port is not None
        return self._server.port

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.close()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.got) < count:
                self._changed.clear()
                await self._changed.wait()

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.requests) < count:
                self._changed.clear()
                await self._changed.wait()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        self._changed.set()
        answer = await self.answer(request)
        if 200 <= answer.status < 300:
            self.got.append(json.loads(body)["id"])
            self._changed.set()
        return answer

    async def _fine(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)


class Site:
    """Webhooks over a log."""

    def __init__(self, storage: Storage, *, boot: int = 1, private: bool = True) -> None:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        self.log = EventLog(boot=boot, wall_ns=clock.wall_ns, schedule=partial(soon, loop))
        guard = OutgoingGuard(Literal(), allow_private=private)
        self.http = HttpClient(guard, ssl.create_default_context(), user_agent="test")
        self.webhooks = Webhooks(
            log=self.log,
            http=self.http,
            guard=guard,
            storage=storage,
            clock=clock,
            settings=OutboxSettings(max_pending=50, max_refusals=3),
            # Milliseconds in the place of seconds.
            between=lambda low, high: 1 + high // 1000,
        )

    def emit(self, kind: EventType = EventType.STREAM_STARTED, key: StreamKey = LIVE) -> None:
        self.log.emit(kind, {"n": self.log.end}, key)

    async def close(self) -> None:
        await self.webhooks.close()
        await self.http.close()


@asynccontextmanager
async def running(storage: Storage | None = None, **more: int) -> AsyncIterator[Site]:
    site = Site(storage or MemoryStorage(), **more)  # type: ignore[arg-type]
    await site.webhooks.load(())
    try:
        yield site
    finally:
        await site.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    await made.stop()


def wanted(port: int, **more: object) -> WebhookSpec:
    spec = WebhookSpec(id="", url=f"http://127.0.0.1:{port}/hook", secret=SECRET)
    return replace(spec, **more)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_events_arrive_in_order_signed_and_once(site: Site, receiver: Receiver) -> None:
    await site.webhooks.add(wanted(receiver.port))
    for _ in range(20):
        site.emit()
    await receiver.until(20)
    assert receiver.got == [f"1-{number}" for number in range(1, 21)]
    headers, body = receiver.requests[0]
    assert json.loads(body) == json.loads(site.log.since(1)[0].wire)
    assert headers["Webhook-Signature"] == signing.sign(
        SECRET, "1-1", int(headers["Webhook-Timestamp"]), body
    )
    assert (headers["Webhook-Id"], headers["Webhook-Event"]) == ("1-1", "stream.started")
    assert headers["Content-Type"] == "application/json"


async def test_only_what_is_wanted_arrives(site: Site, receiver: Receiver) -> None:
    await site.webhooks.add(
        wanted(receiver.port, streams=("live/*",), events=("stream.*", "viewers.count"))
    )
    site.emit()
    site.emit(key=OTHER)
    site.emit(EventType.VIEWER_JOINED)
    site.emit(EventType.STREAM_STATS)
    site.emit(EventType.VIEWERS_COUNT)
    await receiver.until(2)
    assert receiver.got == ["1-1", "1-5"]


async def test_a_receiver_that_fails_gets_it_again_until_it_arrives(
    site: Site, receiver: Receiver
) -> None:
    times = 0

    async def stumble(request: web.Request) -> web.StreamResponse:
        nonlocal times
        times += 1
        return web.Response(status=(500, 503, 200)[min(times, 3) - 1])

    receiver.answer = stumble
    endpoint = await site.webhooks.add(wanted(receiver.port))
    site.emit()
    site.emit()
    await receiver.until(2)
    assert receiver.got == ["1-1", "1-2"]
    await until(lambda: endpoint.outbox.delivered == 2)
    first = list(endpoint.outbox.newest_first())[-1]
    assert (first.attempts, first.status, first.error) == (3, 200, "")
    assert endpoint.outbox.last_error is not None
    assert endpoint.outbox.last_error[0] == "answered with status 503"


async def test_one_that_hangs_delays_no_other(site: Site, receiver: Receiver) -> None:
    hung, gone = Receiver(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    hung.answer = hang
    await hung.start()
    stuck = await site.webhooks.add(wanted(hung.port, timeout_s=30))
    await site.webhooks.add(wanted(receiver.port))
    for _ in range(200):
        site.emit()
        await asyncio.sleep(0)
    await receiver.until(200 - site.webhooks.get(site.webhooks.all()[1].spec.id).outbox.dropped)
    assert hung.got == []
    # Bounded: the newest wait, the one under way stays.
    assert (len(stuck.outbox), stuck.outbox.dropped) == (50, 150)
    assert stuck.state is WebhookState.DELIVERING
    gone.set()
    await hung.stop()


async def test_one_that_hangs_is_given_up_at_the_deadline_and_tried_again(
    site: Site, receiver: Receiver
) -> None:
    gone = asyncio.Event()

    async def hang_once(request: web.Request) -> web.StreamResponse:
        if len(receiver.requests) == 1:
            await gone.wait()
        return web.Response()

    receiver.answer = hang_once
    endpoint = await site.webhooks.add(wanted(receiver.port, timeout_s=0.05))
    site.emit()
    await receiver.until(1)
    await until(lambda: endpoint.outbox.delivered == 1)
    assert endpoint.outbox.last_error is not None
    assert endpoint.outbox.last_error[0] == "no answer within 0.05 s"
    gone.set()


async def test_a_redirect_is_a_refusal_and_not_followed(site: Site, receiver: Receiver) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    receiver.answer = elsewhere
    endpoint = await site.webhooks.add(wanted(receiver.port))
    site.emit()
    await until(lambda: endpoint.outbox.failed == 1)
    assert len(receiver.requests) == 3
    assert next(endpoint.outbox.newest_first()).state is DeliveryState.FAILED


async def test_fifty_megabytes_of_answer_are_not_read(site: Site, receiver: Receiver) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(800):
                await response.write(bytes(65536))
                sent += 65536
        except ConnectionError:
            pass  # as it should be
        return response

    receiver.answer = flood
    endpoint = await site.webhooks.add(wanted(receiver.port))
    site.emit()
    await until(lambda: endpoint.outbox.delivered == 1)
    assert sent < 50_000_000


async def test_a_dead_receiver_gets_everything_in_order_once_it_lives(site: Site) -> None:
    receiver = Receiver()
    await receiver.start()
    port = receiver.port
    await receiver.stop()
    endpoint = await site.webhooks.add(wanted(port))
    for _ in range(5):
        site.emit()
    await until(lambda: endpoint.outbox.failed_attempts >= 2)
    assert endpoint.state in (WebhookState.BACKOFF, WebhookState.DELIVERING)
    assert len(endpoint.outbox) == 5
    await receiver.start(port)
    await receiver.until(5)
    assert receiver.got == [f"1-{number}" for number in range(1, 6)]
    await receiver.stop()


async def test_what_waits_survives_a_restart(tmp_path: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    port = receiver.port
    await receiver.stop()
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    async with running(storage) as site:
        ident = (await site.webhooks.add(wanted(port, name="mine"))).spec.id
        site.emit()
        site.emit()
        await until(lambda: site.webhooks.totals().failed_attempts >= 1)
    await storage.close()

    await receiver.start(port)
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    async with running(storage, boot=2) as site:
        endpoint = site.webhooks.get(ident)
        assert (endpoint.spec.name, endpoint.spec.secret) == ("mine", SECRET)
        site.emit()
        await receiver.until(3)
        assert receiver.got == ["1-1", "1-2", "2-1"]
        await until(lambda: endpoint.outbox.delivered == 3)
    await storage.close()

    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    async with running(storage, boot=3) as site:
        log = list(site.webhooks.get(ident).outbox.newest_first())
        assert [one.event_id for one in log] == ["2-1", "1-2", "1-1"]
        assert {one.state for one in log} == {DeliveryState.DELIVERED}
    await storage.close()
    await receiver.stop()


async def test_a_paused_webhook_gets_nothing_and_goes_on_where_it_is_resumed(
    site: Site, receiver: Receiver
) -> None:
    endpoint = await site.webhooks.add(wanted(receiver.port, enabled=False))
    assert endpoint.state is WebhookState.DISABLED
    site.emit()
    await asyncio.sleep(0)
    await site.webhooks.change(endpoint.spec.id, lambda spec: replace(spec, enabled=True))
    site.emit()
    await receiver.until(1)
    assert receiver.got == ["1-2"]


async def test_a_change_tries_at_once(receiver: Receiver) -> None:
    async with running() as site:
        site.webhooks._between = lambda low, high: 3_600_000
        port = receiver.port
        await receiver.stop()
        endpoint = await site.webhooks.add(wanted(port))
        site.emit()
        await until(lambda: endpoint.state is WebhookState.BACKOFF)
        await receiver.start(port)
        await site.webhooks.change(endpoint.spec.id, lambda spec: spec)
        await receiver.until(1)


async def test_the_last_events_go_out_before_the_end(receiver: Receiver) -> None:
    async with running() as site:
        await site.webhooks.add(wanted(receiver.port))
        for _ in range(10):
            site.emit()
        await site.webhooks.close(grace_s=10)
        assert len(receiver.got) == 10


async def test_a_webhook_is_forgotten_with_its_deliveries() -> None:
    storage = MemoryStorage()
    async with running(storage) as site:
        endpoint = await site.webhooks.add(wanted(1))
        site.emit()
        await until(lambda: endpoint.outbox.failed_attempts > 0)
        await site.webhooks.remove(endpoint.spec.id)
        with pytest.raises(NotFoundError):
            site.webhooks.get(endpoint.spec.id)
        assert site.webhooks.totals().failed_attempts > 0
    assert await storage.read_deliveries() == []
    assert await storage.get("webhooks") == []


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host/", "http://", "//host/x", "http://host:99999/", "http://[::1/", "http://a b/",
     "http://host/" + "x" * 3000, "javascript:alert(1)", "http://h\u0000/"],
)  # fmt: skip
async def test_what_is_no_url_is_refused(site: Site, url: str) -> None:
    with pytest.raises(InvalidWebhookError):
        await site.webhooks.add(replace(wanted(1), url=url))


async def test_other_wishes_that_cannot_be_are_refused(site: Site) -> None:
    with pytest.raises(InvalidFilterError):
        await site.webhooks.add(wanted(1, events=("nothing",)))
    with pytest.raises(InvalidFilterError):
        await site.webhooks.add(wanted(1, streams=("a/b/c",)))
    with pytest.raises(InvalidWebhookError):
        await site.webhooks.add(wanted(1, streams=()))
    with pytest.raises(signing.InvalidSecretError):
        await site.webhooks.add(wanted(1, secret="short"))
    await site.webhooks.add(wanted(1))
    with pytest.raises(WebhookConflictError):
        await site.webhooks.add(wanted(1))
    for port in range(2, 33):
        await site.webhooks.add(wanted(port))
    with pytest.raises(LimitError):
        await site.webhooks.add(wanted(99))


async def test_private_addresses_are_refused_where_they_are_closed() -> None:
    site = Site(MemoryStorage(), private=False)
    with pytest.raises(InvalidWebhookError, match="private address"):
        await site.webhooks.add(wanted(1))
    await site.close()


async def test_those_of_the_configuration_keep_their_id_and_are_not_removed() -> None:
    one = ConfiguredWebhook("http://127.0.0.1:1/hook")
    site = Site(MemoryStorage())
    await site.webhooks.load([one])
    endpoint = site.webhooks.all()[0]
    assert endpoint.spec.id == one.spec().id
    with pytest.raises(WebhookConflictError):
        await site.webhooks.remove(endpoint.spec.id)
    await site.close()
    site = Site(MemoryStorage())
    with pytest.raises(ConfigError, match=r"webhooks\[0\]: 'nothing' is no event type"):
        await site.webhooks.load([replace(one, events=("nothing",))])
    await site.close()


async def test_a_storage_that_fails_keeps_no_event_back(receiver: Receiver) -> None:
    class Full(MemoryStorage):
        async def write_deliveries(self, deliveries: object, keep: int) -> None:
            raise StorageError("the disk is full")

    async with running(Full()) as site:
        await site.webhooks.add(wanted(receiver.port))
        site.emit()
        await receiver.until(1)
        await until(lambda: site.webhooks.spool_failures > 0)


def test_a_shown_url_tells_no_secret() -> None:
    url = "https://user:pw@host.test:8443/services/T00000000/abcdefghijklmnopqrstuvwx?token=x"
    assert masked_url(url) == "https://****@host.test:8443/services/T00000000/abcd****?****"
    assert masked_url("http://host/hook") == "http://host/hook"
    spec = WebhookSpec(id="x", url=url, secret=SECRET)
    assert "pw" not in repr(spec)
    assert SECRET not in repr(spec)
