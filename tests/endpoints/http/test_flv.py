"""FLV over HTTP and WebSocket before a whole server."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import av
import pytest

from streamserver.control.watching import Watching
from streamserver.names import StreamKey
from tests import media_factory
from tests.endpoints.helpers_site import Site, running

CAM = StreamKey("live", "cam")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, "rtmp.wait_for_stream_s=0") as it:
        yield it


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def url(site: Site, path: str = "live/cam") -> str:
    return f"http://127.0.0.1:{site.http_port}/flv/{path}"


async def until_size(content: aiohttp.StreamReader, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(60):
        while len(data) < size:
            data += await content.read(65536)
    return data


def kinds(data: bytes) -> set[str]:
    with av.open(io.BytesIO(data), "r", format="flv") as container:
        return {stream.type for stream in container.streams}


async def test_a_get_is_answered_with_a_file_that_does_not_end(
    site: Site, http: aiohttp.ClientSession
):
    publisher = await site.publish()
    async with http.get(url(site), headers={"Origin": "http://elsewhere.example"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "video/x-flv"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Length" not in answer.headers
        assert "Transfer-Encoding" not in answer.headers
        data = await until_size(answer.content, 10_000)
        assert data[:5] == b"FLV\x01\x05"
        assert kinds(data) == {"video", "audio"}
        (session,) = site.hub.sessions.viewers(CAM)
        assert session.protocol == "flv"
        site.send(publisher, media_factory.h264_aac(), later_ms=2_100)
        await until_size(answer.content, 10_000)
    await site.until_viewers(0)


async def test_a_websocket_brings_the_same_bytes_in_messages(
    site: Site, http: aiohttp.ClientSession
):
    publisher = await site.publish()
    async with http.ws_connect(url(site)) as one, http.ws_connect(url(site)) as two:
        first = await one.receive_bytes(timeout=60)
        assert first[:5] == b"FLV\x01\x05"
        assert kinds(first) == {"video", "audio"}
        assert await two.receive_bytes(timeout=60) == first
        site.send(publisher, media_factory.h264_aac(), later_ms=2_100)
        assert await one.receive_bytes(timeout=60) == await two.receive_bytes(timeout=60)
        assert len(site.hub.sessions.viewers(CAM)) == 2
    await site.until_viewers(0)


async def test_the_end_of_the_stream_ends_both(site: Site, http: aiohttp.ClientSession):
    await site.publish()
    async with http.get(url(site)) as answer, http.ws_connect(url(site)) as socket:
        await until_size(answer.content, 1_000)
        await socket.receive_bytes(timeout=60)
        site.hub.registry.stop(CAM, "over")
        async with asyncio.timeout(60):
            await answer.content.read()
            message = await socket.receive()
            while message.type is aiohttp.WSMsgType.BINARY:
                message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1000


async def test_a_kick_ends_both(site: Site, http: aiohttp.ClientSession):
    await site.publish()
    async with http.get(url(site)) as answer, http.ws_connect(url(site)) as socket:
        await until_size(answer.content, 1_000)
        await socket.receive_bytes(timeout=60)
        for session in site.hub.sessions.viewers(CAM):
            session.close("disconnected by the test")
        await site.until_viewers(0)
        async with asyncio.timeout(60):
            with contextlib.suppress(aiohttp.ClientError):
                while await answer.content.read(65536):
                    pass


async def test_one_segment_names_the_default_stream(site: Site, http: aiohttp.ClientSession):
    await site.publish("default")
    async with http.get(url(site, "live")) as answer:
        assert (await until_size(answer.content, 100))[:3] == b"FLV"


async def test_a_head_request_and_refusals_are_plain_answers(
    site: Site, http: aiohttp.ClientSession
):
    await site.publish()
    async with http.head(url(site)) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "video/x-flv")
    async with http.get(url(site, "live/nobody")) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type=None))["detail"] == "live/nobody is not live"
    async with http.get(url(site, "live/..nobody")) as answer:
        assert answer.status == 400
    await site.until_viewers(0)


async def test_a_player_that_is_early_waits_for_the_stream(
    tmp_path: Path, http: aiohttp.ClientSession
):
    async with running(tmp_path, "rtmp.wait_for_stream_s=20") as site:

        async def get() -> bytes:
            async with http.get(url(site)) as answer:
                assert answer.status == 200
                return await until_size(answer.content, 10_000)

        async def socket() -> bytes:
            async with http.ws_connect(url(site)) as connection:
                return await connection.receive_bytes(timeout=60)

        listeners = site.hub.registry._listeners
        watching = next(one for one in listeners if isinstance(one, Watching))
        early = [asyncio.create_task(each()) for each in (get, socket)]
        async with asyncio.timeout(60):
            while watching.waiting < 2:
                await asyncio.sleep(0.01)
        async with http.head(url(site)) as answer:
            assert answer.status == 404
        await site.publish()
        for data in await asyncio.gather(*early):
            assert data[:5] == b"FLV\x01\x05"
            assert kinds(data) == {"video", "audio"}


async def test_watching_needs_a_key_where_play_is_not_open(
    tmp_path: Path, http: aiohttp.ClientSession
):
    keys = 'auth.keys=[{key = "watch-me-please", actions = ["play", "publish"]}]'
    async with running(tmp_path, "auth.open_play=false", keys) as site:
        await site.publish("cam?key=watch-me-please")
        async with http.get(url(site)) as answer:
            assert answer.status in (401, 403)
        async with http.get(url(site, "live/cam?key=watch-me-please")) as answer:
            assert (await until_size(answer.content, 100))[:3] == b"FLV"


async def test_only_listed_origins_may_read(tmp_path: Path, http: aiohttp.ClientSession):
    async with running(tmp_path, 'http.cors_origins=["https://tv.example"]') as site:
        await site.publish()
        for origin, allowed in (("https://tv.example", True), ("https://other.example", False)):
            async with http.get(url(site), headers={"Origin": origin}) as answer:
                assert answer.headers["Vary"] == "Origin"
                assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed
