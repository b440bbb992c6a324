"""What viewers and newcomers notice when publishers vanish without a word."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streamserver.clock import SystemClock
from streamserver.media.track import Kind
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient
from tests.relay import Relay
from tests.test_server import Site, configured


class ClockAhead(SystemClock):
    """The time of day, plus what a test has let pass."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns

    def pass_ms(self, ms: int) -> None:
        self.ahead_ns += ms * 1_000_000


class Faulty:
    """A server whose publisher comes over a relay, and whose time is ours."""

    def __init__(self, site: Site, clock: ClockAhead, relay: Relay) -> None:
        self.site, self.clock, self.relay = site, clock, relay
        self.clients: list[RtmpClient] = []

    async def publish(self, port: int) -> RtmpClient:
        client = await RtmpClient.connect(port)
        self.clients.append(client)
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        for tag in media_factory.tags(media_factory.h264_aac().flv):
            client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
        await client.writer.drain()
        return client

    async def session_in(self, state: str) -> str:
        """The id of the broadcast, once it is in a state."""
        async with asyncio.timeout(10):
            while True:
                items = (await self.site.json("/api/v1/streams"))["items"]
                if items and items[0]["state"] == state:
                    ident: str = items[0]["session_id"]
                    return ident
                await asyncio.sleep(0.01)


@pytest.fixture
async def faulty(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Faulty]:
    clock = ClockAhead()
    more = getattr(request, "param", ())
    server = Server(configured(tmp_path, *more), environ={}, clock=clock)
    await server.start()
    async with aiohttp.ClientSession() as http:
        site = Site(server, http)
        relay = Relay(site.rtmp_port)
        await relay.start()
        one = Faulty(site, clock, relay)
        yield one
        for client in one.clients:
            client.close()
        await relay.close()
        await server.close()


async def test_an_encoder_behind_a_half_open_link_returns_after_two_seconds(faulty: Faulty):
    await faulty.publish(faulty.relay.port)
    broadcast = await faulty.session_in("live")
    faulty.relay.go_half_open()
    faulty.clock.pass_ms(2100)
    await faulty.publish(faulty.site.rtmp_port)
    assert await faulty.session_in("live") == broadcast, "the same broadcast goes on"


async def test_a_publisher_behind_a_half_open_link_is_noticed_within_ten_seconds(faulty: Faulty):
    await faulty.publish(faulty.relay.port)
    broadcast = await faulty.session_in("live")
    faulty.relay.go_half_open()
    faulty.clock.pass_ms(8100)
    assert await faulty.session_in("interrupted") == broadcast
    assert not (await faulty.site.json("/api/v1/sessions"))["items"]


@pytest.mark.parametrize("faulty", [("server.takeover=always",)], indirect=True)
async def test_with_takeover_always_the_newcomer_publishes_at_once(faulty: Faulty):
    first = await faulty.publish(faulty.site.rtmp_port)
    broadcast = await faulty.session_in("live")
    await faulty.publish(faulty.site.rtmp_port)
    await first.until_closed()
    assert b"another publisher took over" in first.seen
    assert await faulty.session_in("live") == broadcast


@pytest.mark.parametrize("faulty", [("server.takeover=refuse",)], indirect=True)
async def test_with_takeover_refuse_a_ghost_keeps_its_place_until_it_is_noticed(faulty: Faulty):
    await faulty.publish(faulty.relay.port)
    await faulty.session_in("live")
    faulty.relay.go_half_open()
    faulty.clock.pass_ms(4000)
    with pytest.raises(EOFError, match="stop that one first"):
        await faulty.publish(faulty.site.rtmp_port)
    faulty.clock.pass_ms(4100)
    await faulty.session_in("interrupted")
    await faulty.publish(faulty.site.rtmp_port)
    await faulty.session_in("live")
