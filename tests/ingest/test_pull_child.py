import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from streamserver.clock import SystemClock
from streamserver.errors import ConfigError, PeerError, StreamServerError
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.sessions import Session
from streamserver.hub.stream import LogBounds, Stream, StreamState
from streamserver.ingest.pull import Source
from streamserver.ingest.pull_child import ChildPull, FarUrl
from streamserver.ingest.pull_rtmp import Publisher
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from tests import media_factory
from tests.fakes import Turns, session
from tests.ffmpeg.helpers_hls import make_hls

KEY = StreamKey("live", "far")


class Held:
    """A lease and its session."""

    def __init__(self, lease, publisher: Session) -> None:
        self.lease = lease
        self.session = publisher

    def close(self, reason: str) -> None:
        self.lease.release(reason)


class World:
    """A web server with a clip, and a registry to publish into."""

    def __init__(self, base: str) -> None:
        self.base = base
        clock = SystemClock()
        self.registry = Registry(clock, Turns(), RegistrySettings(bounds=LogBounds()))
        self.asked: list[str] = []
        self.began = asyncio.Event()
        self.pull = ChildPull(open_publisher=self.open, clock=clock, check_host=self.check)

    async def open(self, key, close) -> Publisher:
        publisher = session(key, close=close)
        return Held(await self.registry.claim(key, publisher), publisher)

    async def check(self, host: str) -> None:
        self.asked.append(host)

    async def fetch(self, path: str) -> None:
        source = Source(KEY, FarUrl.parse(self.base + path))
        async with asyncio.timeout(60):
            await self.pull(source, self.began.set)

    @property
    def stream(self) -> Stream:
        found = self.registry.get(KEY)
        assert found is not None
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "clip.flv").write_bytes(media_factory.h264_aac(seconds=0.5).flv)
    make_hls(tmp_path, media_factory.h264_aac(seconds=0.5).flv)
    (tmp_path / "long.flv").write_bytes(media_factory.h264_aac(seconds=4.0).flv)
    (tmp_path / "none.txt").write_text("nothing here")
    app = web.Application()
    app.router.add_static("/", tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield World(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/clip.flv", "/index.m3u8"])
async def test_a_source_is_published_until_it_ends(world: World, path: str) -> None:
    await world.fetch(path)
    stream = world.stream
    assert stream.state is StreamState.INTERRUPTED
    assert [track.codec for track in stream.tracks] == ["h264", "aac"]
    packets = stream.packets.since(0)
    assert sum(one.track.kind is Kind.VIDEO for one in packets) == 15
    assert packets[0].keyframe
    assert world.began.is_set()
    assert world.asked == ["127.0.0.1"]


@pytest.mark.parametrize(("path", "said"), [("/gone.m3u8", "404"), ("/none.txt", "Invalid data")])
async def test_what_is_wrong_with_a_source_is_told(world: World, path: str, said: str) -> None:
    with pytest.raises(PeerError, match=said):
        await world.fetch(path)
    assert world.registry.publishers == 0
    assert not world.began.is_set()


async def test_a_stream_that_is_stopped_ends_the_child(world: World) -> None:
    fetching = asyncio.create_task(world.fetch("/long.flv"))
    await world.began.wait()
    world.registry.stop(KEY, "stopped by the API")
    with pytest.raises(StreamServerError, match="stopped by the API"):
        await fetching


async def test_a_cancelled_attempt_leaves_nothing(world: World) -> None:
    fetching = asyncio.create_task(world.fetch("/long.flv"))
    await world.began.wait()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert world.registry.publishers == 0


async def test_a_host_that_is_forbidden_is_not_asked(world: World) -> None:
    async def forbid(host: str) -> None:
        raise StreamServerError(f"{host} is a private address")

    world.pull = ChildPull(open_publisher=world.open, clock=SystemClock(), check_host=forbid)
    with pytest.raises(StreamServerError, match="private"):
        await world.fetch("/clip.flv")


def test_urls_are_shown_without_what_is_secret() -> None:
    url = FarUrl.parse("rtsp://user:password@[2001:db8::1]:554/cam/1?token=abcdef")
    assert url.masked() == "rtsp://[2001:db8::1]/****"
    assert "password" not in repr(url)
    assert url.hide("401 for /cam/1?token=abcdef of user:password") == "401 for ****?**** of ****"


@pytest.mark.parametrize("text", ["file:///etc/passwd", "http://", "rtsp://[::1/x", "concat:a|b"])
def test_other_urls_are_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FarUrl.parse(text)
    assert text not in str(caught.value)
