"""Registered streams in a whole server: an encoder with the key, a rotation, a restart."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient

BEARER = {"Authorization": "Bearer token-of-the-test"}


async def ask(site: Site, method: str, path: str, json: Any = None) -> Any:
    url = f"http://127.0.0.1:{site.http_port}/api/v1/{path}"
    async with (
        aiohttp.ClientSession(headers=BEARER) as http,
        http.request(method, url, json=json) as response,
    ):
        assert response.status < 300, await response.text()
        return await response.json() if response.status != 204 else None


async def refused(site: Site, key: str) -> None:
    client = await RtmpClient.connect(site.rtmp_port)
    site.clients.append(client)
    await client.publish("live", key)
    await client.until(b"NetStream.Publish.Denied")


async def test_a_key_publishes_its_stream_and_its_rotation_ends_the_publisher(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as site:
        made = await ask(site, "POST", "streams", {"app": "live", "name": "show", "title": "T"})
        old = made["publish_key"]
        await refused(site, "show")
        await refused(site, "show?key=wrong")
        await site.publish(f"show?key={old}")
        shown = await ask(site, "GET", "streams/live/show")
        assert (shown["state"], shown["title"]) == ("live", "T")

        new = (await ask(site, "POST", "streams/live/show/key"))["publish_key"]
        async with asyncio.timeout(60):
            while site.hub.registry.publishers:
                await asyncio.sleep(0.01)
        await refused(site, f"show?key={old}")
        await refused(site, old)

    async with running(tmp_path) as site:
        shown = await ask(site, "GET", "streams/live/show")
        assert (shown["state"], shown["title"], shown["registered"]) == ("idle", "T", True)
        # The key alone tells the stream; its name is all that anybody sees.
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", new)
        await client.until(b"NetStream.Publish.Start")
        async with asyncio.timeout(60):
            while not site.hub.registry.publishers:
                await asyncio.sleep(0.01)
        assert new not in str(await ask(site, "GET", "sessions"))

        await ask(site, "DELETE", "streams/live/show")
        async with asyncio.timeout(60):
            while site.hub.registry.publishers:
                await asyncio.sleep(0.01)
        await refused(site, new)


async def test_only_the_apps_that_exist_can_be_registered(tmp_path: Path) -> None:
    async with running(tmp_path, 'server.apps=["live"]') as site:
        with pytest.raises(AssertionError, match="no such app"):
            await ask(site, "POST", "streams", {"app": "other", "name": "x"})


async def test_settings_hold_at_once_and_over_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.publish()
        await ask(site, "PATCH", "settings", {"limits.max_publishers": 1})
        await refused_with(site, "two", b"1 streams are published already")
        await ask(site, "PATCH", "settings/live/*", {"server.reconnect_window_s": 0})
        site.clients.pop(0).close()
        async with asyncio.timeout(60):
            while site.hub.registry.streams():
                await asyncio.sleep(0.01)
    async with running(tmp_path) as site:
        await site.publish()
        await refused_with(site, "two", b"1 streams are published already")


async def refused_with(site: Site, key: str, words: bytes) -> None:
    client = await RtmpClient.connect(site.rtmp_port)
    site.clients.append(client)
    await client.publish("live", key)
    await client.until(words)
