"""A whole server that converts what browsers cannot play, and a browser of aiortc that watches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamserver.hub.stream import Stream
from streamserver.names import StreamKey
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient
from tests.webrtc.client import Browser

CAM = StreamKey("live", "cam")
SDP = {"Content-Type": "application/sdp"}
LOCAL = ("webrtc.host=127.0.0.1",)
AUTO = (*LOCAL, "webrtc.transcode=auto")
WAIT_S = 60


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, *AUTO) as it:
        yield it


def http_of(site: Site) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"http://127.0.0.1:{site.http_port}")


def b_frames() -> media_factory.Clip:
    return media_factory.h264_aac(seconds=1.0, b_frames=2, gop=15)


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def of(site: Site) -> Stream:
    found = site.hub.registry.get(CAM)
    assert found is not None
    return found


class Live:
    """An encoder that goes on and on, a second of the same each time."""

    def __init__(self, site: Site, client: RtmpClient, clip: media_factory.Clip) -> None:
        self._site = site
        self._client = client
        self._clip = clip
        self._seconds = self._later()

    def go_on(self) -> None:
        self._site.send(self._client, self._clip, later_ms=next(self._seconds))

    def _later(self) -> Iterator[int]:
        second = 1
        while True:
            yield second * 1000
            second += 1


async def watch(http: aiohttp.ClientSession, viewer: Browser) -> str:
    """Returns with the answer, once it is connected."""
    offer = await viewer.offer()
    async with http.post("/whep/live/cam", data=offer, headers=SDP) as answer:
        text = await answer.text()
        assert answer.status == 201, text
        await viewer.accept(text)
    await viewer.wait_connected()
    return text


async def receive(live: Live, viewer: Browser, kind: str) -> bytes:
    """The next packet of a kind, while the encoder goes on."""
    async with asyncio.timeout(WAIT_S):
        while viewer.received[kind].empty():
            live.go_on()
            await asyncio.sleep(0.1)
    return viewer.received[kind].get_nowait().payload


async def codes(http: aiohttp.ClientSession) -> list[str]:
    shown = await (await http.get("/api/v1/streams/live/cam")).json()
    return [one["code"] for one in shown["health"]]


def _is_baseline(payload: bytes) -> bool:
    """Whether it is a STAP-A that begins with a sequence parameter set of the baseline profile."""
    return payload[0] & 0x1F == 24 and payload[3] & 0x1F == 7 and payload[4] == 66


@pytest.mark.parametrize("source", ["b-frames", "hevc", "4:2:2"])
async def test_what_no_browser_plays_is_converted_while_somebody_watches(site: Site, source: str):
    if source == "b-frames":
        clip = b_frames()
    elif source == "hevc":
        clip = media_factory.hevc_aac(seconds=1.0)
    else:
        clip = media_factory.read_flv(media_factory.encode(seconds=1.0, pix_fmt="yuv422p"))
    async with http_of(site) as http, Browser() as viewer:
        live = Live(site, await site.publish(clip=clip), clip)
        assert len(site.hub.renditions) == 0
        converting = site.hub.video_renditions
        assert converting is not None
        assert len(converting) == 0
        viewer.play("video", "audio")
        answer = await watch(http, viewer)
        assert "H264" in answer
        # A browser of aiortc may miss the first packets, until its receivers are known.
        async with asyncio.timeout(WAIT_S):
            while not _is_baseline(await receive(live, viewer, "video")):
                pass
        await receive(live, viewer, "audio")
        assert len(converting) == 1
        page = await (await http.get("/metrics")).text()
        assert "streamserver_video_renditions 1" in page
        assert "streamserver_video_rendition_restarts_total 0" in page
        if source != "hevc":
            assert "webrtc_transcoded" in await codes(http)
            assert "webrtc_unplayable" not in await codes(http)
        # Nobody watches any more: some seconds later it ends.
        await viewer.connection.close()
        await until(lambda: not site.hub.sessions.viewers(CAM))
        webrtc = site.server.doors.webrtc
        assert webrtc is not None
        later_ns = site.server.clock.monotonic_ns() + 60 * 10**9
        webrtc.output.tick(later_ns - 60 * 10**9)
        converting.tick(later_ns)
        assert len(converting) == 0
        assert of(site).conversion is not None
        assert not of(site).conversion.running  # type: ignore[union-attr]  # it is there, see above


async def test_viewers_share_one_conversion_and_it_ends_with_the_stream(site: Site):
    async with http_of(site) as http, Browser() as one, Browser() as two:
        live = Live(site, await site.publish(clip=b_frames()), b_frames())
        for viewer in (one, two):
            viewer.play("video")
            await watch(http, viewer)
            await receive(live, viewer, "video")
        converting = site.hub.video_renditions
        assert converting is not None
        assert len(converting) == 1
        assert converting.totals().restarts == 0
        site.hub.registry.stop(CAM, "stopped by the test")
        await until(lambda: len(converting) == 0)
        await asyncio.wait_for(one.is_closed.wait(), WAIT_S)


async def test_a_stream_that_comes_back_in_another_form_is_converted_for_who_asks_again(site: Site):
    plain = media_factory.h264_aac()
    async with http_of(site) as http, Browser() as before, Browser() as after:
        client = await site.publish(clip=plain)
        before.play("video")
        await watch(http, before)
        await receive(Live(site, client, plain), before, "video")
        client.close()
        await until(lambda: of(site).publisher is None)
        again = await site.publish(clip=b_frames())
        # It was promised pictures that need no conversion; its page asks again by itself.
        await asyncio.wait_for(before.is_closed.wait(), WAIT_S)
        after.play("video")
        await watch(http, after)
        await receive(Live(site, again, b_frames()), after, "video")
        converting = site.hub.video_renditions
        assert converting is not None
        assert len(converting) == 1


async def test_what_browsers_play_is_not_converted(site: Site):
    clip = media_factory.h264_aac()
    async with http_of(site) as http, Browser() as viewer:
        live = Live(site, await site.publish(clip=clip), clip)
        viewer.play("video")
        await watch(http, viewer)
        await receive(live, viewer, "video")
        assert site.hub.video_renditions is not None
        assert len(site.hub.video_renditions) == 0
        assert not {"webrtc_transcoded", "webrtc_unplayable"} & set(await codes(http))


async def test_without_it_players_are_told_what_to_change(tmp_path: Path):
    async with running(tmp_path, *LOCAL) as site, http_of(site) as http, Browser() as viewer:
        await site.publish(clip=b_frames())
        assert site.hub.video_renditions is None
        viewer.play("video")
        offer = await viewer.offer()
        async with http.post("/whep/live/cam", data=offer, headers=SDP) as answer:
            assert answer.status == 406
            assert "B-frames" in await answer.text()
        assert await codes(http) == ["webrtc_unplayable"]
