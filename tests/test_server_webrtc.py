"""A whole server: a browser of aiortc publishes by WHIP, others play by WHEP."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from streamserver.control.webrtc import RtcResource
from streamserver.errors import UnavailableError
from streamserver.hub.stream import StreamState
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.outputs.webrtc.viewer import WebRtcViewer
from streamserver.webrtc.dtls import DtlsLink
from streamserver.webrtc.peer import Peer
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.webrtc.client import Browser, EncodedTrack
from tests.webrtc.offers import CHROMIUM_PLAY

CAM = StreamKey("live", "cam")
SDP = {"Content-Type": "application/sdp"}
LOCAL = ("webrtc.host=127.0.0.1",)
WAIT_S = 60


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, *LOCAL) as it:
        yield it


@pytest.fixture
async def http(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.http_port}") as session:
        yield session


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """A second of H.264, constrained baseline, a keyframe each half second; Annex B."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.options = {"tune": "zerolatency", "profile": "baseline", "g": "15"}
    found = []
    for number in range(30):
        # Small pictures: all are sent at once, and sockets of tests have small buffers.
        pixels = np.full((180, 320, 3), number * 8, dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        found += [bytes(packet) for packet in encoder.encode(frame)]
    return found


@dataclass
class Connected:
    """A browser and the resource that it made."""

    browser: Browser
    location: str


@contextlib.asynccontextmanager
async def connected(
    http: aiohttp.ClientSession, path: str, browser: Browser
) -> AsyncIterator[Connected]:
    async with browser:
        offer = await browser.offer()
        async with http.post(path, data=offer, headers=SDP) as answer:
            assert answer.status == 201, await answer.text()
            location = answer.headers["Location"]
            await browser.accept(await answer.text())
        await browser.wait_connected()
        yield Connected(browser, location)


@dataclass
class Camera:
    """A publisher, and what it sends."""

    video: EncodedTrack
    audio: EncodedTrack
    pictures: list[bytes]
    sent: int = 0

    def browser(self) -> Browser:
        browser = Browser()
        browser.publish(self.audio)
        browser.publish(self.video)
        return browser

    def send(self, pictures: int) -> None:
        for _ in range(pictures):
            self.video.push(self.pictures[self.sent % len(self.pictures)], self.sent * 3000)
            self.audio.push(b"\xfc\xff\xfe", self.sent * 1600)
            self.sent += 1


@pytest.fixture
def camera(pictures: list[bytes]) -> Camera:
    return Camera(EncodedTrack("video"), EncodedTrack("audio", 48_000), pictures)


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def live(site: Site) -> bool:
    stream = site.hub.registry.get(CAM)
    return stream is not None and stream.state is StreamState.LIVE


def nothing_left(site: Site) -> bool:
    webrtc = site.server.doors.webrtc
    assert webrtc is not None
    return (len(webrtc.resources), webrtc.mux.peers, len(webrtc.whip), len(webrtc.whep)) == (
        0, 0, 0, 0,
    )  # fmt: skip


async def test_a_browser_publishes_and_another_plays(
    site: Site, http: aiohttp.ClientSession, camera: Camera
):
    async with connected(http, "/whip/live/cam", camera.browser()) as publisher:
        camera.send(30)
        await until(lambda: live(site))
        stream = site.hub.registry.get(CAM)
        assert stream is not None
        await until(lambda: len(stream.tracks) == 2)
        assert [track.codec for track in stream.tracks] == [Codec.H264, Codec.OPUS]
        assert (stream.tracks[0].width, stream.tracks[0].height) == (320, 180)

        viewer = Browser()
        viewer.play("video", "audio")
        async with connected(http, "/whep/live/cam", viewer):
            camera.send(30)
            for kind in ("video", "audio"):
                packet = await asyncio.wait_for(viewer.received[kind].get(), WAIT_S)
                assert packet.payload
            shown = await (await http.get("/api/v1/streams/live/cam")).json()
            assert shown["publisher"]["protocol"] == "whip"
            assert shown["publisher"]["link"]["protocol"] == "udp"
            assert shown["publisher"]["link"]["packets"] > 0
            assert shown["viewers"]["by_protocol"]["whep"] == 1
            assert shown["urls"]["whep"] == "whep/live/cam"
            viewers = await (await http.get("/api/v1/streams/live/cam/viewers")).json()
            assert viewers["items"][0]["link"]["local"].startswith("127.0.0.1:")
            page = await (await http.get("/metrics")).text()
            assert 'streamserver_webrtc_peers{action="publish"} 1' in page
            assert 'streamserver_webrtc_peers{action="play"} 1' in page
            deleted = await http.delete(publisher.location)
            assert deleted.status == 200
            await until(lambda: site.hub.registry.publishers == 0)
    await until(lambda: nothing_left(site))
    page = await (await http.get("/metrics")).text()
    assert 'streamserver_webrtc_peers{action="play"} 0' in page


async def test_a_stopped_publisher_is_closed_and_frees_its_name(
    site: Site, http: aiohttp.ClientSession, camera: Camera
):
    async with connected(http, "/whip/live/cam", camera.browser()) as publisher:
        camera.send(20)
        await until(lambda: live(site))
        stopped = await http.post(
            "/api/v1/streams/live/cam/stop", headers={"Authorization": "Bearer token-of-the-test"}
        )
        assert stopped.status == 204
        assert nothing_left(site)
        await asyncio.wait_for(publisher.browser.is_closed.wait(), WAIT_S)
        again = Camera(EncodedTrack("video"), EncodedTrack("audio", 48_000), camera.pictures)
        async with connected(http, "/whip/live/cam", again.browser()):
            again.send(20)
            await until(lambda: live(site))


async def test_a_viewer_of_rtmp_is_played_to_and_kicked(site: Site, http: aiohttp.ClientSession):
    publisher = await site.publish(clip=media_factory.h264_aac(b_frames=0))
    viewer = Browser()
    viewer.play("video", "audio")
    async with connected(http, "/whep/live/cam", viewer):
        site.send(publisher, media_factory.h264_aac(), later_ms=2_100)
        for kind in ("video", "audio"):  # AAC, which comes as Opus
            await asyncio.wait_for(viewer.received[kind].get(), WAIT_S)
        (session,) = site.hub.sessions.viewers(CAM)
        kicked = await http.delete(
            f"/api/v1/viewers/{session.id}", headers={"Authorization": "Bearer token-of-the-test"}
        )
        assert kicked.status == 204
        assert nothing_left(site)
        await asyncio.wait_for(viewer.is_closed.wait(), WAIT_S)


def connection_objects() -> list[object]:
    """Objects of connections that the collector could not take away."""
    gc.collect()
    kinds = (Peer, RtcResource, WebRtcViewer, DtlsLink)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


async def test_viewers_that_came_and_went_leave_no_task_and_no_object(
    site: Site, http: aiohttp.ClientSession
):
    publisher = await site.publish(clip=media_factory.h264_aac(b_frames=0))
    others = connection_objects()  # held to the end, so that nobody else has their ids
    of_other_tests = {id(one) for one in others}

    def left_over() -> list[str]:
        found = connection_objects()
        return [type(one).__name__ for one in found if id(one) not in of_other_tests]

    async def come_and_go(number: int) -> None:
        viewer = Browser()
        viewer.play("video", "audio")
        async with connected(http, "/whep/live/cam", viewer) as one:
            site.send(publisher, media_factory.h264_aac(), later_ms=2_100 * (number + 1))
            await asyncio.wait_for(viewer.received["video"].get(), WAIT_S)
            if number % 2:
                assert (await http.delete(one.location)).status == 200

    await come_and_go(0)
    await until(lambda: nothing_left(site))
    await until(lambda: not left_over())
    tasks = len(asyncio.all_tasks())
    for number in range(1, 5):
        await come_and_go(number)
    await until(lambda: nothing_left(site))
    await until(lambda: not left_over())
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_b_frames_are_refused_with_what_to_change(site: Site, http: aiohttp.ClientSession):
    await site.publish(clip=media_factory.h264_aac(b_frames=2))
    viewer = Browser()
    viewer.play("video", "audio")
    async with viewer:
        offer = await viewer.offer()
        answer = await http.post("/whep/live/cam", data=offer, headers=SDP)
        assert answer.status == 406
        assert "B-frames" in (await answer.json())["detail"]
    assert nothing_left(site)


async def test_a_viewer_waits_for_its_stream(tmp_path: Path, camera: Camera):
    async with (
        running(tmp_path, *LOCAL, "webrtc.wait_for_stream_s=10") as site,
        aiohttp.ClientSession(f"http://127.0.0.1:{site.http_port}") as http,
    ):
        viewer = Browser()
        viewer.play("video")

        async def watch() -> None:
            async with connected(http, "/whep/live/cam", viewer):
                camera.send(30)
                await asyncio.wait_for(viewer.received["video"].get(), WAIT_S)

        watching = asyncio.create_task(watch())
        await until(lambda: site.server.doors.webrtc is not None)
        async with connected(http, "/whip/live/cam", camera.browser()):
            camera.send(20)
            await watching


async def test_the_end_of_the_server_is_told_to_everyone(tmp_path: Path, camera: Camera):
    async with (
        running(tmp_path, *LOCAL) as site,
        aiohttp.ClientSession(f"http://127.0.0.1:{site.http_port}") as http,
        connected(http, "/whip/live/cam", camera.browser()) as publisher,
    ):
        camera.send(20)
        await until(lambda: live(site))
        await site.server.drain()
        await asyncio.wait_for(publisher.browser.is_closed.wait(), WAIT_S)
        assert nothing_left(site)
        answer = await http.post("/whep/live/cam", data=CHROMIUM_PLAY, headers=SDP)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_without_webrtc_there_is_no_port_and_no_door(tmp_path: Path):
    async with running(tmp_path, "webrtc.enabled=false") as site:
        assert "webrtc" not in [one.name for one in site.server.facts.listeners]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.http_port}") as http:
            answer = await http.post("/whip/live/cam", data="v=0\r\n", headers=SDP)
            assert answer.status == 404


async def test_a_port_that_is_taken_stops_the_start(site: Site, tmp_path: Path):
    port = next(one.port for one in site.server.facts.listeners if one.name == "webrtc")
    more = (*LOCAL, f"webrtc.port={port}")
    with pytest.raises(UnavailableError, match=f"webrtc port {port}"):
        async with running(tmp_path / "other", *more):
            pass
