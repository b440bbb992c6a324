"""Through the real transport: handshakes, keys and sockets, with aiortc at the other end."""

import asyncio

import pytest

from streamserver.clock import SystemClock
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.stream import LogBounds, Stream
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from streamserver.names import StreamKey
from streamserver.outputs.webrtc.output import ARENA_BYTES, WebRtcOutput
from streamserver.outputs.webrtc.viewer import WebRtcViewer
from streamserver.rtp.packet import RtpPacket, parse_packet
from streamserver.rtp.rtcp import Bye, Nack, SenderReport, parse_rtcp
from streamserver.webrtc.mux import Mux
from streamserver.webrtc.peer import Peer
from streamserver.webrtc.srtp import Arena
from tests.fakes import session
from tests.outputs.webrtc.helpers_webrtc import (
    RTX_SSRC,
    VIDEO_SSRC,
    frames,
    is_continuous,
    lines,
)
from tests.webrtc.client import WAIT_S, WireClient, listening

BOUNDS = LogBounds()


class Handler:
    """Passes on what the peer says: it is made before the viewer."""

    viewer: WebRtcViewer

    def connected(self) -> None:
        self.viewer.connected()

    def rtp(self, packet: bytes, now_ns: int) -> None:
        self.viewer.rtp(packet, now_ns)

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        self.viewer.rtcp(packet, now_ns)

    def closed(self, reason: str) -> None:
        self.viewer.closed(reason)


class Watched:
    """A viewer that control let in."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.session = session()
        self.left = asyncio.Event()

    def close(self) -> None:
        self.left.set()


class Play:
    """A stream, an output, and viewers that connect."""

    def __init__(self, mux: Mux) -> None:
        clock = SystemClock()
        self.mux = mux
        self.clock = clock
        driver = Driver(clock)
        feeds = FeedPool(clock.monotonic_ns, driver.report)
        self.output = WebRtcOutput(
            driver=driver, feeds=feeds, clock=clock, bounds=BOUNDS, arena=Arena(ARENA_BYTES)
        )
        log: Log[Packet] = Log(
            max_ms=BOUNDS.max_ms, max_bytes=BOUNDS.max_bytes, schedule=driver.schedule
        )
        self.stream = Stream(
            StreamKey("live", "cam"), "s", 1, log, clock.wall_ns(), clock.monotonic_ns()
        )
        self.track = Track(Codec.VP8, VIDEO_CLOCK, b"")
        self.stream.begin_epoch((self.track,))
        self.count = 0

    def append(self, size: int, *, keyframe: bool = False) -> None:
        self.count += 1
        data = self.count.to_bytes(4) + bytes(size - 4)
        ticks = self.count * 3_000
        self.stream.append(
            Packet(self.track, ticks, ticks, 0, keyframe, data, self.clock.monotonic_ns())
        )

    async def join(self, client: WireClient) -> tuple[Watched, Peer]:
        handler, watched = Handler(), Watched(self.stream)
        peer = self.mux.open(handler)
        handler.viewer = self.output.watch(watched, peer, lines())
        await client.connect(peer)
        return watched, peer


async def take(client: WireClient, count: int) -> list[RtpPacket]:
    return [parse_packet(await asyncio.wait_for(client.rtp.get(), WAIT_S)) for _ in range(count)]


@pytest.mark.parametrize("tcp", [False, True])
async def test_viewers_get_pictures_reports_repeats_and_a_goodbye(tcp: bool) -> None:
    async with listening() as mux:
        play = Play(mux)
        play.append(30_000, keyframe=True)
        play.append(4_000)
        clients = [WireClient(), WireClient()]
        seats = []
        for client in clients:
            await (client.open_tcp(mux.port) if tcp else client.open_udp(mux.port))
            seats.append(await play.join(client))
        for _ in range(3):
            play.append(9_000)
        expected = 26 + 4 + 3 * 8
        for client in clients:
            packets = await take(client, expected)
            assert frames(packets) == [1, 2, 3, 4, 5]
            assert is_continuous(packets)
            report = parse_rtcp(await asyncio.wait_for(client.rtcp.get(), WAIT_S))
            assert isinstance(report[0], SenderReport)
            lost = packets[10]
            nack = Nack(ssrc=1, media_ssrc=VIDEO_SSRC, sequences=(lost.sequence,))
            await client.send_media(nack.to_bytes())
            [again] = await take(client, 1)
            assert again.ssrc == RTX_SSRC
            assert again.payload == lost.sequence.to_bytes(2) + lost.payload
        play.stream.packets.close("it is over")
        for client, (watched, _) in zip(clients, seats, strict=True):
            await asyncio.wait_for(watched.left.wait(), WAIT_S)
            bye = parse_rtcp(await asyncio.wait_for(client.rtcp.get(), WAIT_S))
            assert isinstance(bye[-1], Bye)
            client.vanish()
        assert play.output.viewers == 0
        assert mux.peers == 0


async def test_a_large_keyframe_arrives_whole_at_all_viewers() -> None:
    async with listening() as mux:
        play = Play(mux)
        play.append(100, keyframe=True)
        clients = []
        for _ in range(10):
            client = WireClient()
            await client.open_udp(mux.port)
            await play.join(client)
            clients.append(client)
        play.append(60_000, keyframe=True)
        for client in clients:
            packets = await take(client, 1 + 51)
            assert frames(packets) == [1, 2]
            assert is_continuous(packets)
            await client.close()
        assert play.output.stats.failed == 0
