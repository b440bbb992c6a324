import pytest

from streamserver.feeds.rendition import AudioBatch, AudioRendition, Coded, converted, may_convert
from streamserver.hub.stream import LogBounds, RenditionStats
from streamserver.log import Log
from streamserver.media.aac import AacConfig
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from tests.fakes import Turns, audio_track, packet, video_track


class World:
    """A log with tracks by epoch, and its rendition."""

    def __init__(
        self, codec: Codec = Codec.AAC, theirs: Codec = Codec.OPUS, *, max_ms: int = 20_000
    ) -> None:
        self.turns = Turns()
        self.source: Log[Packet] = Log(max_ms=max_ms, max_bytes=1 << 20, schedule=self.turns)
        self.epochs: dict[int, tuple[Track, ...]] = {}
        self.codec, self.theirs = codec, theirs
        self.works = 0
        self.begin(0)
        self.rendition = self.make()

    def make(self) -> AudioRendition:
        made = AudioRendition(
            self.source,
            lambda epoch: self.epochs.get(epoch, self.epochs[max(self.epochs)]),
            self.codec,
            LogBounds(20_000, 1 << 20),
            self.turns,
            RenditionStats(),
        )
        made.on_work = self._work
        return made

    def begin(self, epoch: int, *kinds: Kind) -> None:
        kinds = kinds or (Kind.VIDEO, Kind.AUDIO)
        tracks = {Kind.VIDEO: video_track(epoch), Kind.AUDIO: audio_track(epoch, self.theirs)}
        self.epochs[epoch] = tuple(tracks[kind] for kind in kinds)

    def send(self, kind: Kind, ms: int, epoch: int = 0, *, keyframe: bool = True) -> Packet:
        track = next(one for one in self.epochs[epoch] if one.kind is kind)
        made = packet(track, ms, keyframe=keyframe, at_ns=ms * 1_000_000)
        entry = keyframe and (made.is_video or len(self.epochs[epoch]) == 1)
        self.source.append(made, size=len(made.data), at_ms=ms, keyframe=entry)
        return made

    def out(self) -> list[Packet]:
        self.rendition.pump()
        return self.rendition.log.since(0)

    def take(self) -> AudioBatch:
        batch = self.rendition.take()
        assert batch is not None
        return batch

    def _work(self) -> None:
        self.works += 1


def coded(ms: int) -> Coded:
    return Coded(ms * 48, 1024, b"new")


def test_video_passes_at_once_as_it_is_and_audio_when_it_is_done():
    world = World()
    first = world.send(Kind.VIDEO, 1000)
    sound = world.send(Kind.AUDIO, 1000)
    second = world.send(Kind.VIDEO, 1033, keyframe=False)
    assert [one is two for one, two in zip(world.out(), (first, second), strict=True)]
    assert world.works == 1
    batch = world.take()
    assert batch.packets == (sound,)
    assert batch.track is sound.track
    world.rendition.done(batch, [coded(1000)])
    made = world.out()[-1]
    assert (made.pts, made.dts, made.duration, made.data) == (48_000, 48_000, 1024, b"new")
    assert made.received_ns == sound.received_ns
    assert made.keyframe
    tracks = world.rendition.tracks_of(0)
    assert tracks[0] is first.track
    assert tracks[1] is made.track
    assert (made.track.codec, made.track.epoch, made.track.clock_rate) == (Codec.AAC, 0, 48_000)
    assert AacConfig.parse(made.track.config).channels == 2
    assert world.rendition.log.newest_keyframe == 0


def test_without_video_every_packet_is_an_entry():
    world = World()
    world.begin(0, Kind.AUDIO)
    world.rendition = world.make()
    world.send(Kind.AUDIO, 1000)
    world.out()
    world.rendition.done(world.take(), [coded(1000), coded(1022)])
    assert world.rendition.log.newest_keyframe == 1


def test_audio_that_needs_nothing_passes_too():
    world = World(Codec.OPUS, Codec.OPUS)
    world.send(Kind.VIDEO, 1000)
    sound = world.send(Kind.AUDIO, 1000)
    assert world.out()[1] is sound
    assert world.rendition.take() is None
    assert world.rendition.tracks_of(0)[1] is sound.track


def test_audio_that_joins_later_is_converted_from_its_epoch_on():
    world = World()
    world.begin(0, Kind.VIDEO)
    world.rendition = world.make()
    world.send(Kind.VIDEO, 1000)
    world.begin(1)
    world.send(Kind.VIDEO, 2000, epoch=1)
    world.send(Kind.AUDIO, 2000, epoch=1)
    assert [one.track.epoch for one in world.out()] == [0, 1]
    world.rendition.done(world.take(), [coded(2000)])
    assert world.out()[-1].track.codec is Codec.AAC
    assert world.rendition.stats.source is Codec.OPUS


