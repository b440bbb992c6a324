"""The whole server in one loop: an RTMP client publishes, HTTP clients look and watch."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import m3u8
import pytest

from streamserver.config import Config, load
from streamserver.errors import ConfigError, UnavailableError
from streamserver.media.track import Kind
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient

TOKEN = "token-of-the-test"


def configured(directory: Path, *more: str) -> Config:
    overrides = (
        "rtmp.port=0", "webrtc.port=0", "http.port=0", "http.https_port=0", "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1", f"storage.path={directory}", f"auth.api_token={TOKEN}", *more,
    )  # fmt: skip
    return load(environ={}, overrides=overrides, directory=directory).config


class Site:
    """A running server and a client for it."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        ports = {one.name: one.port for one in server.facts.listeners}
        self.rtmp_port = ports["rtmp"]
        self.base = f"http://127.0.0.1:{ports['http']}"

    async def text(self, path: str, status: int = 200) -> str:
        async with self.http.get(urljoin(self.base, path)) as answer:
            assert answer.status == status, await answer.text()
            return await answer.text()

    async def data(self, path: str) -> bytes:
        async with self.http.get(urljoin(self.base, path)) as answer:
            assert answer.status == 200
            return await answer.read()

    async def json(self, path: str) -> Any:
        async with self.http.get(self.base + path) as answer:
            assert answer.status == 200
            return await answer.json()

    async def publish(self, app: str = "live", key: str = "cam") -> RtmpClient:
        """Publishes four seconds at once; the server takes its time from the time stamps."""
        client = await RtmpClient.connect(self.rtmp_port)
        await client.publish(app, key)
        await client.until(b"NetStream.Publish.Start")
        for tag in media_factory.tags(media_factory.h264_aac(seconds=4.0).flv):
            client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
        await client.writer.drain()
        async with asyncio.timeout(60):
            while not (await self.json("/api/v1/streams"))["total"]:
                await asyncio.sleep(0.01)
        return client


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def site(tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    server = Server(configured(tmp_path), environ={})
    await server.start()
    yield Site(server, http)
    await server.close()


async def test_what_is_published_is_listed_watched_counted_and_stopped(site: Site):
    client = await site.publish()
    stream = await site.json("/api/v1/streams/live/cam")
    assert stream["state"] == "live"
    assert [track["codec"] for track in stream["tracks"]] == ["h264", "aac"]
    assert (stream["tracks"][0]["width"], stream["tracks"][0]["height"]) == (320, 180)

    top = m3u8.loads(await site.text("/hls/live/cam/index.m3u8"))
    info = top.playlists[0].stream_info
    assert info.resolution == (320, 180)
    assert info.codecs.startswith("avc1.")
    assert info.codecs.endswith(",mp4a.40.2")
    where = urljoin("/hls/live/cam/index.m3u8", top.playlists[0].uri)
    playlist = m3u8.loads(await site.text(where))
    segment = playlist.segments[0]
    init = await site.data(urljoin(where, segment.init_section.uri))
    media = await site.data(urljoin(where, segment.uri))
    assert init[4:8] == b"ftyp"
    assert media[4:8] == b"moof"
    parts = [await site.data(urljoin(where, part.uri)) for part in segment.parts]
    assert b"".join(parts) == media

    counted = await site.json("/api/v1/streams/live/cam/viewers/count")
    assert counted["by_protocol"]["hls"] == 1
    (viewer,) = (await site.json("/api/v1/streams/live/cam/viewers"))["items"]
    assert viewer["remote_ip"] == "127.0.0.1"

    stop = f"{site.base}/api/v1/streams/live/cam/stop"
    async with site.http.post(stop) as answer:
        assert answer.status == 401
    async with site.http.post(stop, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status in (200, 204)
    await client.until_closed()
    assert (await site.json("/api/v1/streams"))["total"] == 0
    assert "#EXT-X-ENDLIST" in await site.text(where)
    client.close()


async def test_old_players_get_transport_streams(site: Site):
    client = await site.publish()
    top = m3u8.loads(await site.text("/hls/live/cam/ts.m3u8"))
    where = urljoin("/hls/live/cam/ts.m3u8", top.playlists[0].uri)
    playlist = m3u8.loads(await site.text(where))
    media = await site.data(urljoin(where, playlist.segments[0].uri))
    assert media[0] == 0x47
    assert len(media) % 188 == 0
    client.close()


async def test_most_requests_of_a_viewer_take_the_front(site: Site):
    client = await site.publish()
    top = m3u8.loads(await site.text("/hls/live/cam/index.m3u8"))
    where = urljoin("/hls/live/cam/index.m3u8", top.playlists[0].uri)
    await site.text(where)
    before = await fast_requests(site)
    for _ in range(20):
        await site.text(where)
    assert await fast_requests(site) == before + 20
    client.close()


async def fast_requests(site: Site) -> int:
    found = re.search(
        r'^streamserver_http_requests_total\{way="fast"\} (\d+)', await site.text("/metrics"), re.M
    )
    assert found is not None
    return int(found[1])


async def test_pages_and_probes_answer(site: Site):
    assert "<html" in await site.text("/")
    assert "<html" in await site.text("/play/live/cam")
    assert await site.json("/healthz") == {"status": "ok"}
    assert await site.json("/readyz") == {"status": "ok"}
    assert "no such path" in await site.text("/api/v1/nothing", status=404)
    assert "not live" in await site.text("/hls/live/nobody/index.m3u8", status=404)
    async with site.http.head(site.base + "/") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0


async def test_two_listeners_of_one_server_serve_the_same_stream(
    tmp_path: Path, http: aiohttp.ClientSession
):
    server = Server(configured(tmp_path), environ={}, tls_self_signed=True)
    await server.start()
    site = Site(server, http)
    client = await site.publish()
    port = next(one.port for one in server.facts.listeners if one.name == "https")
    async with http.get(f"https://127.0.0.1:{port}/hls/live/cam/index.m3u8", ssl=False) as answer:
        assert answer.status == 200
        assert "avc1" in await answer.text()
    client.close()
    await server.close()


async def test_a_base_path_stands_before_everything(tmp_path: Path, http: aiohttp.ClientSession):
    server = Server(configured(tmp_path, "http.base_path=/video"), environ={})
    await server.start()
    site = Site(server, http)
    async with http.get(site.base + "/video/") as answer:
        assert answer.status == 200
    async with http.get(site.base + "/video/healthz") as answer:
        assert answer.status == 200
    async with http.get(site.base + "/healthz") as answer:
        assert answer.status == 404
    await server.close()


async def test_a_port_that_is_taken_is_named_and_nothing_stays_open(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Server(configured(tmp_path, f"http.port={port}"), environ={})
        with pytest.raises(UnavailableError, match=f"http port {port} is taken"):
            await server.start()
    assert server.facts.listeners == []


async def test_a_certificate_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path):
    (tmp_path / "cert.pem").write_text("this is no certificate")
    cert = f"http.cert_file={tmp_path / 'cert.pem'}"
    key = f"http.key_file={tmp_path / 'cert.pem'}"
    server = Server(configured(tmp_path, cert, key), environ={})
    with pytest.raises(ConfigError, match=r"cert\.pem"):
        await server.start()


async def test_draining_ends_the_broadcast_and_refuses_publishers(site: Site):
    client = await site.publish()
    top = m3u8.loads(await site.text("/hls/live/cam/index.m3u8"))
    where = urljoin("/hls/live/cam/index.m3u8", top.playlists[0].uri)
    await site.text(where)
    draining = asyncio.create_task(site.server.drain())
    await client.until_closed()
    assert b"shutting down" in client.seen
    assert "#EXT-X-ENDLIST" in await site.text(where)
    await site.text("/readyz", status=503)
    await draining
    client.close()


async def test_generated_secrets_survive_a_restart(tmp_path: Path):
    config = load(
        environ={},
        overrides=("rtmp.port=0", "webrtc.port=0", "http.port=0", f"storage.path={tmp_path}"),
        directory=tmp_path,
    ).config
    hashes, values = [], []
    for _ in range(2):
        server = Server(config, environ={})
        await server.start()
        assert server.access is not None
        assert server.access.publish_key is not None
        hashes.append(server.access.publish_key.hashed)
        values.append(server.access.publish_key.value)
        await server.close()
    assert hashes[0] == hashes[1]
    assert values[0] is not None
    assert values[1] is None


async def test_media_can_be_kept_to_the_pages_of_listed_origins(
    tmp_path: Path, http: aiohttp.ClientSession
):
    config = configured(tmp_path, "http.cors_origins=https://a.example, https://b.example")
    server = Server(config, environ={})
    await server.start()
    site = Site(server, http)
    client = await site.publish()
    url = site.base + "/hls/live/cam/index.m3u8"
    async with http.get(url, headers={"Origin": "https://b.example"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://b.example"
        assert "Origin" in answer.headers.getall("Vary")
    async with http.get(url, headers={"Origin": "https://evil.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    client.close()
    await server.close()
