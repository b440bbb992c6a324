from typing import Any

import pytest

from streamserver.config import Takeover
from streamserver.errors import LimitError, LocalProtocolError, ShuttingDownError, StreamBusyError
from streamserver.hub.registry import Lease, Registry, RegistrySettings, StreamListener
from streamserver.hub.stream import LogBounds, Stream, StreamState
from streamserver.media.track import Codec, Track
from streamserver.names import StreamKey
from tests.fakes import FakeClock, Turns, audio_track, packet, session, video_track

KEY = StreamKey("live", "cam")


class Diary(StreamListener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def stream_started(self, stream: Stream) -> None:
        self.lines.append("started")

    def stream_interrupted(self, stream: Stream) -> None:
        self.lines.append("interrupted")

    def stream_resumed(self, stream: Stream) -> None:
        self.lines.append("resumed")

    def stream_ended(self, stream: Stream, reason: str) -> None:
        self.lines.append(f"ended: {reason}")


class Setup:
    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.diary = Diary()
        self.registry = Registry(
            self.clock, Turns(), RegistrySettings(bounds=LogBounds(), **settings)
        )
        self.registry.add_listener(self.diary)

    def send(self, lease: Lease, *, video: Codec = Codec.H264, audio: bool = True) -> None:
        """Begins an epoch and appends a keyframe."""

        def tracks(epoch: int) -> tuple[Track, ...]:
            both = (video_track(epoch, video), audio_track(epoch))
            return both if audio else both[:1]

        epoch = lease.next_epoch(tracks(0))
        declared = tracks(epoch)
        lease.begin_epoch(declared)
        lease.append(packet(declared[0], 0, at_ns=self.clock.now_ns))


async def test_a_stream_is_invisible_until_it_has_tracks():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    assert setup.registry.get(KEY) is None
    setup.send(lease)
    stream = setup.registry.get(KEY)
    assert stream is lease.stream
    assert stream.state is StreamState.LIVE
    assert setup.diary.lines == ["started"]


async def test_a_second_publisher_is_refused_while_the_first_sends():
    setup = Setup()
    setup.send(await setup.registry.claim(KEY, session()))
    setup.clock.advance(ms=1900)
    with pytest.raises(StreamBusyError, match="published already"):
        await setup.registry.claim(KEY, session(ident="s2"))


async def test_a_silent_publisher_gives_way_and_the_broadcast_goes_on():
    setup = Setup()
    closed: list[str] = []
    ghost = await setup.registry.claim(KEY, session(close=closed.append))
    setup.send(ghost)
    stream, generation = ghost.stream, ghost.generation
    setup.clock.advance(ms=2100)
    lease = await setup.registry.claim(KEY, session(ident="s2"))
    assert closed == ["another publisher took over"]
    setup.send(lease)
    assert lease.stream is stream
    assert lease.generation > generation
    assert stream.epoch == 1
    ghost.append(packet(stream.tracks[0], 50))
    assert stream.packets.end == 2, "a ghost's packets go nowhere"
    ghost.release("late")
    assert setup.registry.get(KEY) is stream, "and its release changes nothing"
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_a_publisher_that_has_just_returned_is_no_ghost_though_its_stream_was_silent():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    lease.release("connection lost")
    setup.clock.advance(s=5)
    await setup.registry.claim(KEY, session(ident="s2"))
    with pytest.raises(StreamBusyError, match="just beginning"):
        await setup.registry.claim(KEY, session(ident="s3"))
    setup.clock.advance(ms=2000)
    await setup.registry.claim(KEY, session(ident="s3"))


async def test_with_takeover_always_the_last_to_come_publishes():
    setup = Setup(takeover=Takeover.ALWAYS)
    closed: list[str] = []
    first = await setup.registry.claim(KEY, session(close=closed.append))
    setup.send(first)
    second = await setup.registry.claim(KEY, session(ident="s2"))
    assert closed == ["another publisher took over"]
    setup.send(second)
    assert second.stream is first.stream
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_with_takeover_refuse_even_a_silent_publisher_keeps_its_place_until_it_leaves():
    setup = Setup(takeover=Takeover.REFUSE)
    first = await setup.registry.claim(KEY, session())
    setup.send(first)
    setup.clock.advance(s=60)
    with pytest.raises(StreamBusyError, match="stop that one first"):
        await setup.registry.claim(KEY, session(ident="s2"))
    first.release("no audio or video came for 8 s")
    setup.send(await setup.registry.claim(KEY, session(ident="s2")))
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_a_publisher_that_returns_in_time_continues_the_same_broadcast():
    setup = Setup(reconnect_window_ms=15_000)
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    lease.release("connection lost")
    assert lease.stream.state is StreamState.INTERRUPTED
    setup.clock.advance(s=14)
    setup.registry.tick(setup.clock.now_ns)
    again = await setup.registry.claim(KEY, session(ident="s2"))
    setup.send(again)
    setup.clock.advance(s=14)
    setup.registry.tick(setup.clock.now_ns)
    assert again.stream is lease.stream
    assert again.stream.state is StreamState.LIVE
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_a_publisher_that_stays_away_ends_the_broadcast():
    setup = Setup(reconnect_window_ms=15_000)
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    lease.release("connection lost")
    setup.clock.advance(s=16)
    setup.registry.tick(setup.clock.now_ns)
    assert setup.registry.get(KEY) is None
    assert lease.stream.packets.closed
    assert setup.diary.lines[-1] == "ended: the publisher did not return"


async def test_a_publisher_that_returns_with_another_codec_begins_a_new_broadcast():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    first = lease.stream
    lease.release("connection lost")
    again = await setup.registry.claim(KEY, session(ident="s2"))
    setup.send(again, video=Codec.H265)
    assert again.stream is not first
    assert again.stream.session_id != first.session_id
    assert again.stream.epoch == 0
    assert setup.registry.get(KEY) is again.stream
    assert [line.split(":")[0] for line in setup.diary.lines] == [
        "started", "interrupted", "ended", "started",
    ]  # fmt: skip


async def test_a_track_that_joins_later_is_a_new_epoch_of_the_same_broadcast():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease, audio=False)
    stream = lease.stream
    setup.send(lease)
    assert lease.stream is stream
    assert stream.epoch == 1
    assert [track.kind for track in stream.tracks_of(0)] == ["video"]
    assert [track.kind for track in stream.tracks_of(1)] == ["video", "audio"]


