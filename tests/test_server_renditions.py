"""A whole server and a publisher of Opus: what everybody gets of it."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import m3u8

from streamserver.config import load
from streamserver.hub.stream import Stream
from streamserver.media import flv
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.rtmp.message import AUDIO
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.helpers_site import Site, running

CAM = StreamKey("live", "cam")


async def text(site: Site, path: str, status: int = 200) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(urljoin(f"http://127.0.0.1:{site.http_port}", path)) as answer,
    ):
        assert answer.status == status, await answer.text()
        return await answer.text()


async def stream(site: Site) -> Any:
    url = f"http://127.0.0.1:{site.http_port}/api/v1/streams/live/cam"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return await answer.json()


def clip() -> media_factory.Clip:
    return media_factory.read_flv(media_factory.encode(audio="libopus", seconds=4.0))


def of(site: Site) -> Stream:
    found = site.hub.registry.get(CAM)
    assert found is not None
    return found


async def test_hls_gets_aac_in_both_forms(tmp_path: Path):
    async with running(tmp_path) as site:
        await site.publish(clip=clip())
        async with asyncio.timeout(10):
            while of(site).renditions[Codec.AAC].packets_out < 150:
                await asyncio.sleep(0.01)
        for form in ("index.m3u8", "ts.m3u8"):
            where = f"/hls/live/cam/{form}"
            top = m3u8.loads(await text(site, where))
            assert top.playlists[0].stream_info.codecs == "avc1.42C00D,mp4a.40.2"
            where = urljoin(where, top.playlists[0].uri)
            playlist = m3u8.loads(await text(site, where))
            assert playlist.segments
            assert not any(one.discontinuity for one in playlist.segments)
        # What was published is told as it is, and what becomes of it.
        told = await stream(site)
        assert [track["codec"] for track in told["tracks"]] == ["h264", "opus"]
        assert [note["code"] for note in told["health"]] == ["audio_converted"]
        assert "Opus" in told["health"][0]["message"]
        assert "AAC" in told["health"][0]["message"]
        page = await text(site, "/metrics")
        assert "streamserver_audio_renditions 1" in page


async def test_rtmp_players_of_every_kind_get_aac(tmp_path: Path):
    async with running(tmp_path) as site:
        await site.publish(clip=clip())
        for four_ccs in ((), ("*",), ("av01",)):
            player = await site.play(four_ccs=four_ccs)
            await player.until_media(30)
            sound = await player.until_media(30, AUDIO)
            config = flv.parse_audio(sound[0].body)[0]
            assert isinstance(config, flv.AudioConfig)
            assert config.codec is Codec.AAC
            player.close()
        assert len(site.hub.renditions) == 1


async def test_a_destination_gets_aac(tmp_path: Path):
    (tmp_path / "far").mkdir()
    async with running(tmp_path / "far") as far:
        url = f"rtmp://127.0.0.1:{far.rtmp_port}/live/copy"
        near_config = f'destinations=[{{stream = "live/cam", url = "{url}"}}]'
        async with running(tmp_path, near_config) as near:
            await near.publish(clip=clip())
            async with asyncio.timeout(10):
                while (copy := far.hub.registry.get(StreamKey("live", "copy"))) is None:
                    await asyncio.sleep(0.01)
            assert [track.codec for track in copy.tracks] == [Codec.H264, Codec.AAC]


async def test_opus_can_be_kept(tmp_path: Path):
    async with running(tmp_path, "server.opus=keep") as site:
        await site.publish(clip=clip())
        top = m3u8.loads(await text(site, "/hls/live/cam/index.m3u8"))
        assert top.playlists[0].stream_info.codecs == "avc1.42C00D,opus"
        await text(site, "/hls/live/cam/ts.m3u8", status=406)
        player = await site.play()
        sound = await player.until_media(10, AUDIO)
        config = flv.parse_audio(sound[0].body)[0]
        assert isinstance(config, flv.AudioConfig)
        assert config.codec is Codec.OPUS
        assert len(site.hub.renditions) == 0
        assert (await stream(site))["health"] == []


async def test_aac_is_served_as_it_comes(tmp_path: Path):
    async with running(tmp_path) as site:
        await site.publish()
        player = await site.play()
        await player.until_media(30)
        assert len(site.hub.renditions) == 0
        assert (await stream(site))["health"] == []


async def test_a_server_with_renditions_closes(tmp_path: Path):
    overrides = ("rtmp.port=0", "http.port=0", f"storage.path={tmp_path}")
    config = load(environ={}, overrides=overrides, directory=tmp_path).config
    server = Server(config, environ={})
    await server.start()
    site = Site(server)
    publisher = await site.publish(clip=clip())
    await server.drain()
    await server.close()
    publisher.close()
    assert len(site.hub.renditions) == 0
