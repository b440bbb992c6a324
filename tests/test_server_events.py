"""Events of a whole server: real clients of every protocol, exact numbers, crashes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import m3u8
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streamserver.events import Event, EventType
from streamserver.names import StreamKey
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient


class Watcher:
    """Reads the stream of events of a server into a list."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.connected = asyncio.Event()
        self._changed = asyncio.Event()

    async def read(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            async for line in response.content:
                self.connected.set()
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))
                    self._changed.set()

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while len(found := [one for one in self.events if one["type"] == kind]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found


@asynccontextmanager
async def watching(site: Site, query: str = "") -> AsyncIterator[Watcher]:
    watcher = Watcher()
    url = f"http://127.0.0.1:{site.http_port}/api/v1/events{query}"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watcher.read(url))
        async with asyncio.timeout(60):
            await watcher.connected.wait()
        yield watcher
        task.cancel()


async def media_playlist(session: aiohttp.ClientSession, site: Site) -> str:
    """A new HLS session: the address of its media playlist, read once."""
    base = f"http://127.0.0.1:{site.http_port}/hls/live/cam/"
    async with session.get(base + "index.m3u8") as response:
        assert response.status == 200
        text = await response.text()
    url: str = base + m3u8.loads(text).playlists[0].uri
    async with session.get(url) as response:
        assert response.status == 200
    return url


async def test_viewers_of_all_protocols_are_counted_exactly(tmp_path: Path) -> None:
    async with (
        running(tmp_path, "server.reconnect_window_s=0") as site,
        watching(site, "?last_event_id=1-0") as watcher,
        aiohttp.ClientSession() as http,
    ):
        [started] = await watcher.until("server.started")
        assert started["id"] == "1-1"
        # Long enough for a playlist; shorter ones let their readers wait.
        publisher = await site.publish(clip=media_factory.h264_aac(seconds=6.0))
        [begun] = await watcher.until("stream.started")
        assert begun["data"]["publisher"]["protocol"] == "rtmp"
        players = [await site.play() for _ in range(3)]
        await site.until_viewers(3)
        flv = await http.get(f"http://127.0.0.1:{site.http_port}/flv/live/cam")
        await flv.content.readexactly(9)
        for _ in range(2):
            await media_playlist(http, site)
        await site.until_viewers(6)
        players[0].close()
        flv.close()
        await site.until_viewers(4)
        again = await site.play()
        site.clients.append(again)
        await site.until_viewers(5)
        await watcher.until("viewer.joined", 7)
        left = await watcher.until("viewer.left", 2)
        assert sorted(one["data"]["protocol"] for one in left) == ["flv", "rtmp"]
        publisher.close()
        [ended] = await watcher.until("stream.ended")
        viewers = ended["data"]["viewers"]
        assert viewers["joins"] == {
            "total": 7, "by_protocol": {"hls": 2, "whep": 0, "rtmp": 4, "flv": 1}
        }  # fmt: skip
        assert viewers["leaves"] == {
            "total": 2, "by_protocol": {"hls": 0, "whep": 0, "rtmp": 1, "flv": 1}
        }  # fmt: skip
        assert viewers["peak"] == 6
        assert ended["data"]["session_id"] == begun["data"]["session_id"]
        # Everybody's time, to the millisecond that the events themselves tell.
        for one in watcher.events:
            assert one["type"] != "reset"
        assert 0 < viewers["watch_time_ms"] <= 7 * ended["data"]["duration_ms"]
        assert ended["data"]["bytes_received"] > 10_000
        # Players of RTMP are told that it is over, and leave: their own time agrees with the sum.
        await watcher.until("viewer.left", 5)


async def test_counts_change_while_people_come_and_go(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as site,
        watching(site, "?stream=live/cam&type=viewers.count&last_event_id=1-0") as watcher,
    ):
        await site.publish()
        await watcher.until("viewers.count")
        player = await site.play()
        await site.until_viewers(1)
        assert (await watcher.until("viewers.count", 2))[-1]["data"]["by_protocol"]["rtmp"] == 1
        player.close()
        assert (await watcher.until("viewers.count", 3))[-1]["data"]["total"] == 0


async def test_a_refused_publisher_is_an_event_and_its_key_is_not(tmp_path: Path) -> None:
    keys = 'auth.keys=[{key="long-and-right"}]'
    async with running(tmp_path, keys) as site, watching(site) as watcher:
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", "cam?key=long-and-wrong")
        [refused] = await watcher.until("publish.refused")
        assert (refused["stream"], refused["data"]["error"]) == ("live/cam", "access_denied")
        assert "long-and-wrong" not in json.dumps(refused)


