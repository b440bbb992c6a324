"""Conversions with a process that is none, and one with a real process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from msgspec import structs

from streamserver.clock import SystemClock
from streamserver.errors import LimitError, UnplayableError
from streamserver.ffmpeg.transcode_wire import (
    Begin,
    Coded,
    Configured,
    Fault,
    KeyframeWanted,
    Picture,
    Record,
    RecordReader,
    Taken,
    to_bytes,
)
from streamserver.hub.driver import Driver
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.sources import OwnPackets
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.names import StreamKey
from streamserver.outputs.transcode_child import Child, open_child
from streamserver.outputs.transcoding import ConvertedHold, VideoRenditions
from tests import media_factory
from tests.fakes import FakeClock, session, video_track

KEY = StreamKey("live", "cam")
CONFIG = media_factory.h264_aac().track(Kind.VIDEO).config


class FakeChild:
    """Answers each access unit with a picture of the same bytes, unless it is told to hang."""

    def __init__(self) -> None:
        self.said: list[Record] = []
        self.hangs = False
        self.alive = True
        self.closes = 0
        self._reader = RecordReader()
        self._run = 0
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes) -> None:
        for record in self._reader.feed(data):
            self.said.append(record)
            if isinstance(record, Begin):
                self._run = record.run
                self.say(Configured(record.run, CONFIG))
            elif isinstance(record, Coded) and not self.hangs:
                self.say(Picture(self._run, record.pts, True, record.data))
                self.say(Taken(0, 5))

    def say(self, record: Record) -> None:
        self._answers.put_nowait(to_bytes(record))

    def nonsense(self) -> None:
        self._answers.put_nowait(b"nonsense!")

    async def read(self) -> bytes:
        return await self._answers.get()

    def kill(self) -> None:
        self.alive = False
        self._answers.put_nowait(b"")

    async def close(self) -> str:
        self.alive = False
        self.closes += 1
        return "it fell"


class World:
    """A hub, a publisher, and conversions."""

    def __init__(self, *, most: int = 2, real: bool = False) -> None:
        self.clock = FakeClock()
        self.driver = Driver(SystemClock())
        self.registry = Registry(self.clock, self.driver.schedule, RegistrySettings(LogBounds()))
        self.children: list[FakeChild] = []
        self.refuses = 0
        self.renditions = VideoRenditions(
            sources=OwnPackets(),
            clock=SystemClock() if real else self.clock,
            schedule=self.driver.schedule,
            bounds=LogBounds(),
            on_error=self.driver.report,
            most=most,
            open_child=open_child if real else self._open,
            # As soon as may be: no test waits for more than it must.
            between=lambda low, high: 1,
        )
        self.registry.add_listener(self.renditions)
        self.ms = 0

    async def _open(self) -> Child:
        if self.refuses:
            self.refuses -= 1
            raise OSError("no more processes")
        self.children.append(FakeChild())
        return self.children[-1]

    async def publish(self, key: StreamKey = KEY, track: Track | None = None) -> Stream:
        self.lease: Lease = await self.registry.claim(key, session(key))
        self.begin(track or video_track())
        self.picture(keyframe=True)
        return self.lease.stream

    def begin(self, track: Track) -> None:
        epoch = self.lease.next_epoch((track,))
        self.track = replace(track, epoch=epoch)
        self.lease.begin_epoch((self.track,))

    def picture(self, *, keyframe: bool = False) -> None:
        self.ms += 40
        self.clock.advance(ms=40)
        ticks = self.ms * 90
        self.lease.append(
            Packet(self.track, ticks, ticks, 0, keyframe, b"picture", self.clock.now_ns)
        )


@asynccontextmanager
async def world(*, most: int = 2, real: bool = False) -> AsyncIterator[World]:
    made = World(most=most, real=real)
    try:
        yield made
        assert made.driver.failures == 0
    finally:
        made.registry.close("the test is over")
        await made.renditions.close()
    assert not any(child.alive for child in made.children)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def pictures(hold: ConvertedHold) -> list[Packet]:
    return hold.packets.since(0)


def running(stream: Stream) -> int:
    assert stream.conversion is not None
    return stream.conversion.running


async def test_one_process_serves_all_lingers_and_goes():
    async with world() as it:
        stream = await it.publish()
        assert running(stream) == 0
        one, two = it.renditions.hold(stream), it.renditions.hold(stream)
        assert one.packets is two.packets
        await until(lambda: len(pictures(one)) == 1)
        it.picture()
        await until(lambda: len(pictures(one)) == 2)
        assert (len(it.children), len(it.renditions), running(stream)) == (1, 1, 1)
        assert [track.codec for track in it.renditions.tracks(stream)] == [Codec.H264]
        assert it.renditions.held_bytes == 2 * len(b"picture")
        one.release()
        two.release()
        it.renditions.tick(it.clock.now_ns)
        assert len(it.renditions) == 1
        it.clock.advance(s=9)
        it.renditions.tick(it.clock.now_ns)
        assert (len(it.renditions), running(stream)) == (0, 0)
        await until(lambda: it.children[0].closes == 1)
        # Who comes then begins anew.
        assert it.renditions.hold(stream).packets is not one.packets
        totals = it.renditions.totals()
        assert (totals.pictures_out, totals.busy_us, totals.restarts) == (2, 10, 0)


async def test_one_that_dies_is_followed_by_another_that_begins_at_the_keyframe(caplog):
    async with world() as it:
        stream = await it.publish()
        hold = it.renditions.hold(stream)
        await until(lambda: len(pictures(hold)) == 1)
        it.children[0].kill()
        await until(lambda: len(it.children) == 2)
        await until(lambda: it.renditions.totals().packets_in == 2)
        assert stream.conversion is not None
        assert stream.conversion.restarts == 1
        it.picture(keyframe=True)
        await until(lambda: pictures(hold)[-1].pts == it.ms * 90)
        assert it.children[0].closes == 1
        assert "it fell" in caplog.text


async def test_one_that_says_nonsense_is_ended(caplog):
    async with world() as it:
        hold = it.renditions.hold(await it.publish())
        await until(lambda: len(pictures(hold)) == 1)
        it.children[0].nonsense()
        await until(lambda: len(it.children) == 2)
        it.children[1].say(KeyframeWanted())
        await until(lambda: len(it.children) == 3)
        assert it.children[0].closes == it.children[1].closes == 1
        assert "a KeyframeWanted came from it" in caplog.text


async def test_one_that_hangs_is_ended():
    async with world() as it:
        stream = await it.publish()
        it.renditions.hold(stream)
        await until(lambda: len(it.children) == 1)
        it.children[0].hangs = True
        it.picture(keyframe=True)
        await until(lambda: len(it.children[0].said) > 2)
        it.clock.advance(s=10)
        it.renditions.tick(it.clock.now_ns)
        alive = [it.children[0].alive]
        it.clock.advance(s=11)
        it.renditions.tick(it.clock.now_ns)
        alive.append(it.children[0].alive)
        assert alive == [True, False]
        await until(lambda: len(it.children) == 2)


async def test_one_that_has_nothing_to_do_does_not_hang():
    async with world() as it:
        hold = it.renditions.hold(await it.publish())
        await until(lambda: len(pictures(hold)) == 1)
        it.clock.advance(s=60)
        it.renditions.tick(it.clock.now_ns)
        assert it.children[0].alive


async def test_a_system_without_room_for_processes_is_asked_again():
    async with world() as it:
        it.refuses = 2
        hold = it.renditions.hold(await it.publish())
        await until(lambda: len(pictures(hold)) == 1)
        assert it.renditions.totals().restarts == 2


async def test_a_new_epoch_goes_through_the_same_process():
    async with world() as it:
        stream = await it.publish()
        hold = it.renditions.hold(stream)
        await until(lambda: len(pictures(hold)) == 1)
        it.begin(replace(video_track(), width=320, height=180))
        it.picture(keyframe=True)
        await until(lambda: len(pictures(hold)) == 2)
        assert [one.track.epoch for one in pictures(hold)] == [0, 1]
        assert sum(isinstance(record, Begin) for record in it.children[0].said) == 2
        assert len(it.children) == 1


async def test_it_ends_with_its_stream():
    async with world() as it:
        hold = it.renditions.hold(await it.publish())
        await until(lambda: len(pictures(hold)) == 1)
        it.registry.stop(KEY, "stopped by the test")
        await until(lambda: len(it.renditions) == 0)
        assert hold.packets.closed == "stopped by the test"
        await until(lambda: it.children[0].closes == 1)


async def test_a_publisher_that_leaves_takes_with_it_what_is_not_done():
    async with world() as it:
        stream = await it.publish()
        hold = it.renditions.hold(stream)
        await until(lambda: len(pictures(hold)) == 1)
        it.children[0].hangs = True
        it.picture(keyframe=True)
        await until(lambda: isinstance(it.children[0].said[-1], Coded))
        it.lease.release("it left")
        begin = it.children[0].said[0]
        assert isinstance(begin, Begin)
        it.children[0].say(Picture(begin.run, it.ms * 90, True, b"late"))
        await until(lambda: it.renditions.totals().late == 1)
        assert len(pictures(hold)) == 1


async def test_more_streams_than_may_be_are_not_converted():
    async with world(most=1) as it:
        one = await it.publish()
        other = await it.publish(StreamKey("live", "other"))
        it.renditions.check(one)
        it.renditions.hold(one)
        it.renditions.check(one)
        with pytest.raises(LimitError, match="converts the video of 1 other"):
            it.renditions.check(other)


async def test_pictures_that_are_too_large_are_not_converted():
    async with world() as it:
        large = replace(video_track(codec=Codec.H265), width=7680, height=4320)
        with pytest.raises(UnplayableError, match="7680x4320 pixels are too many"):
            it.renditions.check(await it.publish(track=large))


async def test_a_fault_is_told_until_the_next_run(caplog):
    async with world() as it:
        stream = await it.publish()
        hold = it.renditions.hold(stream)
        await until(lambda: len(pictures(hold)) == 1)
        it.children[0].say(Fault("the video cannot be decoded: odd"))
        it.children[0].say(Fault("the video cannot be decoded: odd"))
        it.picture()
        await until(lambda: it.renditions.totals().packets_in == 2)
        assert stream.conversion is not None
        assert stream.conversion.fault == "the video cannot be decoded: odd"
        assert caplog.text.count("odd") == 1
        it.begin(video_track())
        it.picture(keyframe=True)
        await until(lambda: it.renditions.totals().packets_in == 3)
        assert stream.conversion.fault == ""


async def test_a_viewer_asks_for_a_keyframe():
    async with world() as it:
        hold = it.renditions.hold(await it.publish())
        await until(lambda: len(pictures(hold)) == 1)
        assert hold.request_keyframe()
        assert isinstance(it.children[0].said[-1], KeyframeWanted)


def _done(it: World, count: int) -> bool:
    return it.renditions.totals().packets_in >= count


async def test_a_real_process_converts_and_is_gone_afterwards():
    source = media_factory.h264_aac(seconds=1.0, b_frames=2, gop=15)
    packets = source.of(Kind.VIDEO)
    async with world(real=True) as it:
        clock = SystemClock()
        it.lease = await it.registry.claim(KEY, session(KEY))
        it.begin(source.track(Kind.VIDEO))
        it.lease.append(
            structs.replace(packets[0], track=it.track, received_ns=clock.monotonic_ns())
        )
        hold = it.renditions.hold(it.lease.stream)
        for packet in packets[1:]:
            # One after the other: a machine that is busy may be late, and show less of them.
            done = it.renditions.totals().packets_in + 1
            it.lease.append(
                structs.replace(packet, track=it.track, received_ns=clock.monotonic_ns())
            )
            await until(partial(_done, it, done))
        totals = it.renditions.totals()
        assert totals.damaged == totals.dropped == totals.restarts == 0
        made = pictures(hold)
        assert len(made) + totals.skipped >= len(packets) - 3
        assert made[0].keyframe
        assert made[0].track.profile == "Constrained Baseline"
        assert [one.pts for one in made] == sorted(one.pts for one in made)
        assert {one.pts for one in made} <= {one.pts for one in packets}
        assert totals.busy_us > 0
    assert len(it.renditions) == 0
