"""Parts of a stream that nobody follows are made later, and nobody can tell."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.feeds.cmaf import CmafFeed, CmafSettings
from streamserver.hub.sessions import SessionTable
from streamserver.hub.slicer import Slicer
from streamserver.hub.sources import SourceHold
from streamserver.hub.stream import Stream, StreamState
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.outputs.hls.channel import TsMaker
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.window import Segment
from tests.fakes import FakeClock, Turns
from tests.feeds.cmaf.helpers_stream import (
    aac,
    audio_packets,
    body,
    h264,
    interleave,
    jittered,
    video_packets,
)
from tests.outputs.hls.helpers_hls import CLIENT, KEY, SECRET, _open, fake_remux


class Rig:
    """A stream with its real feed and the output; without sessions it counts as followed."""

    def __init__(self, *, sessions: bool, max_bytes: int = 1 << 24) -> None:
        self.clock, self.turns = FakeClock(), Turns()
        self.feeds: list[CmafFeed] = []
        self.pumps = 0
        self.output = HlsOutput(
            clock=self.clock,
            slicer=Slicer(now_ns=self.clock.monotonic_ns, schedule=self.turns),
            sessions=SessionTable(),
            settings=HlsSettings(sessions=sessions),
            secret=SECRET,
            make_feed=self._make_feed,
            ts=TsMaker(fake_remux, lambda tracks: None),
            authorize=_open,
        )
        self.mount = HlsMount(self.output)
        log: Log[Packet] = Log(max_ms=12_000, max_bytes=max_bytes, schedule=self.turns)
        self.stream = Stream(
            key=KEY,
            session_id="b1",
            generation=1,
            packets=log,
            wall_origin_ns=self.clock.wall_ns(),
            origin_ns=self.clock.monotonic_ns(),
        )
        self.video, self.audio = h264(), aac()
        self.stream.begin_epoch((self.video, self.audio))
        self.stream.state = StreamState.LIVE
        self.output.stream_started(self.stream)
        self.ms = 0

    def _make_feed(self, source: SourceHold, first_msn: int, position: int) -> CmafFeed:
        feed = CmafFeed(source.tracks_of, first_msn, CmafSettings(), self.turns, position=position)
        self.feeds.append(feed)
        return feed

    def publish(self, packet: Packet) -> None:
        self.clock.advance(ms=max(packet.dts_ms - self.ms, 0))
        self.ms = max(packet.dts_ms, self.ms)
        self.stream.append(packet)
        self.turns.run_all()

    def end(self) -> None:
        self.stream.state = StreamState.ENDED
        self.stream.packets.close("over")
        self.output.stream_ended(self.stream, "over")
        self.turns.run_all()

    @property
    def outline(self) -> list[object]:
        """All that a player could learn, but for the secret part of names."""
        delivery = self.output.delivery(KEY)
        assert delivery is not None
        window = delivery.window
        segments = [*window.listed, *([window.current] if window.current else [])]
        return [
            *(window.target, window.hint, window.end, window.total_bytes, window.ended),
            *(window.peak_bit_rate, window.average_bit_rate, delivery.wall_origin_ms),
            *map(_segment, segments),
        ]

    @property
    def parts(self) -> int:
        return self.feeds[0].counters.parts


def _segment(segment: Segment) -> tuple[object, ...]:
    parts = [(part.duration, part.independent, part.reply.body) for part in segment.parts]
    return (segment.msn, segment.start_ms, segment.discontinuity, segment.duration, parts)


def media(rig: Rig, seconds: int, *, spread_ms: int = 0, gop: int = 60) -> list[Packet]:
    times = jittered(30 * seconds, 1000 / 30, spread_ms, seed=seconds)
    return interleave(
        video_packets(rig.video, times, keyframes=range(0, 30 * seconds, gop)),
        audio_packets(rig.audio, seconds),
    )


@settings(max_examples=25, deadline=None)
@given(
    asked=st.sets(st.integers(0, 75 * 24), max_size=6),
    spread_ms=st.sampled_from([0, 3]),
    gop=st.sampled_from([30, 60, 250]),
)
def test_who_asks_finds_what_he_would_have_found_had_the_stream_been_followed(
    asked, spread_ms, gop
):
    eager, lazy = Rig(sessions=False), Rig(sessions=True)
    lanes = (media(rig, 24, spread_ms=spread_ms, gop=gop) for rig in (eager, lazy))
    for index, (one, other) in enumerate(zip(*lanes, strict=True)):
        eager.publish(one)
        lazy.publish(other)
        if index in asked:
            lazy.output.catch_up(KEY)
            lazy.turns.run_all()
            assert lazy.outline == eager.outline
    for rig in (eager, lazy):
        rig.end()
    assert lazy.outline == eager.outline
    assert lazy.feeds[0].counters == eager.feeds[0].counters


async def test_a_viewer_gets_each_part_as_soon_as_it_is_complete_and_nobody_afterwards():
    rig, eager = Rig(sessions=True), Rig(sessions=False)
    packets = media(rig, 60)
    lag: list[int] = []

    def publish(some: list[Packet]) -> int:
        before = len(lag)
        for packet in some:
            rig.publish(packet)
            track = eager.video if packet.is_video else eager.audio
            eager.publish(Packet(track, packet.pts, packet.dts, 0, packet.keyframe, packet.data, 0))
            if rig.parts != eager.parts:
                lag.append(eager.parts - rig.parts)
        return len(lag) - before

    assert publish(packets[: 75 * 8])
    assert max(lag) <= 7
    reply = await rig.mount.answer(f"/hls/{KEY}/index.m3u8", "", CLIENT)
    assert rig.parts == eager.parts
    path = f"/hls/{KEY}/{reply.body.decode().splitlines()[-1]}"
    assert not publish(packets[75 * 8 : 75 * 10])
    assert (await rig.mount.answer(path, "", CLIENT)).status == 200
    assert not publish(packets[75 * 10 : 75 * 24])
    for _ in range(4 * 60):
        rig.clock.advance(ms=250)
        rig.output.tick(rig.clock.now_ns)
    assert publish(packets[75 * 24 : 75 * 32])
    assert (await rig.mount.answer(path, "", CLIENT)).status == 200
    assert rig.parts == eager.parts


def test_the_log_never_forgets_what_was_not_packaged_however_much_comes():
    rig = Rig(sessions=True, max_bytes=100_000)
    packets = media(rig, 20, gop=600)
    for number, packet in enumerate(packets):
        packet = Packet(
            packet.track,
            packet.pts,
            packet.dts,
            0,
            packet.keyframe,
            body(number, 200 if number < 600 else 9_000),
            0,
        )
        rig.publish(packet)
    assert rig.stream.packets.evicted > 1_000
    assert rig.feeds[0].counters.missed == 0
