"""What viewers get while a publisher is away and its stream has a slate."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import av
import numpy as np
import pytest

from streamserver.media.track import Kind
from streamserver.rtmp.message import AUDIO, VIDEO
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.rtmp_player import RtmpPlayer
from tests.test_server import Site, configured

WAIT_S = 60
"""A child process that codes takes long where many tests run."""


def png(path: Path) -> str:
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "rgb24"
        image = np.full((36, 64, 3), 200, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    slate = png(tmp_path / "slate.png")
    server = Server(
        configured(tmp_path, f"server.slate={slate}", "server.reconnect_window_s=600"), environ={}
    )
    await server.start()
    async with aiohttp.ClientSession() as http:
        yield Site(server, http)
    await server.close()


async def publish(site: Site) -> RtmpClient:
    """In the time that it takes, as an encoder does."""
    client = await RtmpClient.connect(site.rtmp_port)
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    clip = media_factory.h264_aac()
    for tag in media_factory.tags(clip.flv):
        client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
    await client.writer.drain()
    return client


async def state(site: Site, wanted: str) -> str:
    """The id of the broadcast, once it is in a state."""
    async with asyncio.timeout(WAIT_S):
        while True:
            items = (await site.json("/api/v1/streams"))["items"]
            if items and items[0]["state"] == wanted:
                return str(items[0]["session_id"])
            await asyncio.sleep(0.05)


async def messages(player: RtmpPlayer, kind: int, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(player.of(kind)) < count:
            await player.until_media(len(player.of(kind)) + 1, kind)


async def test_viewers_get_the_slate_and_then_the_publisher_again(site: Site):
    first = await publish(site)
    broadcast = await state(site, "live")
    player = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
    await messages(player, VIDEO, 20)
    first.close()
    await state(site, "interrupted")
    before = len(player.of(VIDEO)), len(player.of(AUDIO))
    await messages(player, VIDEO, before[0] + 60)
    await messages(player, AUDIO, before[1] + 60)
    assert await state(site, "interrupted") == broadcast
    top = "/hls/live/cam/index.m3u8"
    where = urljoin(top, (await site.text(top)).splitlines()[-1])
    async with asyncio.timeout(WAIT_S):
        while (text := await site.text(where)).count("#EXT-X-MAP") < 2:
            await asyncio.sleep(0.1)
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1

    second = await publish(site)
    assert await state(site, "live") == broadcast
    count = len(player.of(VIDEO))
    await messages(player, VIDEO, count + 30)
    configs = [one.body for one in player.of(VIDEO) if one.body[1] == 0]
    assert len(configs) == 3
    assert configs[0] == configs[2] != configs[1]
    for kind in (VIDEO, AUDIO):
        times = [one.timestamp for one in player.of(kind)]
        assert all(b >= a for a, b in pairwise(times))
        # The publisher sends its two seconds at once and leaves: no more than that is missing.
        assert max(b - a for a, b in pairwise(times)) < 2_500
    assert (await site.json("/api/v1/viewers/count"))["by_protocol"]["rtmp"] == 1
    player.close()
    second.close()
