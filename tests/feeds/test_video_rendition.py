"""The video rendition without a process: a test takes and brings back itself."""

from dataclasses import replace
from fractions import Fraction

import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.feeds.video_rendition import VideoRendition, video_converted
from streamserver.ffmpeg.transcode_wire import (
    Begin,
    Coded,
    Configured,
    KeyframeWanted,
    Picture,
    Taken,
)
from streamserver.hub.stream import LogBounds, VideoRenditionStats
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from tests import media_factory
from tests.fakes import FakeClock, Turns, audio_track, packet, video_track

BOUNDS = LogBounds()
MS = 1_000_000
CONFIG = media_factory.h264_aac().track(Kind.VIDEO).config
DONE = Taken(0, 10)


class World:
    """A source, and a rendition of it with somebody who takes."""

    def __init__(self, codec: Codec = Codec.H264, *, started: bool = True) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.source: Log[Packet] = Log(
            max_ms=BOUNDS.max_ms, max_bytes=BOUNDS.max_bytes, schedule=self.turns
        )
        self.epochs: dict[int, tuple[Track, ...]] = {}
        self.codec = codec
        self.ms = 0
        self.begin(0)
        self.stats = VideoRenditionStats()
        self.works = 0
        self.rendition = VideoRendition(
            self.source, lambda epoch: self.epochs[epoch], BOUNDS, self.turns, self.stats
        )
        self.rendition.on_work = self._work
        if started:
            self.rendition.start(self.clock.now_ns)

    def _work(self) -> None:
        self.works += 1

    def begin(self, epoch: int) -> None:
        self.video, self.audio = video_track(epoch, self.codec), audio_track(epoch, Codec.OPUS)
        self.epochs[epoch] = (self.video, self.audio)

    def pictures(self, count: int, *, keyframe: bool = True, step_ms: int = 40) -> None:
        """A group of pictures that arrives as it is made."""
        for number in range(count):
            one = packet(
                self.video, self.ms, keyframe=keyframe and not number, at_ns=self.clock.now_ns
            )
            self.source.append(one, size=100, at_ms=self.ms, keyframe=one.keyframe)
            self.ms += step_ms
            self.clock.advance(ms=step_ms)
        self.rendition.pump()

    def sound(self, *, behind_ms: int = 0) -> None:
        one = packet(self.audio, self.ms - behind_ms, at_ns=self.clock.now_ns)
        self.source.append(one, size=100, at_ms=self.ms - behind_ms)
        self.rendition.pump()

    def take(self) -> Begin | Coded | KeyframeWanted | None:
        return self.rendition.take(self.clock.now_ns)

    def begun(self) -> Begin:
        record = self.take()
        assert isinstance(record, Begin)
        return record

    def coded(self) -> Coded:
        record = self.take()
        assert isinstance(record, Coded)
        return record

    def drain(self) -> list[Coded]:
        """Everything that can be taken, done with at once."""
        found = []
        while (record := self.take()) is not None:
            if isinstance(record, Coded):
                found.append(record)
                self.rendition.taken(DONE)
        return found

    def made(self) -> list[Packet]:
        return [one for one in self.rendition.log.since(0) if one.is_video]


def test_pictures_are_taken_and_come_back_in_their_place() -> None:
    world = World()
    world.pictures(2)
    begin = world.begun()
    assert (begin.codec, begin.config) == ("h264", b"config")
    taken = [world.coded() for _ in range(2)]
    assert world.take() is None
    assert [one.pts for one in taken] == [0, 3600]
    assert not any(one.late for one in taken)
    world.rendition.configured(Configured(begin.run, CONFIG))
    for one in taken:
        world.rendition.picture(Picture(begin.run, one.pts, one.pts == 0, b"picture"))
        world.rendition.taken(DONE)
    made = world.made()
    assert [(one.pts, one.dts, one.keyframe) for one in made] == [
        (0, 0, True), (3600, 3600, False),
    ]  # fmt: skip
    source = world.source.since(0)
    assert [one.received_ns for one in made] == [one.received_ns for one in source]
    assert all(one.track in world.rendition.tracks_of(0) for one in made)
    assert made[0].track.config == CONFIG
    assert world.rendition.log.newest_keyframe == 0
    assert (world.stats.packets_in, world.stats.pictures_out, world.stats.busy_us) == (2, 2, 20)


def test_sound_passes_at_once_and_is_the_same() -> None:
    world = World(started=False)
    world.sound()
    assert world.rendition.log.since(0) == world.source.since(0)
    assert world.rendition.tracks_of(0)[1] is world.audio


