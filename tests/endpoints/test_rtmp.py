import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamserver.auth import AccessRequest, Decision
from streamserver.clock import SystemClock
from streamserver.control.publishing import Publishing
from streamserver.endpoints.rtmp import RtmpEndpoint, RtmpSettings
from streamserver.endpoints.strangers import Strangers, StrangersSettings
from streamserver.hub.driver import Driver
from streamserver.hub.registry import Registry, RegistrySettings, StreamListener
from streamserver.hub.sessions import SessionTable
from streamserver.hub.stream import LogBounds, Stream, StreamState
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.net.proxies import TrustedProxies
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient

KEY = StreamKey("live", "cam")
SETTINGS = RtmpSettings(host="127.0.0.1", port=0)


class Asked:
    """A decider that remembers what it was asked and lets in whoever has the word."""

    name = "test"

    def __init__(self) -> None:
        self.requests: list[AccessRequest] = []
        self.hold: asyncio.Event | None = None

    async def decide(self, request: AccessRequest) -> Decision:
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        allowed = request.query.get("key") != "wrong"
        return Decision(allowed, "the key is wrong" if not allowed else "", self.name)


class Lives(StreamListener):
    """Turns the life of streams into events that a test can await."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.interrupted = asyncio.Event()

    def stream_started(self, stream: Stream) -> None:
        self.started.set()

    def stream_interrupted(self, stream: Stream) -> None:
        self.interrupted.set()


class Door:
    """An endpoint on a free port, with all that it needs."""

    def __init__(self, settings: RtmpSettings = SETTINGS) -> None:
        self.asked = Asked()
        self.sessions = SessionTable()
        self.lives = Lives()
        self.complaints: list[str] = []
        self.clients: list[RtmpClient] = []
        clock = SystemClock()
        schedule = Driver(clock).schedule
        self.registry = Registry(clock, schedule, RegistrySettings(bounds=LogBounds()))
        self.registry.add_listener(self.lives)
        self.endpoint = RtmpEndpoint(
            settings,
            publishing=Publishing(self.registry, self.sessions, self.asked, clock),
            proxies=TrustedProxies(["127.0.0.1"] if settings.proxy_protocol else []),
            clock=clock,
            complain=lambda text, *values: self.complaints.append(text % values),
        )

    @property
    def port(self) -> int:
        return self.endpoint.addresses[0][1]

    async def connect(self, prefix: bytes = b"") -> RtmpClient:
        """A client that `close` closes."""
        client = await RtmpClient.connect(self.port, prefix=prefix)
        self.clients.append(client)
        return client

    async def close(self) -> None:
        """Ends clients and endpoint."""
        for client in self.clients:
            client.close()
        await self.endpoint.close("the test is over")

    async def forgets_everybody(self) -> None:
        """Waits until no connection is left."""
        async with asyncio.timeout(60):
            await self.endpoint._empty.wait()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    await made.endpoint.start()
    yield made
    await made.close()


async def publish_clip(client: RtmpClient) -> None:
    for tag in media_factory.tags(media_factory.h264_aac().flv):
        client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
    await client.writer.drain()


async def test_publishers_that_have_to_wait_for_a_turn_of_the_loop_lose_nothing(door: Door):
    # A share so small that each turn reads one piece of one stranger.
    bound = StrangersSettings(turn_ns=1)
    strangers = Strangers(SystemClock().monotonic_ns, asyncio.get_running_loop().call_soon, bound)
    door.endpoint.strangers = strangers
    clients = [await door.connect() for _ in range(6)]
    async with asyncio.TaskGroup() as group:
        for at, client in enumerate(clients):
            group.create_task(client.publish("live", f"cam{at}"))
    for client in clients:
        # Sent at once, before leave: what waited for its turn comes first.
        await publish_clip(client)
        await client.until(b"NetStream.Publish.Start")
    async with asyncio.timeout(60):
        while sum(one.state is StreamState.LIVE for one in door.registry.streams()) < 6:
            await asyncio.sleep(0.01)
    assert (len(strangers), strangers.held_bytes) == (0, 0)


async def test_a_publisher_becomes_a_stream_and_a_session(door: Door):
    client = await door.connect()
    await client.publish("live", "cam?key=right")
    await client.until(b"NetStream.Publish.Start")
    await publish_clip(client)
    await door.lives.started.wait()
    stream = door.registry.get(KEY)
    assert stream is not None
    assert [track.codec for track in stream.tracks] == ["h264", "aac"]
    (session,) = door.sessions.all()
    assert (session.remote_ip, session.user_agent) == ("127.0.0.1", "test/1.0")
    request = door.asked.requests[0]
    assert request.local
    assert request.query == {"key": "right"}
    assert request.stream == KEY
    client.close()
    await door.lives.interrupted.wait()
    assert stream.state is StreamState.INTERRUPTED
    assert not list(door.sessions.all())


async def test_a_host_that_is_not_loopback_in_tc_url_makes_the_peer_remote(door: Door):
    client = await door.connect()
    await client.publish("live", "cam", host="media.example.org")
    await client.until(b"NetStream.Publish.Start")
    assert not door.asked.requests[0].local
    client.close()


async def test_a_refused_publisher_reads_why_and_is_closed(door: Door):
    client = await door.connect()
    await client.publish("live", "cam?key=wrong")
    await client.until_closed()
    assert b"the key is wrong" in client.seen
    assert b"error" in client.seen
    assert door.complaints == [line for line in door.complaints if "may not publish" in line]
    assert len(door.complaints) == 1
    assert "wrong?" not in door.complaints[0]
    await door.forgets_everybody()
    assert door.endpoint.stats.outcomes == {"refused": 1}


async def test_a_second_publisher_of_a_name_is_refused_and_the_first_goes_on(door: Door):
    first = await door.connect()
    await first.publish("live", "cam")
    await first.until(b"NetStream.Publish.Start")
    await publish_clip(first)
    await door.lives.started.wait()
    second = await door.connect()
    await second.publish("live", "cam")
    await second.until_closed()
    assert b"NetStream.Publish.BadName" in second.seen
    assert b"published already" in second.seen
    assert door.registry.get(KEY) is not None
    first.close()


async def test_a_name_with_three_segments_is_refused_with_a_sentence(door: Door):
    client = await door.connect()
    await client.publish("live", "a/b")
    await client.until_closed()
    assert b"segment" in client.seen


async def test_a_publisher_that_leaves_while_it_is_decided_leaves_nothing(door: Door):
    door.asked.hold = asyncio.Event()
    client = await door.connect()
    await client.publish("live", "cam")
    async with asyncio.timeout(60):
        while not door.asked.requests:
            await asyncio.sleep(0)
    client.close()
    await door.forgets_everybody()
    door.asked.hold.set()
    await asyncio.sleep(0)
    assert door.registry.publishers == 0
    assert not list(door.sessions.all())


async def test_stopping_a_stream_tells_its_publisher_and_closes_it(door: Door):
    client = await door.connect()
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    await publish_clip(client)
    await door.lives.started.wait()
    door.registry.stop(KEY, "stopped by the API")
    await client.until_closed()
    assert b"stopped by the API" in client.seen
    await door.forgets_everybody()
    assert door.endpoint.stats.outcomes == {"kicked": 1}


async def test_a_probe_without_a_byte_costs_no_line(door: Door, caplog):
    caplog.set_level(logging.INFO)
    client = await door.connect()
    client.close()
    await client.writer.wait_closed()
    while not door.endpoint.stats.probes:
        await asyncio.sleep(0)
    assert door.complaints == []
    assert [r for r in caplog.records if r.name.startswith("streamserver")] == []


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"\x06" + bytes(1536), "RTMPE"),
        (b"\xff\xff", "0xff"),
    ],
)
async def test_the_wrong_protocol_costs_one_line_and_the_connection(door: Door, sent, said):
    client = await door.connect()
    client.writer.write(sent)
    assert await client.reader.read() == b""
    await door.forgets_everybody()
    assert len(door.complaints) == 1
    assert said in door.complaints[0]
    assert door.endpoint.stats.outcomes == {"protocol_error": 1}


async def test_a_silent_connection_is_closed_at_its_deadline_with_one_line(door: Door):
    client = await door.connect()
    while not door.endpoint.open_connections:
        await asyncio.sleep(0)
    door.endpoint.tick(SystemClock().monotonic_ns() + 9_000_000_000)
    assert door.endpoint.open_connections == 1
    door.endpoint.tick(SystemClock().monotonic_ns() + 11_000_000_000)
    assert await client.reader.read() == b""
    await door.forgets_everybody()
    assert len(door.complaints) == 1
    assert door.endpoint.stats.outcomes == {"timeout": 1}


async def test_a_publisher_without_media_is_closed_as_idle(door: Door):
    client = await door.connect()
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    door.endpoint.tick(SystemClock().monotonic_ns() + 16_000_000_000)
    await client.until_closed()
    assert door.registry.publishers == 0


async def test_connections_beyond_the_bound_of_an_address_are_refused():
    door = Door(replace(SETTINGS, max_connections_per_address=1))
    await door.endpoint.start()
    first = await door.connect()
    await first.publish("live", "cam")
    await first.until(b"NetStream.Publish.Start")
    client = await door.connect()
    await client.until_closed()
    assert client.seen == b""
    assert "limits.connections_per_address" in door.complaints[0]
    first.close()
    await door.close()


async def test_the_proxy_protocol_names_the_publisher():
    door = Door(replace(SETTINGS, proxy_protocol=True))
    await door.endpoint.start()
    line = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 1935\r\n"
    client = await door.connect(line)
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    (session,) = door.sessions.all()
    assert session.remote_ip == "203.0.113.9"
    assert not door.asked.requests[0].local
    client.close()
    await door.close()


async def test_a_proxy_that_sends_no_header_is_closed():
    door = Door(replace(SETTINGS, proxy_protocol=True))
    await door.endpoint.start()
    client = await door.connect()
    client.writer.write(b"\x03" + bytes(1536))
    await client.until_closed()
    assert client.seen == b""
    assert len(door.complaints) == 1
    await door.close()


async def test_closing_tells_publishers_why(door: Door):
    client = await door.connect()
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    await door.endpoint.close("the server is shutting down")
    await client.until_closed()
    assert b"shutting down" in client.seen
    with pytest.raises(ConnectionRefusedError):
        await RtmpClient.connect(door.port)
