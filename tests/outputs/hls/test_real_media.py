"""The real feed and the real remuxer behind the URLs: nothing is lost on the way to a player."""

import asyncio
import io
from collections.abc import AsyncIterator
from functools import partial

import av
import pytest
from msgspec.structs import replace

from streamserver.feeds.cmaf.feed import CmafFeed
from streamserver.feeds.cmaf.settings import CmafSettings
from streamserver.ffmpeg import ts
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.ffmpeg.ts_support import supports
from streamserver.hub.stream import Stream
from streamserver.media.packet import Packet
from streamserver.media.track import Kind
from streamserver.outputs.hls.settings import HlsSettings
from tests.media_factory import Clip, audio_only, h264_aac, hevc_aac, video_only
from tests.outputs.hls.helpers_hls import KEY, OutputRig, Read
from tests.outputs.hls.helpers_rules import Rules


class RealRig(OutputRig):
    def _make_feed(self, stream: Stream, first_msn: int, position: int) -> CmafFeed:  # type: ignore[override]  # the real one, in place of the fake
        return CmafFeed(stream.tracks_of, first_msn, CmafSettings(), self.turns, position=position)


def shifted(packet: Packet, ms: int) -> Packet:
    ticks = ms * packet.track.clock_rate // 1000
    return replace(packet, pts=packet.pts + ticks, dts=packet.dts + ticks)


def publish(rig: OutputRig, clip: Clip, *, rounds: int, rules: Rules | None = None) -> Stream:
    """The clip again and again, as a live stream; every part's playlist is checked."""
    stream = rig.start(tracks=clip.tracks)
    length_ms = 2_000
    for number in range(rounds):
        for packet in clip.packets:
            stream.append(shifted(packet, number * length_ms))
            rig.run()
            delivery = rig.output.delivery(KEY)
            assert delivery is not None
            if rules is not None and delivery.window.is_ready:
                rules.check(delivery.playlist().body.decode())
    return stream


def frames(data: bytes, form: str) -> dict[str, int]:
    """How many frames of each kind FFmpeg decodes."""
    counts: dict[str, int] = {}
    with av.open(io.BytesIO(data), "r", format=form) as container:
        for packet in container.demux():
            counts[packet.stream.type] = counts.get(packet.stream.type, 0) + len(packet.decode())
    return counts


async def fetch_all(rig: OutputRig, form: str) -> tuple[Read, bytes]:
    path = await rig.session_path(form)
    task = asyncio.create_task(rig.get(path))
    while not task.done():
        rig.run()
        await asyncio.sleep(0.001)
    reply = await task
    assert reply.status == 200, reply.body
    read = Read(reply.body.decode())
    maps = [read.segments[0].map_uri] if read.segments[0].map_uri else []
    media = b""
    for uri in [*maps, *[segment.uri for segment in read.segments]]:
        reply = await rig.get(f"/hls/{KEY}/{uri.removeprefix('../../')}")
        assert reply.status == 200
        media += reply.body
    return read, media


@pytest.fixture
async def executor() -> AsyncIterator[MediaExecutor]:
    executor = MediaExecutor(workers=1, waiting=4)
    yield executor
    await executor.close(5.0)


@pytest.fixture
def rig(executor: MediaExecutor) -> RealRig:
    return RealRig(
        HlsSettings(window_ms=20_000),
        remux=partial(executor.run, ts.remux_segment),
        supports=supports,
    )


@pytest.mark.parametrize("make", [h264_aac, partial(h264_aac, b_frames=2), hevc_aac, video_only])
async def test_every_frame_reaches_the_player_in_both_forms(rig, make):
    clip = make()
    rules = Rules(rig.fetch)
    stream = publish(rig, clip, rounds=4, rules=rules)
    rig.end(stream)
    published = len(clip.of(Kind.VIDEO)) * 4
    read, media = await fetch_all(rig, "index.m3u8")
    assert read.ended
    assert frames(media, "mp4")["video"] == published
    ts_read, ts_media = await fetch_all(rig, "ts.m3u8")
    assert [s.duration for s in ts_read.segments] == [s.duration for s in read.segments]
    assert frames(ts_media, "mpegts")["video"] == published
    assert rules.checked > 10
    assert not stream.health_notes


async def test_audio_only_is_a_playlist_like_any_other(rig):
    clip = audio_only()
    stream = publish(rig, clip, rounds=4)
    text = (await rig.get(f"/hls/{KEY}/index.m3u8")).body.decode()
    assert "RESOLUTION" not in text
    assert 'CODECS="mp4a.40.2"' in text
    rig.end(stream)
    _, media = await fetch_all(rig, "index.m3u8")
    assert frames(media, "mp4")["audio"] > 0
    _, media = await fetch_all(rig, "ts.m3u8")
    assert frames(media, "mpegts")["audio"] > 0
