"""A whole server and a publisher of Opus: what everybody gets of it."""

import asyncio
import io
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import av
import m3u8
import numpy as np

from streamserver.config import load
from streamserver.ffmpeg.audio_codecs import RATE
from streamserver.ffmpeg.audio_forms import AudioInput
from streamserver.hub.stream import Stream
from streamserver.media import flv, flv_writer
from streamserver.media.flv_writer import Dialect
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.names import StreamKey
from streamserver.rtmp.message import AUDIO
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient
from tests.ffmpeg.helpers_audio import Sound, bursts, coded, offset_ms
from tests.media_factory import Tag

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
        async with asyncio.timeout(60):
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
            async with asyncio.timeout(60):
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


def bodies(pictures: media_factory.Clip, track: Track, sound: list[AudioInput]) -> list[Tag]:
    """The pictures of a clip, and other sound beside them."""
    video = [tag for tag in media_factory.tags(pictures.flv) if tag.kind is Kind.VIDEO]
    config = flv_writer.audio_config_body(track, Dialect.ENHANCED)
    assert config is not None
    audio = [Tag(Kind.AUDIO, 0, config)]
    for pts, data in sound:
        one = Packet(track, pts, pts, 0, True, data, 0)
        body = flv_writer.audio_body(one, Dialect.ENHANCED)
        assert body is not None
        audio.append(Tag(Kind.AUDIO, pts * 1000 // RATE, body))
    # Both headers first, as encoders do.
    rest = sorted(video[1:] + audio[1:], key=lambda tag: tag.timestamp_ms)
    return [video[0], audio[0], *rest]


async def test_sound_in_hls_is_within_two_milliseconds_of_where_it_was_published(tmp_path: Path):
    async with running(tmp_path) as site:
        sound = bursts(4)
        track, packets = coded(sound, "libopus", start=960)
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        sent = 0
        for tag in bodies(media_factory.video_only(seconds=4.0), track, packets):
            client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
            sent += tag.kind is Kind.AUDIO
            # In step with the sound, as in real time: parts are cut when their pictures are there.
            if sent > 10 and tag.kind is Kind.VIDEO:
                await until_converted(site, sent - 2)
        await site.until_live("cam")
        where = "/hls/live/cam/index.m3u8"
        where = urljoin(where, m3u8.loads(await text(site, where)).playlists[0].uri)
        segments = m3u8.loads(await text(site, where)).segments
        assert segments[0].init_section is not None
        urls = [segments[0].init_section.uri, *(one.uri for one in segments if one.uri)]
        media = b"".join([await data(site, urljoin(where, str(url))) for url in urls])
        at, heard = _sound_of(media)
        # The log's time is a second ahead of the publisher's.
        assert abs(offset_ms(sound[: 2 * RATE], RATE + 960, heard[: 2 * RATE], at)) <= 2


async def until_converted(site: Site, count: int) -> None:
    async with asyncio.timeout(60):
        while (
            (found := site.hub.registry.get(CAM)) is None
            or Codec.AAC not in found.renditions
            or found.renditions[Codec.AAC].packets_in < count
        ):
            await asyncio.sleep(0.001)


def _sound_of(media: bytes) -> tuple[int, Sound]:
    """The left side of the sound in a file, and its time in 1/48000 s."""
    with av.open(io.BytesIO(media), "r") as container:
        frames = list(container.decode(audio=0))
    first = frames[0]
    assert first.pts is not None
    assert first.time_base is not None
    at = int(first.pts * first.time_base * RATE)
    return at, np.concatenate([one.to_ndarray()[0] for one in frames]).astype(np.float32)


async def data(site: Site, path: str) -> bytes:
    async with (
        aiohttp.ClientSession() as http,
        http.get(urljoin(f"http://127.0.0.1:{site.http_port}", path)) as answer,
    ):
        assert answer.status == 200
        return await answer.read()
