"""What viewers and newcomers notice when publishers vanish without a word."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from streamserver.clock import SystemClock
from streamserver.ffmpeg import ts
from streamserver.media.track import Kind
from streamserver.rtmp.message import VIDEO
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.rtmp_player import RtmpPlayer
from tests.relay import Relay
from tests.test_server import Site, configured


class ClockAhead(SystemClock):
    """The time of day, plus what a test has let pass."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self.stepped_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns + self.stepped_ns

    def pass_ms(self, ms: int) -> None:
        self.ahead_ns += ms * 1_000_000

    def step_wall_s(self, seconds: int) -> None:
        """Somebody sets the clock of the machine; time does not pass."""
        self.stepped_ns += seconds * 1_000_000_000


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
        async with asyncio.timeout(60):
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


async def send_again(client: RtmpClient, round_: int) -> None:
    """A clip, after the four seconds of `Site.publish` and those of the rounds before."""
    for tag in media_factory.tags(media_factory.h264_aac().flv):
        ms = tag.timestamp_ms + 2_000 + 2_100 * round_
        client.media(9 if tag.kind is Kind.VIDEO else 8, ms, tag.body)
    await client.writer.drain()


async def playlist_of(site: Site) -> str:
    top = "/hls/live/cam/index.m3u8"
    return urljoin(top, (await site.text(top)).splitlines()[-1])


@pytest.mark.parametrize("seconds", [7_200, -7_200])
async def test_a_machine_whose_clock_is_set_disconnects_nobody_and_dates_do_not_jump(
    faulty: Faulty, seconds: int
):
    site = faulty.site
    client = await site.publish()
    faulty.clients.append(client)
    broadcast = await faulty.session_in("live")
    player = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
    where = await playlist_of(site)
    before = dates(await site.text(where))
    assert before
    faulty.clock.step_wall_s(seconds)
    await send_again(client, 1)
    seen = len(player.of(VIDEO))
    await player.until_media(seen + 60)
    async with asyncio.timeout(60):
        while len(after := dates(await site.text(where))) <= len(before):
            await asyncio.sleep(0.05)
    steps = [(b - a).total_seconds() for a, b in pairwise(after)]
    assert all(0 < step < 10 for step in steps), steps
    assert await faulty.session_in("live") == broadcast
    assert (await site.json("/api/v1/viewers/count"))["by_protocol"]["hls"] == 1
    player.close()


def dates(playlist: str) -> list[datetime]:
    """Of its segments."""
    found = re.findall(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)", playlist)
    return [datetime.fromisoformat(each) for each in found]


async def test_threads_that_all_hang_stop_only_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """MPEG-TS segments are made in threads; here none of them ever ends until it is let."""
    release = threading.Event()
    begun = threading.Event()
    real = ts.remux_segment

    def hang(*arguments: Any) -> Any:
        begun.set()
        release.wait(60)
        return real(*arguments)

    monkeypatch.setattr(ts, "remux_segment", hang)
    server = Server(configured(tmp_path), environ={})
    await server.start()
    asked: list[asyncio.Task[str]] = []
    try:
        async with aiohttp.ClientSession() as http:
            site = Site(server, http)
            client = await site.publish()
            player = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
            where = await playlist_of(site)
            old = (await site.text("/hls/live/cam/ts.m3u8")).splitlines()[-1]
            asked = [
                asyncio.create_task(site.text(urljoin("/hls/live/cam/ts.m3u8", old)))
                for _ in range(8)
            ]
            async with asyncio.timeout(60):
                while not begun.is_set():
                    await asyncio.sleep(0.01)
            for round_ in (1, 2):
                seen = len(player.of(VIDEO))
                await send_again(client, round_)
                await player.until_media(seen + 30)
            assert "#EXTINF" in await site.text(where)
            assert (await site.text("/healthz")).strip()
            release.set()
            await asyncio.gather(*asked, return_exceptions=True)
            player.close()
            client.close()
    finally:
        release.set()
        await server.close()