def test_sound_that_another_conversion_catches_up_with_is_left_out_at_the_beginning() -> None:
    world = World()
    world.pictures(50)
    for behind_ms in (2000, 1000, 400):
        world.sound(behind_ms=behind_ms)
    assert world.rendition.log.end == 0
    world.sound(behind_ms=200)
    world.sound(behind_ms=500)
    assert world.rendition.log.end == 2


def test_sound_that_is_always_late_is_heard_after_a_while() -> None:
    world = World()
    for number in range(60):
        world.pictures(1, keyframe=not number)
        world.sound(behind_ms=500)
    assert 0 < world.rendition.log.end < 20


def test_what_was_late_is_not_shown_before_it_has_caught_up() -> None:
    world = World()
    world.pictures(5)
    world.begun()
    world.clock.advance(ms=300)
    assert [world.coded().late for _ in range(2)] == [True, True]
    world.pictures(5, keyframe=False)
    taken = [world.coded().late for _ in range(6)]
    assert taken == [True, True, True, True, True, True]
    for _ in range(8):
        world.rendition.taken(DONE)
    assert [world.coded().late for _ in range(2)] == [False, False]
    world.pictures(4, keyframe=False)
    world.clock.advance(ms=200)
    assert [world.coded().late for _ in range(2)] == [False, False]


def test_before_the_first_picture_tracks_are_what_is_expected() -> None:
    odd = replace(video_track(codec=Codec.H265), bit_depth=10, chroma_format="4:2:2")
    video, audio = video_converted((odd, sound := audio_track()))
    assert audio is sound
    assert (video.codec, video.bit_depth, video.chroma_format) == (Codec.H264, 8, "4:2:0")
    assert video.config[1:4].hex() == "42e01f"
    assert (video.width, video.height) == (640, 360)
    world = World()
    assert world.rendition.tracks_of(0)[0] is world.rendition.tracks_of(0)[0]


def test_only_a_few_are_given_ahead() -> None:
    world = World()
    world.pictures(30)
    world.begun()
    count = 0
    while world.take() is not None:
        count += 1
    assert 1 < count < 20
    assert world.rendition.ahead == count
    world.rendition.taken(DONE)
    assert world.coded().pts == count * 3600
    assert world.take() is None


def test_one_that_is_larger_than_what_may_be_ahead_is_taken_alone() -> None:
    world = World()
    for number in range(3):
        big = packet(world.video, number * 40, keyframe=not number, size=4 * 1024 * 1024)
        world.source.append(big, size=len(big.data), at_ms=number * 40, keyframe=big.keyframe)
    world.rendition.pump()
    world.begun()
    world.coded()
    assert world.take() is None
    world.rendition.taken(DONE)
    world.coded()


def test_who_begins_late_decodes_what_came_before_without_showing_it() -> None:
    world = World(started=False)
    world.pictures(100)
    assert world.take() is None
    assert world.stats.dropped == 0
    world.rendition.start(world.clock.now_ns)
    taken = world.drain()
    assert [one.pts for one in taken] == [number * 3600 for number in range(100)]
    assert taken[0].late
    assert not taken[-1].late
    shown = sum(not one.late for one in taken)
    assert 1 <= shown <= 3
    assert world.stats.skipped == 100 - shown
    assert world.stats.behind == 0


def test_a_process_that_follows_another_begins_with_the_newest_keyframe() -> None:
    world = World()
    world.pictures(10)
    first = world.begun()
    world.coded()
    world.rendition.stop()
    assert world.take() is None
    assert (world.rendition.ahead, world.stats.dropped) == (0, 10)
    world.pictures(5)
    world.rendition.start(world.clock.now_ns)
    second = world.begun()
    assert second.run > first.run
    assert [one.pts for one in world.drain()] == [number * 3600 for number in range(10, 15)]
    # What the one before may still have said is of a run that is over.
    world.rendition.configured(Configured(first.run, b"nonsense"))
    world.rendition.picture(Picture(first.run, 0, True, b"old"))
    assert world.made() == []
    assert world.stats.late == 1


def test_one_that_is_too_slow_goes_on_at_a_keyframe() -> None:
    world = World()
    world.pictures(50)
    world.begun()
    world.coded()
    world.pictures(60)
    assert world.stats.dropped == world.stats.behind == 49
    assert world.coded().pts == 50 * 3600
    # With no keyframe among what waits, all is left out up to the next.
    world.pictures(100, keyframe=False)
    assert world.take() is None
    world.pictures(5, keyframe=False)
    assert world.take() is None
    world.pictures(1)
    assert world.coded().pts == 215 * 3600


