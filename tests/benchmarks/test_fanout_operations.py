"""The price of viewers in calls and in bytes: RTMP and FLV, WebRTC, and a WebRTC publisher.

The difference between few and many viewers is what each of them costs. No bytes of media are made
per viewer: the peak of what Python holds shows that.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.ingest.webrtc import WebRtcIngest
from streamserver.names import StreamKey
from tests.benchmarks.counting import Calls, peak_bytes
from tests.fakes import FakeClock, Turns, session
from tests.outputs import helpers_live
from tests.outputs.webrtc import helpers_webrtc
from tests.rtp.publisher import AUDIO, SECOND, VIDEO, Publisher

RTMP_VIEWER_CALLS = 0.7
"""For one RTMP or FLV viewer and one join, beside what its transport is asked and given."""

WHEP_PICTURE_CALLS = 8
"""For one WebRTC viewer and one picture, however many packets it has."""

WHEP_PACKET_CALLS = 0.1
"""For each further packet of a picture."""

WHIP_PACKET_CALLS = 24
"""From a decrypted packet to its share of the log, the ticks between included."""

PICTURE = 60_000
FEW, MANY = 4, 36


class QuietTransport(helpers_live.FakeTransport):
    """Takes everything and keeps nothing."""

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class QuietSrtp:
    """Leaves every packet as it is."""

    overhead = 0

    def protect_run(self, arena: Any, offset: int, lengths: Sequence[int]) -> int:
        return sum(lengths)


class QuietPeer(helpers_webrtc.FakePeer):
    """Counts bytes and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.srtp = QuietSrtp()
        self.sent = 0

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        self.sent += len(view)
        return True


STAND_INS = ("QuietTransport.", "QuietSrtp.", "QuietPeer.", "World.", "FakeClock.", "Turns.")


def rtmp_world(viewers: int) -> helpers_live.World:
    world = helpers_live.World(max_join_ms=0)
    world.append(keyframe=True)
    world.settle()
    for _ in range(viewers):
        world.fan_out.add(world.viewer(QuietTransport()))
    world.settle()
    return world


def whep_world(viewers: int) -> tuple[helpers_webrtc.World, list[QuietPeer]]:
    world = helpers_webrtc.World()
    world.video(keyframe=True)
    peers = [QuietPeer() for _ in range(viewers)]
    for peer in peers:
        world.enter(peer)
    for _ in range(3):
        world.pass_ms(40)
        world.video()
    for peer in peers:
        peer.sent = 0
    return world, peers


def one_more(world: helpers_live.World) -> None:
    world.append(size=PICTURE)
    world.settle()


def calls_of(action: Callable[[], object]) -> int:
    with Calls() as calls:
        action()
    return calls.without(*STAND_INS)


def test_a_join_for_one_more_rtmp_viewer_is_few_calls():
    few, many = (calls_of(partial(one_more, rtmp_world(viewers))) for viewers in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < RTMP_VIEWER_CALLS


def test_a_join_for_one_more_rtmp_viewer_copies_nothing():
    few, many = (peak_bytes(partial(one_more, rtmp_world(viewers))) for viewers in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < PICTURE // 100


def whep_calls(viewers: int, size: int) -> int:
    world, peers = whep_world(viewers)
    calls = calls_of(partial(world.video, size))
    assert all(peer.sent >= size for peer in peers)
    return calls


def test_a_picture_for_one_more_webrtc_viewer_is_few_calls():
    few, many = whep_calls(FEW, 5_000), whep_calls(MANY, 5_000)
    assert (many - few) / (MANY - FEW) < WHEP_PICTURE_CALLS


def test_more_packets_of_a_picture_are_hardly_more_calls_for_each_webrtc_viewer():
    packets = (40_000 - 5_000) / 1_200
    small, large = (whep_calls(MANY, size) - whep_calls(FEW, size) for size in (5_000, 40_000))
    assert (large - small) / (MANY - FEW) / packets < WHEP_PACKET_CALLS


def test_a_picture_for_one_more_webrtc_viewer_copies_nothing_but_into_the_shared_arena():
    peaks = []
    for viewers in (FEW, MANY):
        world, peers = whep_world(viewers)
        peaks.append(peak_bytes(partial(world.video, PICTURE)))
        assert all(peer.sent >= PICTURE for peer in peers)
    assert (peaks[1] - peaks[0]) / (MANY - FEW) < PICTURE // 20


async def test_a_packet_of_a_webrtc_publisher_is_few_calls():
    arrivals: list[tuple[int, bytes]] = []
    publisher = Publisher(
        lambda data, now_ns: arrivals.append((now_ns, data)),
        lambda data, now_ns: None,
        lambda now_ns: arrivals.append((now_ns, b"")),
        frame_bytes=10_000,
        keyframe_bytes=60_000,
    )
    publisher.run(4)
    clock = FakeClock(monotonic_ns=5 * SECOND)
    registry = Registry(clock, Turns(), RegistrySettings(bounds=LogBounds()))
    lease = await registry.claim(StreamKey("live", "cam"), session())
    ingest = WebRtcIngest(
        lease,
        (VIDEO, AUDIO),
        send_rtcp=lambda data: None,
        clock=clock,
        ended=lambda reason: None,
    )

    def take(some: Sequence[tuple[int, bytes]]) -> None:
        for now_ns, data in some:
            clock.now_ns = now_ns
            if data:
                ingest.rtp(data, now_ns)
            else:
                ingest.tick(now_ns)

    half = len(arrivals) // 2
    take(arrivals[:half])
    packets = sum(bool(data) for _, data in arrivals[half:])
    calls = calls_of(lambda: take(arrivals[half:]))
    assert ingest.stats.lost == ingest.stats.damaged_frames == 0
    assert ingest.stats.frames > 100
    assert calls / packets < WHIP_PACKET_CALLS
