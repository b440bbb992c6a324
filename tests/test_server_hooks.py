"""Backends written for nginx-rtmp and SRS, and one that sends streams on, before whole servers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamserver.hub.stream import StreamState
from streamserver.names import StreamKey
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient

COPY = StreamKey("live", "copy")


class Backend:
    """Somebody's backend: takes JSON and forms, says no to the app ``bad``."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        self.came = asyncio.Condition()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        is_json = request.content_type == "application/json"
        body = dict(await (request.json() if is_json else request.post()))
        self.got.append(body)
        async with self.came:
            self.came.notify_all()
        bad = body.get("app") == "bad"
        if "client_id" in body:
            return web.json_response({"code": 1 if bad else 0})
        return web.json_response(self.answer, status=403 if bad else 200)

    async def until(self, **fields: str) -> dict[str, Any]:
        """The first that has these fields."""
        async with asyncio.timeout(60), self.came:
            while True:
                for one in self.got:
                    if fields.items() <= one.items():
                        return one
                await self.came.wait()


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    made = Backend()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


def hooks(backend: Backend, style: str, *actions: str) -> str:
    table = {"url": backend.url, "style": style, "actions": list(actions)}
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    return f"[{{{pairs}}}]"


async def refused(site: Site, app: str) -> bytes:
    client = await RtmpClient.connect(site.rtmp_port)
    site.clients.append(client)
    with contextlib.suppress(EOFError):  # it is refused before it can say what it publishes
        await client.publish(app, "cam")
    await client.until_closed()
    return client.seen


NGINX = ("connect", "disconnect", "publish", "play", "publish_done", "play_done")


async def test_a_backend_of_nginx_rtmp_is_told_from_connect_to_done(
    tmp_path: Path, backend: Backend
) -> None:
    async with running(tmp_path, f"auth.hooks={hooks(backend, 'nginx-rtmp', *NGINX)}") as site:
        assert b"NetConnection.Connect.Rejected" in await refused(site, "bad")
        # What was not let in has not left either.
        assert [one["call"] for one in backend.got] == ["connect"]
        publisher = await site.publish("cam?key=x")
        player = await site.play()
        await site.until_viewers(1)
        await backend.until(call="publish", app="live", name="cam", key="x")
        await backend.until(call="play", name="cam")
        player.close()
        await backend.until(call="play_done", name="cam")
        publisher.close()
        await backend.until(call="publish_done", name="cam", key="x")
        await backend.until(call="disconnect", app="live")


async def test_a_backend_of_srs_is_told_from_connect_to_close(
    tmp_path: Path, backend: Backend
) -> None:
    async with running(tmp_path, f"auth.hooks={hooks(backend, 'srs', *NGINX)}") as site:
        assert b"NetConnection.Connect.Rejected" in await refused(site, "bad")
        publisher = await site.publish("cam?key=x")
        connected = await backend.until(action="on_connect", app="live")
        assert connected["tcUrl"].startswith("rtmp://")
        published = await backend.until(action="on_publish", stream="cam", param="?key=x")
        publisher.close()
        ended = await backend.until(action="on_unpublish", stream="cam")
        closed = await backend.until(action="on_close", app="live", stream="")
        assert int(closed["recv_bytes"]) > 10_000
        # One connection, and so one id from beginning to end.
        ids = {one["client_id"] for one in (connected, published, ended, closed)}
        assert len(ids) == 1


async def test_a_hook_that_a_reload_brings_is_asked_about_each_connect(
    tmp_path: Path, backend: Backend
) -> None:
    async with running(tmp_path) as site:
        await site.publish("first")
        text = f"[auth]\nhooks = {hooks(backend, 'nginx-rtmp', 'connect')}\n"
        (tmp_path / "config.toml").write_text(text)
        found = await site.server.reload()
        assert (found.changed, found.needs_restart) == (["auth.hooks"], [])
        assert b"NetConnection.Connect.Rejected" in await refused(site, "bad")
        await site.publish("second")
        # Who was there stays.
        assert site.hub.registry.get(StreamKey("live", "first")) is not None


async def destinations(site: Site, http: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """Those of the stream, as the API tells them; none where there is no stream any more."""
    url = f"http://127.0.0.1:{site.http_port}/api/v1/streams/live/cam"
    async with http.get(url) as answer:
        return list((await answer.json())["destinations"]) if answer.status == 200 else []


async def test_a_broadcast_is_sent_on_to_where_a_hook_says_until_it_ends(
    tmp_path: Path, backend: Backend
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    async with (
        running(tmp_path / "far") as far,
        running(
            tmp_path / "near",
            f"auth.hooks={hooks(backend, 'streamserver', 'publish')}",
            "server.reconnect_window_s=0",
        ) as near,
        aiohttp.ClientSession() as http,
    ):
        backend.answer = {"destinations": [f"rtmp://127.0.0.1:{far.rtmp_port}/live/copy"]}
        client = await near.publish()
        [one] = await destinations(near, http)
        assert one["url"].startswith("rtmp://127.0.0.1:")
        async with asyncio.timeout(60):
            while (
                copy := far.hub.registry.get(COPY)
            ) is None or copy.state is not StreamState.LIVE:
                await asyncio.sleep(0.02)
            client.close()
            while await destinations(near, http):
                await asyncio.sleep(0.02)
        # It is kept nowhere: another broadcast asks anew.
        backend.answer = {}
        await near.publish()
        assert await destinations(near, http) == []