def test_what_waits_is_bounded_in_bytes() -> None:
    world = World()
    size = 3 * 1024 * 1024
    for number in range(40):
        # All in one moment: none has waited long.
        one = packet(world.video, number, keyframe=not number, size=size)
        world.source.append(one, size=1, at_ms=number, keyframe=one.keyframe)
        world.rendition.pump()
    assert world.stats.dropped == 40
    assert world.take() is None


def test_a_new_epoch_is_a_new_run_and_the_old_one_comes_no_more() -> None:
    world = World()
    world.pictures(3)
    old = world.begun()
    world.rendition.configured(Configured(old.run, CONFIG))
    taken = world.coded()
    world.begin(1)
    world.pictures(2)
    new = world.begun()
    assert new.run > old.run
    assert world.coded().pts == 3 * 3600
    world.rendition.picture(Picture(old.run, taken.pts, True, b"old"))
    world.rendition.configured(Configured(new.run, CONFIG))
    world.rendition.picture(Picture(new.run, 3 * 3600, True, b"new"))
    (made,) = world.made()
    assert made.data == b"new"
    assert made.track.epoch == 1
    assert made.track in world.rendition.tracks_of(1)


def test_a_publisher_that_left_leaves_no_picture_behind() -> None:
    world = World()
    world.pictures(3)
    begin = world.begun()
    world.coded()
    world.rendition.configured(Configured(begin.run, CONFIG))
    world.rendition.cut()
    world.rendition.picture(Picture(begin.run, 0, True, b"late"))
    assert world.take() is None
    assert world.made() == []
    assert (world.stats.dropped, world.stats.late) == (2, 1)


def test_the_same_configuration_is_the_same_track_and_another_is_not() -> None:
    world = World()
    world.pictures(2)
    run = world.begun().run
    other = media_factory.read_flv(media_factory.encode(audio=None, seconds=0.2, size=(64, 64)))
    tracks = []
    for config in (CONFIG, CONFIG, other.track(Kind.VIDEO).config):
        world.rendition.configured(Configured(run, config))
        tracks.append(world.rendition.tracks_of(0)[0])
    assert tracks[0] is tracks[1]
    assert (tracks[2].width, tracks[2].height) == (64, 64)
    with pytest.raises(RemoteProtocolError):
        world.rendition.configured(Configured(run, b"nonsense"))


def test_a_keyframe_that_a_viewer_wants_is_asked_for_once() -> None:
    world = World()
    world.rendition.request_keyframe()
    assert world.works == 1
    world.pictures(2)
    world.begun()
    world.coded()
    # The first is one in any case.
    assert isinstance(world.take(), Coded)
    world.rendition.request_keyframe()
    world.rendition.request_keyframe()
    assert isinstance(world.take(), KeyframeWanted)
    assert world.take() is None


@pytest.mark.parametrize(
    ("size", "codec", "bit_rate"),
    [
        (10_000, Codec.H264, 2_500_000),
        (10_000, Codec.H265, 4_000_000),
        (100_000, Codec.H264, 8_000_000),
        (100, Codec.H264, 300_000),
    ],
)
def test_rates_are_near_the_source(size: int, codec: Codec, bit_rate: int) -> None:
    world = World(codec)
    for number in range(25):
        one = packet(world.video, number * 40, keyframe=not number, size=size)
        world.source.append(one, size=size, at_ms=number * 40, keyframe=one.keyframe)
    world.rendition.pump()
    begin = world.begun()
    assert (begin.frame_rate, begin.bit_rate) == (25, bit_rate)


def test_rates_of_a_stream_that_has_just_begun_are_guessed() -> None:
    world = World()
    world.epochs[0] = (replace(world.video, frame_rate=Fraction(60_000, 1001)), world.audio)
    world.video = world.epochs[0][0]
    world.pictures(1)
    begin = world.begun()
    assert (begin.frame_rate, begin.bit_rate) == (59, 640 * 360 * 2 * 5 // 4)


def test_packets_that_left_the_log_unread_are_counted() -> None:
    world = World()
    for _ in range(20):
        for number in range(25):
            one = packet(world.video, world.ms, keyframe=not number)
            world.source.append(one, size=100, at_ms=world.ms, keyframe=one.keyframe)
            world.ms += 40
    world.rendition.pump()
    assert world.stats.missed > 400
    world.begun()
    assert world.coded().pts == (world.ms - 1000) * 90


def test_a_closed_rendition_says_so_once() -> None:
    world = World()
    closes = []
    world.rendition.on_close = lambda: closes.append(1)
    world.pictures(2)
    world.rendition.close("over")
    world.rendition.close("again")
    world.sound()
    assert (world.rendition.log.closed, closes) == ("over", [1])
    assert world.take() is None
