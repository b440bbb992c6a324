"""A publisher in simulated time, through losses, into a real stream."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError
from streamserver.feeds.cmaf import CmafFeed, CmafSettings
from streamserver.feeds.items import SegmentEnd
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.stream import LogBounds, Stream, StreamState
from streamserver.ingest.webrtc import WebRtcIngest
from streamserver.media.packet import Packet
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.rtp.packet import build_packet
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.rtcp import Bye
from tests.fakes import FakeClock, Turns, session
from tests.rtp.publisher import AUDIO, MS, SECOND, VIDEO, Publisher

KEY = StreamKey("live", "cam")


class World:
    """A publisher, the ingest, and the stream."""

    def __init__(self, lease: Lease, clock: FakeClock, lines: tuple[MediaLine, ...], **how) -> None:
        self.lease = lease
        self.ended: list[str] = []
        self.ingest = WebRtcIngest(
            lease,
            lines,
            send_rtcp=lambda data: self.publisher.rtcp(data),
            clock=clock,
            ended=self.ended.append,
        )
        self.clock = clock
        self.publisher = Publisher(self._rtp, self._rtcp, self._tick, **how)

    def _rtp(self, data: bytes, now_ns: int) -> None:
        self.clock.now_ns = now_ns
        self.ingest.rtp(data, now_ns)

    def _rtcp(self, data: bytes, now_ns: int) -> None:
        self.clock.now_ns = now_ns
        self.ingest.rtcp(data, now_ns)

    def _tick(self, now_ns: int) -> None:
        self.clock.now_ns = now_ns
        self.ingest.tick(now_ns)

    def run(self, seconds: float) -> None:
        self.publisher.run(seconds)

    @property
    def stream(self) -> Stream:
        return self.lease.stream

    def packets(self, kind: Kind) -> list[Packet]:
        return [packet for packet in self.stream.packets.since(0) if packet.track.kind is kind]

    @property
    def shown(self) -> list[int]:
        """The frames that came, by what their slices say."""
        return [int.from_bytes(packet.data[5:9]) for packet in self.packets(Kind.VIDEO)]


async def world(lines: tuple[MediaLine, ...] = (VIDEO, AUDIO), **how) -> World:
    clock = FakeClock(monotonic_ns=5 * SECOND)
    bounds = LogBounds(max_ms=4_000_000, max_bytes=1 << 30)
    registry = Registry(clock, Turns(), RegistrySettings(bounds=bounds))
    return World(await registry.claim(KEY, session()), clock, lines, **how)


def whole(shown: list[int], keyframes: list[int]) -> bool:
    """Whether no picture was handed on that refers to one that was not."""
    return all(later == earlier + 1 or later in keyframes for earlier, later in pairwise(shown))


async def test_a_publisher_becomes_a_stream_with_both_tracks() -> None:
    one = await world()
    one.run(3)
    stream = one.stream
    assert stream.state is StreamState.LIVE
    video, audio = stream.tracks
    assert (video.width, video.height, video.codec_string) == (1280, 720, "avc1.42C01F")
    assert (audio.codec, audio.channels) == ("opus", 2)
    assert one.shown == list(range(90))
    assert one.packets(Kind.VIDEO)[0].keyframe
    assert one.publisher.plis == 0
    stats = one.ingest.stats
    assert (stats.lost, stats.nacks, stats.malformed, stats.strangers) == (0, 0, 0, 0)
    assert stats.frames == 90 + 149
    assert stats.bit_rate > 1_000_000
    assert [source.mid for source in stats.sources] == ["0", "1"]


async def test_parameter_sets_are_in_the_config_and_not_in_the_packets() -> None:
    one = await world()
    one.run(1)
    first = one.packets(Kind.VIDEO)[0]
    assert first.data[4] == 0x65
    assert int.from_bytes(first.data[:4]) == len(first.data) - 4 == 12_000
    assert first.track.config[:4] == b"\x01\x42\xc0\x1f"


async def test_times_are_exact_in_the_clocks_of_the_sources() -> None:
    one = await world()
    one.run(20)
    audio = [packet.dts for packet in one.packets(Kind.AUDIO)]
    assert {after - before for before, after in pairwise(audio)} == {960}
    video = [packet.dts for packet in one.packets(Kind.VIDEO)]
    # Reports move pictures by rounding only.
    assert all(abs(after - before - 3_000) <= 2 for before, after in pairwise(video))
    assert abs(video[-1] - video[0] - 599 * 3_000) <= 90


@pytest.mark.parametrize("ahead_ms", [-300, -40, 0, 40, 300])
async def test_sender_reports_bring_picture_and_sound_together(ahead_ms: int) -> None:
    one = await world()
    one.publisher.video_ahead_ns = ahead_ms * MS
    one.run(12)
    # Both were sampled at the same moments, but the reports say that pictures are older.
    video, audio = one.packets(Kind.VIDEO), one.packets(Kind.AUDIO)
    skew_ms = video[-1].dts * 1000 / 90_000 - audio[-1].dts * 1000 / 48_000
    arrived_ms = (video[-1].received_ns - audio[-1].received_ns) / 1e6
    assert skew_ms - arrived_ms == pytest.approx(ahead_ms, abs=2)
    times = [packet.dts for packet in video]
    assert times == sorted(times)


@pytest.mark.parametrize("unheard_ms", [160, 900, 4_000])
async def test_sound_that_was_never_recorded_is_a_hole_and_pictures_stay(unheard_ms: int) -> None:
    one = await world()
    one.run(6)
    one.publisher.audio = False
    one.run(unheard_ms / 1000)
    one.publisher.audio, one.publisher.unheard_ns = True, unheard_ms * MS
    before = len(one.packets(Kind.AUDIO))
    one.run(6)
    video, audio = one.packets(Kind.VIDEO), one.packets(Kind.AUDIO)
    skew_ms = video[-1].dts * 1000 / 90_000 - audio[-1].dts * 1000 / 48_000
    arrived_ms = (video[-1].received_ns - audio[-1].received_ns) / 1e6
    assert skew_ms - arrived_ms == pytest.approx(0, abs=2)
    # Half a second is what it takes to be sure, of packets every 20 ms.
    steps = [after.dts - at.dts for at, after in pairwise(audio)]
    (hole,) = [index for index, step in enumerate(steps) if step != 960]
    assert before <= hole <= before + 50
    assert steps[hole] == pytest.approx(960 + 48 * unheard_ms, abs=96)
    assert all(abs(after.dts - at.dts - 3_000) <= 2 for at, after in pairwise(video))
    assert one.stream.epoch == 0


async def test_reports_that_disagree_by_seconds_are_not_followed() -> None:
    one = await world()
    one.publisher.video_ahead_ns = 40 * SECOND
    one.run(5)
    assert one.ingest.receiver.sync.disagreements
    video, audio = one.packets(Kind.VIDEO), one.packets(Kind.AUDIO)
    assert abs(video[-1].dts_ms - audio[-1].dts_ms) < 60


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("loss", [0.01, 0.05])
async def test_losses_are_repaired(loss: float, seed: int) -> None:
    one = await world(loss=loss, duplicates=0.02, jitter_ms=8, seed=seed)
    one.run(30)
    publisher, stats = one.publisher, one.ingest.stats
    assert publisher.lost > 20
    shown = one.shown
    assert whole(shown, publisher.keyframes)
    # Only the parameter sets of the very first keyframe can be lost for good.
    assert shown[0] in publisher.keyframes[:2]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert len(shown) >= 30 * 30 - 30
    assert stats.recovered
    assert stats.plis == len(publisher.keyframes) - 1 <= 1
    assert stats.rtt_ms == pytest.approx(45, abs=12)


@pytest.mark.parametrize("loss", [0.01, 0.05])
async def test_without_retransmissions_a_keyframe_is_asked_for_and_no_broken_picture_shown(
    loss: float,
) -> None:
    lines = (replace(VIDEO, nack=False, rtx_payload_type=None), AUDIO)
    one = await world(lines, loss=loss, rtx=False, jitter_ms=8)
    one.run(30)
    assert one.publisher.nacked == []
    assert one.publisher.plis > 5
    shown = one.shown
    assert len(shown) > 100
    assert whole(shown, one.publisher.keyframes)
    assert one.stream.state is StreamState.LIVE


async def test_a_publisher_that_never_repairs_is_asked_for_keyframes_at_last() -> None:
    one = await world(loss=0.01, rtx=False)
    one.run(20)
    stats = one.ingest.stats
    assert stats.nacks
    assert stats.given_up
    assert stats.plis
    assert whole(one.shown, one.publisher.keyframes)


async def test_requests_for_keyframes_keep_their_distance() -> None:
    one = await world()
    one.run(2)
    for _ in range(100):
        one.stream.keyframes.request()
        one.run(0.01)
    assert 2 <= one.publisher.plis <= 3


async def test_a_viewers_request_is_answered_at_once() -> None:
    one = await world()
    one.run(2)
    before = one.publisher.plis
    one.stream.keyframes.request()
    one.run(0.15)
    assert one.publisher.plis == before + 1
    assert one.packets(Kind.VIDEO)[-3:][0].track.kind is Kind.VIDEO
    assert len(one.publisher.keyframes) == 2


async def test_keyframes_come_as_often_as_readers_wish() -> None:
    one = await world()
    release = one.stream.keyframes.want(2_000)
    one.run(61)
    keys = [packet.dts_ms for packet in one.packets(Kind.VIDEO) if packet.keyframe]
    assert len(keys) >= 28
    assert max(after - before for before, after in pairwise(keys)) <= 2_200
    release()
    one.run(20)
    assert len([p for p in one.packets(Kind.VIDEO) if p.keyframe]) <= len(keys) + 1


async def test_an_hour_with_losses_has_a_keyframe_every_three_seconds() -> None:
    # As few packets as tell it: an hour of them is much for a test.
    lines = (replace(VIDEO, transport_cc=False), replace(AUDIO, transport_cc=False))
    one = await world(
        lines, loss=0.01, fps=4, keyframe_bytes=900, frame_bytes=500, tick_ms=100, sound_ms=60
    )
    one.stream.keyframes.want(2_000)
    feed = CmafFeed(one.stream.tracks_of, 1_000, CmafSettings(), Turns())
    ends: list[SegmentEnd] = []
    for _ in range(3_600):
        one.run(1)
        seen = feed.log.end
        feed.pump(one.stream.packets)
        ends += (item for item in feed.log.since(seen) if isinstance(item, SegmentEnd))
    assert len(ends) > 1_500
    assert max(end.duration for end in ends) <= 3 * 90_000
    keys = [packet.dts_ms for packet in one.packets(Kind.VIDEO) if packet.keyframe]
    assert max(after - before for before, after in pairwise(keys)) <= 3_000
    # Nothing drifts: sound has every sample, pictures stay beside it.
    video, audio = one.packets(Kind.VIDEO), one.packets(Kind.AUDIO)
    assert abs(video[-1].dts_ms - audio[-1].dts_ms) <= 350
    assert one.stream.epoch == 0


async def test_sound_does_not_wait_for_pictures_nor_pictures_for_sound() -> None:
    one = await world()
    one.publisher.audio = False
    one.run(3)
    assert one.stream.state is StreamState.LIVE
    assert len(one.packets(Kind.VIDEO)) > 80
    one.publisher.audio = True
    one.run(3)
    assert one.packets(Kind.AUDIO)
    assert {track.kind for track in one.stream.tracks} == {Kind.VIDEO, Kind.AUDIO}
    one.publisher.audio = False
    before = len(one.packets(Kind.VIDEO))
    one.run(3)
    assert len(one.packets(Kind.VIDEO)) >= before + 88


async def test_a_microphone_alone_is_a_stream() -> None:
    one = await world((AUDIO,))
    one.publisher.video = False
    one.run(2)
    assert one.stream.state is StreamState.LIVE
    assert [track.kind for track in one.stream.tracks] == [Kind.AUDIO]


async def test_another_size_is_another_epoch() -> None:
    one = await world()
    one.run(2)
    one.publisher.size = (640, 352)
    one.stream.keyframes.request()
    one.run(2)
    assert one.stream.epoch == 1
    assert one.stream.tracks[0].width == 640
    assert one.stream.tracks[0].height == 352
    times = [packet.dts for packet in one.packets(Kind.VIDEO)]
    assert times == sorted(times)


async def test_ten_seconds_without_network_are_survived() -> None:
    one = await world()
    one.run(3)
    one.publisher.loss = 1.0
    one.run(10)
    one.publisher.loss = 0.0
    before = len(one.shown)
    one.run(3)
    assert whole(one.shown, one.publisher.keyframes)
    assert len(one.shown) >= before + 60
    # The hole was too large to be filled, and nobody tried.
    assert len(one.publisher.nacked) <= 600


async def test_congestion_feedback_tells_each_packet_once() -> None:
    one = await world(loss=0.02, duplicates=0.05, jitter_ms=10)
    one.run(10)
    told = [number for report in one.publisher.feedback for number in report.sequences]
    assert len(told) > 1500
    assert len(told) == len(set(told))
    spoken_of = sum(report.count for report in one.publisher.feedback)
    assert spoken_of >= len(told) + 10


async def test_receiver_reports_tell_the_loss() -> None:
    one = await world(loss=0.05)
    one.run(20)
    assert len(one.publisher.reports) >= 17
    video, audio = one.publisher.reports[-1].blocks
    sent = 20 * 30 * 5
    assert video.lost == pytest.approx(0.05 * sent, rel=0.4)
    assert 0 < audio.lost < 120
    assert video.last_sr
    assert sum(report.blocks[0].fraction_lost for report in one.publisher.reports) > 50


async def test_a_good_bye_of_all_ends_it() -> None:
    one = await world()
    one.run(1)
    one.ingest.rtcp(Bye(ssrcs=(1111,)).to_bytes(), one.publisher.now_ns)
    one.publisher.video = one.publisher.audio = False
    one.run(0.6)
    assert one.ended == []
    one.ingest.rtcp(Bye(ssrcs=(1111, 3333)).to_bytes(), one.publisher.now_ns)
    one.run(0.45)
    assert one.ended == ["the publisher said good-bye"]
    one.ingest.closed("again")
    assert len(one.ended) == 1


async def test_after_the_end_nobody_is_asked() -> None:
    one = await world()
    one.run(1)
    one.ingest.closed("gone")
    one.stream.keyframes.request()
    one.run(1)
    assert one.publisher.plis == 0


async def test_a_clock_of_odd_ticks_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError):
        await world((replace(AUDIO, clock_rate=44_100),))


async def test_a_stranger_does_not_take_a_line_that_is_in_use() -> None:
    one = await world()
    one.run(1)
    strange = build_packet(
        payload_type=102, sequence=1, timestamp=1, ssrc=77, payload=b"\x65abc", marker=True
    )
    one.ingest.rtp(strange, one.publisher.now_ns)
    assert one.ingest.stats.strangers == 1
    one.publisher.video = False
    one.run(1.2)
    one.ingest.rtp(strange, one.publisher.now_ns)
    assert [source.ssrc for source in one.ingest.receiver.sources] == [77, 3333]
    # What the first one went through stays counted.
    assert one.ingest.stats.frames > 75


async def test_pictures_that_came_together_with_a_damaged_one_are_held_back() -> None:
    one = await world((replace(VIDEO, transport_cc=False),))
    one.run(0.5)
    now_ns, shown = one.publisher.now_ns, len(one.shown)
    source = one.ingest.receiver.sources[0]
    number = source.statistics.highest
    # A keyframe whose parameter sets make no sense, and one that refers to it, behind a hole.
    units = [(2, b"\x78\x00\x02\x67\xff", 0), (3, b"\x65broken", 1), (4, b"\x41next", 1)]
    for step, payload, marker in [*units, (1, b"\x41filled", 1)]:
        one.ingest.rtp(
            build_packet(
                payload_type=102, sequence=number + step & 0xFFFF, ssrc=1111, payload=payload,
                timestamp=[0, 1, 2, 2, 3][step] * 3_000, marker=bool(marker),
            ),
            now_ns,
        )  # fmt: skip
    assert len(one.shown) == shown + 1
    assert one.ingest.stats.damaged_frames == 1
    one.run(0.5)
    assert one.publisher.plis == 1


_PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.tuples(st.sampled_from([0x7C, 0x5C, 0x78, 0x65, 0x67, 0x41]), st.binary(max_size=40)).map(
        lambda parts: bytes((parts[0],)) + parts[1]
    ),
)


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([102, 103, 111, 96]),
            st.integers(0, 65_535) | st.integers(0, 20),
            st.integers(0, 2**32 - 1) | st.just(9000),
            st.sampled_from([1, 2, 3]),
            _PAYLOADS,
            st.booleans(),
            st.integers(0, 700),
        ),
        max_size=40,
    ),
    st.lists(st.binary(max_size=60), max_size=5),
)
async def test_whatever_comes_nothing_escapes(packets, others) -> None:
    one = await world()
    now_ns = 5 * SECOND
    for kind, sequence, stamp, ssrc, payload, marker, pause_ms in packets:
        now_ns += pause_ms * MS
        one.ingest.rtp(
            build_packet(
                payload_type=kind, sequence=sequence, timestamp=stamp, ssrc=ssrc,
                payload=payload, marker=marker, extensions={3: sequence.to_bytes(2, "big")},
            ),
            now_ns,
        )  # fmt: skip
        one.ingest.tick(now_ns)
    for data in others:
        one.ingest.rtp(data, now_ns)
        one.ingest.rtcp(data, now_ns)
        one.ingest.rtcp(b"\x81\xc8\x00\x0c" + data.ljust(48, b"\x01")[:48], now_ns)
    one.ingest.tick(now_ns + SECOND)
    assert one.ingest.stats.packets == len(packets) + len(others)
    one.ingest.closed("over")


async def test_a_publisher_that_never_sent_a_picture_is_gone_after_eight_silent_seconds() -> None:
    one = await world()
    one.ingest.tick(60 * SECOND)
    assert one.ended == [], "before the first packet, ICE says how long it may take"
    one.ingest.rtp(b"", 60 * SECOND)
    one.ingest.rtcp(b"", 64 * SECOND)
    one.ingest.tick(71 * SECOND)
    assert one.ended == []
    one.ingest.tick(72 * SECOND)
    assert one.ended == ["no packet came for 8 s"]


async def test_a_stream_that_went_silent_waits_and_goes_on_with_the_next_keyframe() -> None:
    one = await world()
    one.run(3)
    before, heard_ns = one.shown, one.clock.now_ns
    one.ingest.tick(heard_ns + 7 * SECOND)
    states = [one.stream.state]
    one.ingest.tick(heard_ns + 9 * SECOND)
    states.append(one.stream.state)
    publishers = [one.stream.publisher]
    assert one.ended == []
    one.run(3)
    publishers.append(one.stream.publisher)
    states.append(one.stream.state)
    assert states == [StreamState.LIVE, StreamState.INTERRUPTED, StreamState.LIVE]
    assert publishers == [None, one.lease.publisher]
    after = one.packets(Kind.VIDEO)[len(before) :]
    assert len(after) > 30
    assert after[0].keyframe
    assert after[0].track.epoch == 1
