"""Renditions with real codecs in real threads, of streams without a publisher."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from streamserver.clock import SystemClock
from streamserver.errors import LimitError
from streamserver.ffmpeg.audio_codecs import RATE, AudioEncoder, Encoded
from streamserver.ffmpeg.audio_forms import AudioInput
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.sources import SourceHold
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.names import StreamKey
from streamserver.outputs.renditions import Renditions, SubmitToThread
from tests.fakes import FakeClock, session, video_track
from tests.ffmpeg.helpers_audio import bursts, coded, decoded, offset_ms, tone

KEY = StreamKey("live", "cam")


class World:
    """A hub, a publisher of real audio beside made-up pictures, and renditions."""

    def __init__(self, submit: SubmitToThread) -> None:
        self.clock = FakeClock()
        self.driver = Driver(SystemClock())
        self.registry = Registry(self.clock, self.driver.schedule, RegistrySettings(LogBounds()))
        self.feeds = FeedPool(self.clock.monotonic_ns, self.driver.report)
        self.renditions = Renditions(
            feeds=self.feeds, schedule=self.driver.schedule, bounds=LogBounds(), submit=submit
        )
        self.registry.add_listener(self.renditions)
        self.lease: Lease | None = None
        self.tracks: dict[Kind, Track] = {}

    async def publish(self, *tracks: Track) -> Stream:
        self.lease = await self.registry.claim(KEY, session(KEY))
        return self.begin(*tracks)

    def begin(self, *tracks: Track) -> Stream:
        assert self.lease is not None
        epoch = self.lease.next_epoch(tracks)
        mine = tuple(replace(track, epoch=epoch) for track in tracks)
        self.tracks = {track.kind: track for track in mine}
        self.lease.begin_epoch(mine)
        return self.lease.stream

    def send(self, audio: Iterable[AudioInput] = (), *, later: int = 0) -> None:
        """Audio, with a keyframe before it and every second."""
        assert self.lease is not None
        track = self.tracks.get(Kind.AUDIO)
        next_ms: int | None = None
        for pts, data in audio:
            assert track is not None
            now_ms = (pts + later) * 1000 // track.clock_rate
            if next_ms is None or now_ms >= next_ms:
                self.picture(now_ms)
                next_ms = now_ms + 1000
            self.lease.append(
                Packet(track, pts + later, pts + later, 0, True, data, now_ms * 10**6)
            )

    def picture(self, ms: int) -> None:
        assert self.lease is not None
        track = self.tracks.get(Kind.VIDEO)
        if track is not None:
            self.lease.append(Packet(track, ms * 90, ms * 90, 0, True, b"picture", ms * 10**6))


@asynccontextmanager
async def world(submit: SubmitToThread | None = None) -> AsyncIterator[World]:
    executor = MediaExecutor(workers=2, waiting=16)
    made = World(submit or executor.submit)
    try:
        yield made
        assert (made.driver.failures, made.feeds.failures) == (0, 0)
    finally:
        made.registry.close("the test is over")
        made.feeds.close("the test is over")
        made.renditions.close()
        await executor.close(5)


def audio_of(hold: SourceHold) -> list[Packet]:
    return [one for one in hold.packets.since(0) if not one.is_video]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("encoder", "rate", "codec"),
    [("aac", 48_000, Codec.OPUS), ("aac", 44_100, Codec.OPUS), ("libopus", 48_000, Codec.AAC)],
)
async def test_sound_of_the_other_world_is_in_its_place(encoder, rate, codec):
    track, packets = coded(bursts(4, rate), encoder, rate=rate, start=rate)
    async with world() as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, codec)
        it.send(packets)
        await until(lambda: stream.renditions[codec].packets_in == len(packets))
        made = audio_of(hold)
        assert all(one.track in hold.tracks_of(one.track.epoch) for one in hold.packets.since(0))
        assert [track.codec for track in hold.tracks] == [Codec.H264, codec]
        begins, heard = decoded([Encoded(p.pts, p.duration, p.data) for p in made], codec)
        assert abs(offset_ms(bursts(4), RATE, heard[0], begins)) <= 1
        pictures = [one for one in hold.packets.since(0) if one.is_video]
        assert [one.track for one in pictures] == [stream.tracks[0]] * len(pictures)
        stats = it.renditions.totals()
        assert stats.packets_out == len(made)
        assert stats.busy_ns > 0
        assert stats.dropped == stats.late == stats.missed == 0


async def test_a_stream_that_has_the_codec_is_read_itself():
    track, packets = coded(tone(0.2))
    async with world() as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, Codec.AAC)
        assert hold.packets is stream.packets
        assert hold.tracks is stream.tracks
        assert hold.share is None
        it.send(packets)
        hold.pump()
        hold.release()
        assert len(it.renditions) == len(it.feeds) == 0


async def test_one_rendition_serves_all_lingers_and_goes():
    track, packets = coded(tone(0.5))
    async with world() as it:
        stream = await it.publish(track)
        one, two = (it.renditions.hold(stream, Codec.OPUS) for _ in range(2))
        assert one.packets is two.packets
        it.send(packets)
        await until(lambda: len(audio_of(one)) > 10)
        one.release()
        two.release()
        two.release()
        it.clock.advance(s=29)
        it.feeds.tick(it.clock.now_ns)
        assert len(it.renditions) == 1
        again = it.renditions.hold(stream, Codec.OPUS)
        assert again.packets is one.packets
        again.release()
        it.clock.advance(s=31)
        it.feeds.tick(it.clock.now_ns)
        assert len(it.renditions) == 0
        assert stream.renditions == {}
        assert one.packets.closed == "nobody reads it"
        assert it.renditions.totals().packets_out > 10


async def test_audio_that_joins_a_silent_stream_is_converted():
    track, packets = coded(tone(0.5), "libopus", start=3 * RATE)
    async with world() as it:
        stream = await it.publish(video_track())
        hold = it.renditions.hold(stream, Codec.AAC)
        it.picture(1_000)
        it.begin(video_track(), track)
        it.send(packets)
        await until(lambda: len(audio_of(hold)) > 10)
        assert [one.codec for one in hold.tracks_of(0)] == [Codec.H264]
        assert [one.codec for one in hold.tracks_of(1)] == [Codec.H264, Codec.AAC]
        assert audio_of(hold)[0].pts == packets[0].pts


async def test_it_goes_on_when_the_publisher_comes_back():
    track, packets = coded(tone(1), "libopus")
    async with world() as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, Codec.AAC)
        it.send(packets)
        await until(lambda: stream.renditions[Codec.AAC].packets_in == len(packets))
        assert it.lease is not None
        it.lease.release("gone")
        before = len(audio_of(hold))
        assert await it.publish(video_track(), track) is stream
        it.send(packets, later=5 * RATE)
        await until(lambda: len(audio_of(hold)) >= 2 * before)
        made = audio_of(hold)
        assert {one.track.epoch for one in made[before:]} == {1}
        assert made[before].pts == packets[0].pts + 5 * RATE
        assert all(one.track in hold.tracks_of(one.track.epoch) for one in made)


async def test_what_is_not_done_when_the_publisher_leaves_comes_no_more():
    finished = []

    def slowly(call, done):
        finished.append(partial(done, call(), None))
        return lambda: None

    track, packets = coded(tone(1), "libopus")
    async with world(slowly) as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, Codec.AAC)
        it.send(packets)
        await asyncio.sleep(0)
        assert it.lease is not None
        it.lease.release("gone")
        for tell in finished:
            tell()
        await until(lambda: stream.renditions[Codec.AAC].late > 0)
        assert audio_of(hold) == []
        assert len(hold.packets.since(0)) == 2


async def test_threads_that_have_too_much_to_do_cost_sound_and_no_picture():
    full = True
    executor = MediaExecutor(workers=1, waiting=4)

    def submit(call, done):
        if full:
            raise LimitError("too much to do")
        return executor.submit(call, done)

    track, packets = coded(tone(3), "libopus")
    async with world(submit) as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, Codec.AAC)
        it.send(packets[:60])
        stats = stream.renditions[Codec.AAC]
        await until(lambda: stats.dropped == 60)
        assert len(hold.packets.since(0)) == 2
        full = False
        it.send(packets[60:])
        await until(lambda: stats.packets_in == len(packets) - 60)
        assert audio_of(hold)[0].pts == packets[60].pts
        await executor.close(5)


async def test_a_track_that_no_decoder_takes_is_told_and_its_video_goes_on(caplog):
    broken = Track(Codec.AAC, 48_000, b"\xff\xff\xff\xff", sample_rate=48_000, channels=2)
    _, packets = coded(tone(0.2))
    async with world() as it:
        stream = await it.publish(video_track(), broken)
        hold = it.renditions.hold(stream, Codec.OPUS)
        it.send(packets)
        stats = stream.renditions[Codec.OPUS]
        await until(lambda: stats.packets_in == len(packets))
        assert "cannot be decoded" in stats.fault
        assert [one.is_video for one in hold.packets.since(0)] == [True]
    assert [record.message for record in caplog.records if record.name.startswith("streamserver")]


async def test_the_end_of_the_stream_is_the_end_of_its_renditions():
    track, packets = coded(tone(0.5))
    async with world() as it:
        stream = await it.publish(track)
        hold = it.renditions.hold(stream, Codec.OPUS)
        it.send(packets)
        it.registry.stop(KEY, "stopped by the test")
        hold.pump()
        assert hold.packets.closed == "stopped by the test"
        assert len(it.renditions) == len(it.feeds) == 0


async def test_codecs_go_with_their_rendition_and_wait_for_no_collector():
    track, packets = coded(tone(1, RATE), "libopus", rate=RATE)
    async with world() as it:
        stream = await it.publish(video_track(), track)
        hold = it.renditions.hold(stream, Codec.AAC)
        it.send(packets)
        await until(lambda: len(audio_of(hold)) > 10)
        (coder,) = (weakref.ref(one) for one in gc.get_objects() if type(one) is AudioEncoder)
        hold.release()
        gc.collect()
        gc.disable()
        try:
            it.clock.advance(s=31)
            it.feeds.tick(it.clock.now_ns)
            # FFmpeg keeps a thread for each core beside every coder.
            await until(lambda: coder() is None)
        finally:
            gc.enable()
