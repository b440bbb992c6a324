"""Two whole servers in one loop: the second one fetches from the first."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamserver.config import load
from streamserver.errors import ConfigError
from streamserver.server import Server
from tests.test_server import TOKEN, Site, configured


def fetching(directory: Path, near: int, *lines: str, path: str = "live/cam") -> Server:
    """A server that fetches ``live/copy`` from another one on this host."""
    directory.mkdir()
    file = directory / "config.toml"
    more = "\n".join(lines)
    file.write_text(f'[streams."live/copy"]\nsource = "rtmp://127.0.0.1:{near}/{path}"\n{more}\n')
    overrides = (
        "rtmp.port=0", "webrtc.port=0", "http.port=0", "rtmp.host=127.0.0.1", "http.host=127.0.0.1",
        f"storage.path={directory}", f"auth.api_token={TOKEN}",
    )  # fmt: skip
    return Server(load(environ={}, overrides=overrides, directory=directory).config, environ={})


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def origin(tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    (tmp_path / "origin").mkdir()
    server = Server(configured(tmp_path / "origin"), environ={})
    await server.start()
    yield Site(server, http)
    await server.close()


async def live(site: Site, path: str = "live/copy") -> Any:
    """The stream, once it is live."""
    async with asyncio.timeout(60):
        while True:
            for stream in (await site.json("/api/v1/streams"))["items"]:
                if stream["app"] + "/" + stream["name"] == path and stream["state"] == "live":
                    return stream
            await asyncio.sleep(0.01)


async def test_a_stream_is_fetched_as_long_as_the_server_runs(
    tmp_path: Path, origin: Site, http: aiohttp.ClientSession
) -> None:
    publisher = await origin.publish()
    server = fetching(tmp_path / "edge", origin.rtmp_port)
    await server.start()
    edge = Site(server, http)
    stream = await live(edge)
    assert [track["codec"] for track in stream["tracks"]] == ["h264", "aac"]
    (viewer,) = (await origin.json("/api/v1/streams/live/cam/viewers"))["items"]
    assert viewer["protocol"] == "rtmp"
    await server.close()
    publisher.close()


async def test_a_source_on_demand_begins_with_the_first_viewer(
    tmp_path: Path, origin: Site, http: aiohttp.ClientSession
) -> None:
    publisher = await origin.publish()
    server = fetching(tmp_path / "edge", origin.rtmp_port, "source_on_demand = true")
    await server.start()
    edge = Site(server, http)
    assert (await edge.json("/api/v1/streams"))["total"] == 0
    assert (await origin.json("/api/v1/streams/live/cam/viewers/count"))["total"] == 0
    # Its answer waits for a whole segment, which this publisher never completes.
    watching = asyncio.create_task(edge.text("/hls/live/copy/index.m3u8"))
    await live(edge)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await server.close()
    publisher.close()


async def test_a_source_that_is_not_live_yet_is_waited_for(
    tmp_path: Path, origin: Site, http: aiohttp.ClientSession
) -> None:
    server = fetching(tmp_path / "edge", origin.rtmp_port)
    await server.start()
    publisher = await origin.publish()
    await live(Site(server, http))
    await server.close()
    publisher.close()


async def test_a_stream_that_is_stopped_is_fetched_again_as_another_broadcast(
    tmp_path: Path, origin: Site, http: aiohttp.ClientSession
) -> None:
    publisher = await origin.publish()
    server = fetching(tmp_path / "edge", origin.rtmp_port)
    await server.start()
    edge = Site(server, http)
    before = await live(edge)
    stop, headers = "/api/v1/streams/live/copy/stop", {"Authorization": f"Bearer {TOKEN}"}
    async with http.post(edge.base + stop, headers=headers) as answer:
        assert answer.status in (200, 204)
    assert (await edge.json("/api/v1/streams"))["total"] == 0
    assert (await live(edge))["session_id"] != before["session_id"]
    await server.close()
    publisher.close()


async def test_a_source_without_a_stream_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    server = fetching(tmp_path / "edge", 1, path="live")
    with pytest.raises(ConfigError, match=r'streams."live/copy".source'):
        await server.start()
