"""A slate fills the log while the publisher is away, in simulated time."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.slate_request import SlateRequest
from streamserver.ffmpeg.testsource_frames import Record, RecordKind
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds, Stream, StreamState
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.ingest.slate import Slate, SlateFeed, request_for
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.media.units import AccessUnit
from streamserver.names import StreamKey
from tests import media_factory
from tests.fakes import FakeClock, Turns, audio_track, session, video_track

KEY = StreamKey("live", "cam")


def a_slate(*, video: bool = True, audio: bool = True) -> Slate:
    """Two pictures at 25 a second, and silence."""
    tracks = [video_track()] * video + [audio_track()] * audio
    pictures = (AccessUnit(b"key", True), AccessUnit(b"delta", False))
    return Slate(
        tracks=tuple(tracks),
        pictures=pictures if video else (),
        frame_rate=Fraction(25),
        silence=b"still" if audio else b"",
        silence_ticks=1024,
    )


class World:
    """One stream whose publisher sends in real time on a fake clock."""

    def __init__(self, clip: media_factory.Clip) -> None:
        self.clock = FakeClock()
        bounds = LogBounds(max_ms=600_000, max_bytes=1 << 30)
        self.registry = Registry(self.clock, Turns(), RegistrySettings(bounds=bounds))
        self.clip = clip

    async def publish(self) -> Callable[[], None]:
        """Sends the clip; answers what ends the publisher."""
        lease = await self.registry.claim(KEY, session())
        ingest = RtmpIngest(lease)
        begin = self.clock.now_ns
        for tag in media_factory.tags(self.clip.flv):
            due_ns = begin + tag.timestamp_ms * 1_000_000
            self.clock.advance(ms=max(0, (due_ns - self.clock.now_ns) // 1_000_000))
            ingest.media((tag.message(),), self.clock.now_ns)
        return lambda: lease.release("gone")

    @property
    def stream(self) -> Stream:
        stream = self.registry.get(KEY)
        assert stream is not None
        return stream

    def of_epoch(self, epoch: int, kind: Kind) -> list[Packet]:
        packets = self.stream.packets.since(0)
        return [one for one in packets if one.track.epoch == epoch and one.track.kind is kind]

    def run(self, feed: SlateFeed, ms: int) -> None:
        for _ in range(0, ms, 40):
            self.clock.advance(ms=40)
            assert feed.pump(self.clock.now_ns)


@pytest.fixture
def world() -> World:
    return World(media_factory.h264_aac())


async def test_the_slate_goes_on_where_the_publisher_ended_and_the_publisher_after_it(
    world: World,
) -> None:
    leave = await world.publish()
    leave()
    world.clock.advance(ms=500)
    feed = SlateFeed(world.stream, a_slate(), world.clock.now_ns)
    world.run(feed, 4_000)
    (await world.publish())()
    assert world.stream.state is StreamState.INTERRUPTED
    assert not feed.pump(world.clock.now_ns)
    assert world.stream.epoch == 2
    for kind, step_ms in ((Kind.VIDEO, 40), (Kind.AUDIO, 22)):
        before, slate, after = (world.of_epoch(epoch, kind) for epoch in range(3))
        times = [one.dts_ms for one in (*before, *slate, *after)]
        assert all(b >= a for a, b in pairwise(times))
        assert slate[0].dts_ms - before[-1].dts_ms < 100, "no hole before it"
        assert after[0].dts_ms - slate[-1].dts_ms < 150, "none after it"
        assert {b.dts_ms - a.dts_ms for a, b in pairwise(slate)} <= {step_ms, step_ms - 1}
        assert slate[-1].dts_ms - slate[0].dts_ms == pytest.approx(4_500, abs=100)


async def test_it_repeats_its_pictures_and_begins_with_a_keyframe(world: World) -> None:
    (await world.publish())()
    feed = SlateFeed(world.stream, a_slate(), world.clock.now_ns)
    world.run(feed, 400)
    pictures = world.of_epoch(1, Kind.VIDEO)
    assert [one.data for one in pictures[:4]] == [b"key", b"delta", b"key", b"delta"]
    log = world.stream.packets
    newest = log.newest_keyframe
    assert newest is not None
    assert (first := log.get(newest)) is not None
    assert first.data == b"key"


async def test_it_counts_for_no_publisher(world: World) -> None:
    (await world.publish())()
    stream = world.stream
    before = (stream.last_packet_ns, stream.received_bytes, stream.keyframe_interval_ms)
    world.run(SlateFeed(stream, a_slate(), world.clock.now_ns), 1_000)
    assert before == (stream.last_packet_ns, stream.received_bytes, stream.keyframe_interval_ms)
    assert stream.state is StreamState.INTERRUPTED
    assert stream.health_notes == {}


async def test_the_first_frame_of_a_publisher_ends_it_though_nothing_shows_yet(
    world: World,
) -> None:
    (await world.publish())()
    feed = SlateFeed(world.stream, a_slate(), world.clock.now_ns)
    world.run(feed, 200)
    lease = await world.registry.claim(KEY, session())
    ingest = RtmpIngest(lease)
    assert feed.pump(world.clock.now_ns), "one that says nothing ends nothing"
    for tag in list(media_factory.tags(world.clip.flv))[:3]:
        ingest.media((tag.message(),), world.clock.now_ns)
    assert not feed.pump(world.clock.now_ns)


async def test_a_process_that_stood_still_leaves_time_out(world: World) -> None:
    (await world.publish())()
    feed = SlateFeed(world.stream, a_slate(), world.clock.now_ns)
    world.run(feed, 200)
    count = len(world.stream.packets.since(0))
    world.clock.advance(s=100)
    assert feed.pump(world.clock.now_ns)
    assert len(world.stream.packets.since(0)) - count < 10
    world.run(feed, 400)
    times = [one.dts_ms for one in world.of_epoch(1, Kind.VIDEO)]
    assert times[-1] - times[0] == pytest.approx(100_600, abs=200)
    steps = sorted(b - a for a, b in pairwise(times))
    assert steps[-2] == 40


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
async def test_a_stream_of_one_kind_gets_one(video: bool, audio: bool) -> None:
    world = World(media_factory.video_only() if video else media_factory.audio_only())
    lease_end = await world.publish()
    if world.registry.get(KEY) is None:
        pytest.fail("the stream never began")
    lease_end()
    feed = SlateFeed(world.stream, a_slate(video=video, audio=audio), world.clock.now_ns)
    world.run(feed, 400)
    kind = Kind.VIDEO if video else Kind.AUDIO
    assert len(world.of_epoch(1, kind)) >= 10
    assert {track.kind for track in world.stream.tracks} == {kind}


def test_a_request_follows_the_tracks() -> None:
    video, audio = media_factory.h264_aac().tracks
    request = request_for("x.png", (video, audio))
    assert request is not None
    assert (request.video, request.width, request.height) == ("h264", 320, 180)
    assert (request.audio, request.sample_rate, request.channels) == ("aac", 48_000, 2)
    assert request.frame_rate == video.frame_rate
    hevc = media_factory.hevc_aac().tracks
    assert request_for("x.png", hevc) is None
    assert request_for("x.png", ()) is None


@pytest.mark.parametrize(
    ("track", "profile"),
    [("Constrained Baseline", "baseline"), ("Main", "main"), ("High 4:2:2", "high")],
)
def test_the_profile_is_one_that_decoders_of_the_stream_know(track: str, profile: str) -> None:
    one = Track(Codec.H264, 90_000, b"", profile=track, width=641, height=361)
    request = request_for("x.png", (one,))
    assert request is not None
    assert (request.profile, request.width, request.height) == (profile, 640, 360)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [Record(RecordKind.VIDEO, b"\0\0\0\1\x65", 0, 0, True)],
        [Record(RecordKind.AUDIO_CONFIG, b"\x11\x90")],
    ],
)
def test_what_is_no_slate_is_an_error(records: list[Record]) -> None:
    request = SlateRequest(path="", video="h264", width=320, height=180, audio="aac")
    with pytest.raises(RemoteProtocolError):
        Slate.of_records(request, records)