async def test_stop_ends_at_once_and_disconnects_the_publisher():
    setup = Setup()
    closed: list[str] = []
    lease = await setup.registry.claim(KEY, session(close=closed.append))
    setup.send(lease)
    assert setup.registry.stop(KEY, "stopped by the API")
    assert closed == ["stopped by the API"]
    assert setup.registry.get(KEY) is None
    assert not lease.is_current
    assert not setup.registry.stop(KEY, "again")


async def test_the_bound_on_publishers_refuses_the_newcomer():
    setup = Setup(max_publishers=1)
    setup.send(await setup.registry.claim(KEY, session()))
    with pytest.raises(LimitError, match="max_publishers"):
        await setup.registry.claim(StreamKey("live", "b"), session(ident="s2"))


async def test_a_draining_registry_takes_nobody():
    setup = Setup()
    setup.registry.close("bye")
    with pytest.raises(ShuttingDownError):
        await setup.registry.claim(KEY, session())


async def test_tracks_must_carry_the_number_of_their_epoch():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    with pytest.raises(LocalProtocolError, match="epoch 0"):
        lease.begin_epoch((video_track(3),))


async def test_demand_asks_the_suppliers():
    setup = Setup()
    asked: list[StreamKey] = []

    async def supply(key: StreamKey) -> bool:
        asked.append(key)
        setup.send(await setup.registry.claim(key, session(key)))
        return True

    assert await setup.registry.demand(KEY) is None
    setup.registry.add_supplier(supply)
    stream = await setup.registry.demand(KEY)
    assert stream is setup.registry.get(KEY)
    await setup.registry.demand(KEY)
    assert asked == [KEY]


async def test_a_suspended_publisher_resumes_where_it_was():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    assert not lease.suspend("silent"), "there is nothing to go on with"
    setup.send(lease)
    assert lease.suspend("silent")
    assert lease.suspend("silent")
    publishers = [lease.stream.publisher]
    setup.send(lease)
    publishers.append(lease.stream.publisher)
    assert publishers == [None, lease.publisher]
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_a_suspended_publisher_is_disconnected_when_the_window_has_passed():
    setup = Setup(reconnect_window_ms=10_000)
    closed: list[str] = []
    lease = await setup.registry.claim(KEY, session(close=closed.append))
    setup.send(lease)
    lease.suspend("silent")
    setup.clock.advance(s=9)
    setup.registry.tick(setup.clock.now_ns)
    assert closed == []
    setup.clock.advance(s=1)
    setup.registry.tick(setup.clock.now_ns)
    assert closed == ["the publisher did not return"]
    assert not lease.is_current
    assert setup.registry.publishers == 0
    assert setup.diary.lines == ["started", "interrupted", "ended: the publisher did not return"]


async def test_whoever_comes_takes_the_place_of_a_suspended_publisher():
    setup = Setup(takeover=Takeover.REFUSE)
    closed: list[str] = []
    first = await setup.registry.claim(KEY, session(close=closed.append))
    setup.send(first)
    first.suspend("silent")
    second = await setup.registry.claim(KEY, session(ident="s2"))
    assert closed == ["another publisher took over"]
    assert not first.is_current
    setup.send(second)
    assert setup.diary.lines == ["started", "interrupted", "resumed"]


async def test_a_suspended_publisher_that_leaves_is_told_of_once():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    lease.suspend("silent")
    lease.release("gone")
    assert setup.registry.publishers == 0
    assert setup.diary.lines == ["started", "interrupted"]
    setup.clock.advance(s=15)
    setup.registry.tick(setup.clock.now_ns)
    assert setup.diary.lines[2:] == ["ended: the publisher did not return"]


async def test_nobody_is_suspended_where_streams_wait_for_nobody():
    setup = Setup(reconnect_window_ms=0)
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    assert not lease.suspend("silent")
    assert lease.is_current


async def test_a_run_of_a_lease_that_was_taken_over_is_dropped():
    setup = Setup()
    lease = await setup.registry.claim(KEY, session())
    setup.send(lease)
    stream = lease.stream
    video = stream.tracks[0]
    lease.extend([packet(video, 40), packet(video, 80)])
    assert stream.packets.end == 3
    setup.registry.stop(KEY, "enough")
    lease.extend([packet(video, 120)])
    assert stream.packets.end == 3
