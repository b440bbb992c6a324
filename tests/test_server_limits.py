"""Past a bound the newcomer is told so, and nobody inside is harmed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streamserver.server import Server
from tests.endpoints.rtmp_client import RtmpClient, message, number, string
from tests.endpoints.rtmp_player import RtmpPlayer
from tests.test_server import TOKEN, Site, configured


@pytest.fixture
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    server = Server(configured(tmp_path, *request.param), environ={})
    await server.start()
    async with aiohttp.ClientSession() as http:
        yield Site(server, http)
    await server.close()


async def refusals(site: Site, limit: str) -> int:
    async with site.http.get(
        f"{site.base}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        text = await answer.text()
    begin = f'streamserver_limit_refusals_total{{limit="{limit}"}} '
    (line,) = [line for line in text.splitlines() if line.startswith(begin)]
    return int(float(line.removeprefix(begin)))


@pytest.mark.parametrize("site", [("limits.viewers_per_stream=1",)], indirect=True)
async def test_the_second_viewer_is_refused_and_the_first_plays_on(site: Site):
    publisher = await site.publish()
    first = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
    await first.until_media(1)
    second = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
    await second.until_closed()
    assert "limits.viewers_per_stream" in second.description
    top = await site.text("/hls/live/cam/index.m3u8")
    media = f"/hls/live/cam/{top.rstrip().splitlines()[-1]}"
    assert "viewers_per_stream" in await site.text(media, status=503)
    assert await refusals(site, "viewers_per_stream") == 2
    assert not first.closed
    for player in (first, second):
        player.close()
    publisher.close()


@pytest.mark.parametrize("site", [("limits.publisher_bit_rate=100000",)], indirect=True)
async def test_a_publisher_that_sends_too_much_reads_why(site: Site):
    client = await RtmpClient.connect(site.rtmp_port)
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        ended = group.create_task(client.until_closed())
        while not ended.done():
            client.media(8, 0, b"\xaf\x01" + bytes(10_000))
            await asyncio.sleep(0.1)
    assert b"limits.publisher_bit_rate" in client.seen
    assert await refusals(site, "publisher_bit_rate") == 1
    client.close()


@pytest.mark.parametrize("site", [("limits.bytes_before_auth=65536",)], indirect=True)
async def test_who_says_much_and_asks_nothing_is_closed(site: Site):
    client = await RtmpClient.connect(site.rtmp_port)
    client.writer.write(b"\x03" + bytes(1536))
    answer = await client.reader.readexactly(3073)
    client.writer.write(answer[1:1537])
    pairs = b"\0\3app" + string("live") + b"\0\0\x09"
    client.writer.write(message(3, 20, 0, 0, string("connect") + number(1) + b"\x03" + pairs))
    for _ in range(80):
        client.writer.write(message(4, 18, 0, 0, bytes(1000)))
    await client.until_closed()
    assert await refusals(site, "bytes_before_auth") == 1
    client.close()
