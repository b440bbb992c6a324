"""One fan-out per stream, as long as somebody watches."""

import pytest

from streamserver.errors import LimitError, UnplayableError
from streamserver.hub.feeds import FeedPool
from streamserver.hub.sessions import Action, Protocol, Session
from streamserver.hub.slicer import Slicer
from streamserver.hub.stream import LogBounds, Stream
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from streamserver.names import StreamKey
from streamserver.outputs.webrtc.output import PlainSource, WebRtcOutput
from tests.fakes import FakeClock, Turns, audio_track, packet, session, video_track
from tests.outputs.webrtc.helpers_webrtc import FakePeer, PlainArena, frames, lines

BOUNDS = LogBounds()


class FakeDriver:
    """The parts of the hub's driver that outputs use."""

    def __init__(self, clock: FakeClock) -> None:
        self.turns = Turns()
        self.schedule = self.turns
        self.slicer = Slicer(now_ns=clock.monotonic_ns, schedule=self.turns)

    def later(self, ms: int, function: object) -> object:
        return lambda: None


class Watched:
    """A viewer that control let in."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.session: Session = session(action=Action.PLAY, protocol=Protocol.WHEP)
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


class Releasing(PlainSource):
    """Counts how often it is given back."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.released = 0

    def release(self) -> None:
        self.released += 1


class World:
    """An output and a stream."""

    def __init__(self, converts: "Converts | None" = None) -> None:
        self.clock = FakeClock()
        self.driver = FakeDriver(self.clock)
        self.feeds = FeedPool(self.clock.monotonic_ns, self._failed)
        self.sources: list[Releasing] = []
        self.output = WebRtcOutput(
            driver=self.driver,  # type: ignore[arg-type]
            feeds=self.feeds,
            clock=self.clock,
            bounds=BOUNDS,
            arena=PlainArena(),
            source=self._source,
            converts=converts,
        )
        log: Log[Packet] = Log(
            max_ms=BOUNDS.max_ms, max_bytes=BOUNDS.max_bytes, schedule=self.driver.turns
        )
        self.stream = Stream(
            StreamKey("live", "cam"), "s", 1, log, self.clock.wall, self.clock.now_ns
        )
        self.video = video_track(0, Codec.VP8)
        self.stream.begin_epoch((self.video, audio_track(0, Codec.OPUS)))

    def append(self, ms: int, *, keyframe: bool = False) -> None:
        self.stream.append(packet(self.video, ms, keyframe=keyframe, at_ns=self.clock.now_ns))
        self.driver.turns.run_all()

    def _source(self, stream: Stream) -> Releasing:
        self.sources.append(Releasing(stream))
        return self.sources[-1]

    def _failed(self, error: Exception) -> None:
        raise error


def test_viewers_of_a_stream_share_a_fan_out_and_its_source() -> None:
    world = World()
    world.append(0, keyframe=True)
    peers = [FakePeer(), FakePeer()]
    for peer in peers:
        world.output.watch(Watched(world.stream), peer, lines()).connected()
    world.driver.turns.run_all()
    world.append(40)
    assert [len(frames(peer.video)) for peer in peers] == [2, 2]
    assert world.output.viewers == 2
    assert len(world.sources) == 1
    assert len(world.feeds) == 1
    assert world.output.held_bytes > 0


def test_the_last_viewer_that_leaves_gives_the_source_back() -> None:
    world = World()
    world.append(0, keyframe=True)
    watched = Watched(world.stream)
    told: list[str] = []
    viewer = world.output.watch(watched, FakePeer(), lines(), ended=told.append)
    world.output.tick(world.clock.now_ns)
    assert world.output.viewers == 1, "one that is not connected yet keeps its place"
    viewer.connected()
    viewer.closed("it went")
    viewer.closed("it went")
    world.output.tick(world.clock.now_ns)
    assert (watched.closes, told) == (1, ["it went"])
    assert world.sources[0].released == 1
    world.clock.advance(s=31)
    world.feeds.tick(world.clock.now_ns)
    assert len(world.feeds) == 0


def test_the_end_of_the_stream_closes_those_who_watch() -> None:
    world = World()
    world.append(0, keyframe=True)
    watched, peer = Watched(world.stream), FakePeer()
    world.output.watch(watched, peer, lines()).connected()
    world.stream.packets.close("the publisher stopped")
    world.driver.turns.run_all()
    assert peer.closed == "the publisher stopped"
    assert watched.closes == 1
    assert world.output.viewers == 0


def test_a_stream_that_browsers_cannot_play_is_refused_with_406() -> None:
    world = World()
    world.output.playable(world.stream)
    world.output.playable(world.stream, {Codec.VP8})
    with pytest.raises(UnplayableError, match="VP8, which this player does not offer") as refusal:
        world.output.playable(world.stream, {Codec.H264, Codec.OPUS})
    assert refusal.value.http_status == 406


class Converts:
    """Makes no picture, but says what it was asked for."""

    def __init__(self) -> None:
        self.log: Log[Packet] = Log(max_ms=1000, max_bytes=10_000, schedule=Turns())
        self.asked: list[str] = []
        self.full = False

    @property
    def packets(self) -> Log[Packet]:
        return self.log

    def check(self, stream: Stream) -> None:
        if self.full:
            raise LimitError("no more")

    def hold(self, stream: Stream) -> "Converts":
        self.asked.append("hold")
        return self

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        return (video_track(codec=Codec.H264),)

    def request_keyframe(self) -> bool:
        self.asked.append("keyframe")
        return True

    def release(self) -> None:
        self.asked.append("release")


def test_where_it_is_configured_such_a_stream_is_converted_for_that_player_only() -> None:
    converts = Converts()
    world = World(converts)
    world.append(0, keyframe=True)
    plain = world.output.playable(world.stream, {Codec.VP8})
    assert (plain.tracks, plain.converted) == (world.stream.tracks, False)
    form = world.output.playable(world.stream, {Codec.H264})
    assert form.converted
    assert [track.codec for track in form.tracks] == [Codec.H264]
    with pytest.raises(UnplayableError):
        world.output.playable(world.stream, {Codec.H265})

    peers = [FakePeer(), FakePeer()]
    viewers = [
        world.output.watch(Watched(world.stream), peer, lines(), one)
        for peer, one in zip(peers, (plain, form), strict=True)
    ]
    assert converts.asked == ["hold"]
    assert len(world.sources) == 1
    for viewer in viewers:
        viewer.connected()
    # The conversion has nothing yet, and can be asked.
    assert converts.asked == ["hold", "keyframe"]
    world.append(40)
    assert [len(frames(peer.video)) for peer in peers] == [2, 0]
    for viewer in viewers:
        viewer.closed("it went")
    world.output.tick(world.clock.now_ns)
    assert converts.asked == ["hold", "keyframe", "release"]


def test_too_many_conversions_refuse_the_next() -> None:
    converts = Converts()
    converts.full = True
    world = World(converts)
    with pytest.raises(LimitError):
        world.output.playable(world.stream, {Codec.H264})
    world.output.playable(world.stream, {Codec.VP8})