def test_what_is_not_done_when_its_epoch_is_over_is_dropped_so_that_nothing_waits():
    world = World()
    world.send(Kind.VIDEO, 1000)
    world.send(Kind.AUDIO, 1000)
    world.out()
    late = world.take()
    world.send(Kind.AUDIO, 1020)
    world.begin(1)
    world.send(Kind.VIDEO, 2000, epoch=1)
    world.send(Kind.AUDIO, 2000, epoch=1)
    world.out()
    world.rendition.done(late, [coded(1000)])
    assert [one.track.epoch for one in world.out()] == [0, 1]
    assert world.rendition.stats.late == 2
    batch = world.take()
    assert (batch.run, batch.track) != (late.run, late.track)
    assert [one.track.epoch for one in batch.packets] == [1]
    world.rendition.done(batch, [coded(2000)])
    assert world.out()[-1].track is world.rendition.tracks_of(1)[1]


def test_a_publisher_that_leaves_takes_with_it_what_is_not_done():
    world = World()
    world.send(Kind.VIDEO, 1000)
    world.send(Kind.AUDIO, 1000)
    world.out()
    batch = world.take()
    world.rendition.cut()
    world.rendition.done(batch, [coded(1000)])
    assert len(world.out()) == 1
    assert world.rendition.stats.late == 1


def test_one_batch_at_a_time_and_no_batch_is_long():
    world = World()
    world.send(Kind.VIDEO, 1000)
    for index in range(50):
        world.send(Kind.AUDIO, 1000 + 20 * index)
    world.out()
    batch = world.take()
    assert len(batch.packets) == 32
    assert world.rendition.take() is None
    world.rendition.failed(batch)
    assert world.rendition.stats.dropped == 32
    assert len(world.take().packets) == 18


@pytest.mark.parametrize(("count", "step_ms"), [(2_000, 0), (300, 100)])
def test_what_waits_is_bounded_and_the_oldest_goes_first(count, step_ms):
    world = World(max_ms=60_000)
    world.send(Kind.VIDEO, 1000)
    for index in range(count):
        world.send(Kind.AUDIO, 1000 + step_ms * index)
    world.out()
    waiting: list[Packet] = []
    while (batch := world.rendition.take()) is not None:
        waiting += batch.packets
        world.rendition.done(batch, [])
    stats = world.rendition.stats
    assert stats.dropped == count - len(waiting) > 0
    assert len(waiting) <= 800
    assert waiting[-1].dts_ms - waiting[0].dts_ms <= 12_000
    assert waiting[-1] is world.source.get(world.source.end - 1)


def test_what_cannot_be_done_in_time_is_left_out():
    world = World()
    world.send(Kind.VIDEO, 1000)
    for index in range(100):
        world.send(Kind.AUDIO, 1000 + 20 * index)
        world.out()
    assert world.rendition.stats.dropped == 100 - 26
    assert len(world.take().packets) == 26


def test_time_never_runs_backwards_whatever_comes_back():
    world = World()
    world.send(Kind.VIDEO, 1000)
    world.send(Kind.AUDIO, 1000)
    world.out()
    world.rendition.done(world.take(), [coded(1000), coded(990), coded(1022)])
    assert [one.pts for one in world.out()[1:]] == [48_000, 1022 * 48]


def test_it_begins_at_the_newest_keyframe_and_goes_on_there_when_it_lost_some():
    world = World(max_ms=1_000)
    for index in range(60):
        world.send(Kind.VIDEO, 1000 + 40 * index, keyframe=index % 20 == 0)
    rendition = world.rendition = world.make()
    assert world.out()[0].dts_ms == 1000 + 40 * 40
    for index in range(60, 120):
        world.send(Kind.VIDEO, 1000 + 40 * index, keyframe=index % 20 == 0)
    rendition.pump()
    assert rendition.stats.missed == 40
    assert rendition.log.since(0)[-20].keyframe


def test_the_end_closes_its_log_and_what_comes_back_later_is_ignored():
    world = World()
    closed = []
    world.rendition.on_close = lambda: closed.append(True)
    world.send(Kind.VIDEO, 1000)
    world.send(Kind.AUDIO, 1000)
    world.out()
    batch = world.take()
    world.rendition.close("over")
    world.rendition.close("again")
    world.rendition.done(batch, [coded(1000)])
    assert world.rendition.log.closed == "over"
    assert world.rendition.log.end == 1
    assert closed == [True]


def test_which_streams_have_something_to_convert():
    video, aac, opus, mp3 = (
        video_track(), audio_track(), audio_track(codec=Codec.OPUS), audio_track(codec=Codec.MP3)
    )  # fmt: skip
    assert may_convert((video, opus), Codec.AAC)
    assert not may_convert((video, aac), Codec.AAC)
    assert not may_convert((video, mp3), Codec.AAC)
    assert may_convert((video, mp3), Codec.OPUS)
    assert may_convert((video, aac), Codec.OPUS)
    assert not may_convert((opus,), Codec.OPUS)
    # Audio may come later.
    assert may_convert((video,), Codec.AAC)
    assert converted((video, aac), Codec.AAC) == (video, aac)
    assert converted((video, mp3), Codec.OPUS)[1].codec is Codec.OPUS