async def test_a_drain_tells_the_end_of_everything_and_ends_the_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        watcher = Watcher()
        url = f"http://127.0.0.1:{site.http_port}/api/v1/events"
        async with asyncio.TaskGroup() as group:
            group.create_task(watcher.read(url))
            await watcher.connected.wait()
            await site.publish()
            await watcher.until("stream.started")
            await site.server.drain()
            await site.server.close()
        kinds = [one["type"] for one in watcher.events]
        assert kinds.index("server.draining") < kinds.index("stream.ended")
        [ended] = await watcher.until("stream.ended")
        assert ended["data"]["reason"] == "the server is shutting down"


async def test_a_program_hears_from_the_first_event_to_the_last(tmp_path: Path) -> None:
    heard: list[str] = []

    async def hear(event: Event) -> None:
        heard.append(event.type.value)

    async with running(tmp_path) as site:
        site.server.on("*", hear)
        await site.publish()
        await site.server.drain()
    assert heard[-1] == "stream.ended"
    assert {"stream.started", "server.draining"} <= set(heard)


async def test_a_websocket_through_the_front_gets_the_same_events(tmp_path: Path) -> None:
    async with running(tmp_path) as site, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{site.http_port}/api/v1/events?last_event_id=1-0"
        async with http.ws_connect(url) as socket:
            first = json.loads((await socket.receive(timeout=60)).data)
            assert (first["id"], first["type"]) == ("1-1", "server.started")
            await site.publish()
            kinds = []
            while "stream.started" not in kinds:
                kinds.append(json.loads((await socket.receive(timeout=60)).data)["type"])


async def test_one_that_does_not_read_costs_a_bound_and_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as site, watching(site) as watcher:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.http_port, limit=1024)
        writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()
        assert site.server._events is not None
        log = site.server._events.log
        text = {"text": "x" * 1000}
        for _ in range(20):
            for _ in range(500):
                log.emit(EventType.HEALTH_CHANGED, text, StreamKey("live", "cam"))
            # What it is not sent stays in the log, which is bounded by itself.
            await asyncio.sleep(0)
        await watcher.until("health.changed", 10_000)
        held = [
            front._transport.get_write_buffer_size()
            for endpoint in site.server.doors.http
            for front in endpoint._connections._fronts
        ]
        writer.close()
        await writer.wait_closed()
        assert max(held) < 1_000_000


class Receiver:
    """A backend that keeps a table of who is live."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        self.changed.set()
        return web.Response(status=204)

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while len(found := [one for one in self.got if one["type"] == kind]) < count:
                self.changed.clear()
                await self.changed.wait()
        return found


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    async with TestServer(app) as server:
        yield made, str(server.make_url("/hook"))


async def test_a_webhook_of_the_configuration_hears_all_of_a_run(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    made, url = receiver
    async with running(tmp_path, f'webhooks=[{{url="{url}", secret="0123456789abcdef"}}]') as site:
        await made.until("server.started")
        await site.publish()
        await made.until("stream.started")
        await site.server.drain()
    await made.until("stream.ended")
    ids = [int(one["id"].partition("-")[2]) for one in made.got]
    assert ids == sorted(ids)
    assert "stream.stats" not in {one["type"] for one in made.got}


async def test_what_was_live_at_a_crash_ends_with_the_next_start(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    made, url = receiver
    hooks = f'webhooks=[{{url="{url}"}}]'
    async with running(tmp_path, hooks) as site:
        await site.publish()
        [started] = await made.until("stream.started")
        assert site.server._events is not None
        await site.server._events._record.flush()
        # As a kill -9 would: nothing of the end reaches the storage.
        await crash(site.server)
    async with running(tmp_path, hooks) as site, watching(site, "?last_event_id=2-0") as watcher:
        [ended] = await watcher.until("stream.ended")
        assert (ended["id"], ended["stream"]) == ("2-1", "live/cam")
        assert ended["data"]["crashed"]
        assert ended["data"]["session_id"] == started["data"]["session_id"]
        await watcher.until("server.started")
        await made.until("server.started", 2)
        assert ended in await made.until("stream.ended", 2)
    async with running(tmp_path, hooks) as site:
        await made.until("server.started", 3)
        assert len(await made.until("stream.ended")) == 2


async def crash(server: Server) -> None:
    """Takes the storage away, so that nothing more is written."""
    assert server._storage is not None
    await server._storage.close()


async def test_the_server_names_its_newest_event(tmp_path: Path) -> None:
    async with running(tmp_path) as site, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{site.http_port}/api/v1/server"
        async with http.get(url) as response:
            assert (await response.json())["last_event_id"] == "1-1"
