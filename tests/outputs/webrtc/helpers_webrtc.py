"""A fan-out over WebRTC with peers that keep what they are sent, and time that a test lets pass."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from streamserver.feeds.rtp import RtpFeed
from streamserver.hub.sessions import Action, Protocol, Session
from streamserver.hub.slicer import Slicer
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from streamserver.outputs.webrtc.allowance import Allowance
from streamserver.outputs.webrtc.fanout import WebRtcFanOut
from streamserver.outputs.webrtc.output import ARENA_BYTES, CNAME
from streamserver.outputs.webrtc.reports import StreamTime
from streamserver.outputs.webrtc.settings import WebRtcSettings, WebRtcStats
from streamserver.outputs.webrtc.viewer import WebRtcViewer
from streamserver.rtp.packet import RtpPacket, parse_packet
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.rtcp import RtcpPacket, parse_rtcp
from tests.fakes import FakeClock, Turns, session

BOUNDS = LogBounds(12_000, 16 * 1024 * 1024)

VIDEO_PT, RTX_PT, AUDIO_PT = 96, 97, 111
VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 1000, 1001, 2000

_TAG = b"T" * 16


class PlainArena:
    """Memory, as ``webrtc.srtp.Arena`` has it."""

    def __init__(self, size: int = ARENA_BYTES) -> None:
        self.size = size
        self.data = bytearray(size)
        self.view = memoryview(self.data)


class PlainSrtp:
    """Protects by putting a tag that can be seen behind each packet."""

    overhead = len(_TAG)

    def protect_run(self, arena: Any, offset: int, lengths: Sequence[int]) -> int:
        at = offset
        for length in lengths:
            end = at + length + len(_TAG)
            assert end <= arena.size, "beyond the arena"
            assert not any(arena.view[at + length : end]), "no room for the tag"
            arena.view[at + length : end] = _TAG
            at = end
        return at - offset


class FakePeer:
    """Keeps what it is sent, taken apart; ``full`` says how many writes find no room."""

    def __init__(self) -> None:
        self.srtp: Any = PlainSrtp()
        self.packets: list[RtpPacket] = []
        self.again: list[RtpPacket] = []
        self.reports: list[RtcpPacket] = []
        self.sizes: list[tuple[int, int]] = []
        self.full = 0
        self.fails = False
        self.closed: str | None = None

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        if self.fails:
            raise OSError("no")
        if self.full:
            self.full -= 1
            return False
        self.sizes.append((len(view), segment_bytes))
        assert len(view) <= 65_507
        assert -(-len(view) // segment_bytes) <= 64
        for at in range(0, len(view), segment_bytes):
            packet = bytes(view[at : at + segment_bytes])
            assert packet.endswith(_TAG)
            self.packets.append(parse_packet(packet[: -len(_TAG)]))
        return True

    def send_rtp(self, packet: bytes) -> bool:
        if self.full:
            self.full -= 1
            return False
        self.again.append(parse_packet(packet))
        return True

    def send_rtcp(self, packet: bytes) -> None:
        self.reports += parse_rtcp(packet)

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason
        self.srtp = None

    def of(self, payload_type: int) -> list[RtpPacket]:
        return [packet for packet in self.packets if packet.payload_type == payload_type]

    @property
    def video(self) -> list[RtpPacket]:
        return self.of(VIDEO_PT)

    @property
    def audio(self) -> list[RtpPacket]:
        return self.of(AUDIO_PT)


class Seat(NamedTuple):
    """A viewer and its peer."""

    viewer: WebRtcViewer
    peer: FakePeer


def lines(*, nack: bool = True, rtx: bool = True, audio: bool = True) -> list[MediaLine]:
    """What a browser and we would have agreed on."""
    video = MediaLine(
        mid="0", codec=Codec.VP8, payload_type=VIDEO_PT, clock_rate=VIDEO_CLOCK, nack=nack,
        pli=True, ssrc=VIDEO_SSRC, rtx_payload_type=RTX_PT if rtx else None,
        rtx_ssrc=RTX_SSRC if rtx else 0,
    )  # fmt: skip
    sound = MediaLine(
        mid="1", codec=Codec.OPUS, payload_type=AUDIO_PT, clock_rate=48_000, ssrc=AUDIO_SSRC
    )
    return [video, sound] if audio else [video]


class World:
    """Packets that a test appends, the fan-out that hangs on them, and its viewers."""

    def __init__(
        self,
        *,
        bounds: LogBounds = BOUNDS,
        can_ask: bool = False,
        arena: Any = None,
        **settings: int,
    ) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.packets: Log[Packet] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=self.turns
        )
        self.feed = RtpFeed(self.packets, bounds, self.turns)
        self.stats = WebRtcStats()
        self.can_ask = can_ask
        self.asked = 0
        self.unplayable: str | None = None
        self.left: list[tuple[WebRtcViewer, str]] = []
        self.origin_ns = self.clock.now_ns
        self.video_track = Track(Codec.VP8, VIDEO_CLOCK, b"")
        self.audio_track = Track(Codec.OPUS, 48_000, b"")
        self.time_ms = 0
        self.count = 0
        self.look_ns = 0
        """How long the slicer takes between two looks at the clock."""
        self.slicer = Slicer(now_ns=self._look, schedule=self.turns)
        wall_ns = self.clock.wall
        self.fan_out = WebRtcFanOut(
            self.feed,
            StreamTime(lambda: self.origin_ns, lambda: wall_ns, 0xFFFF_FF00),
            WebRtcSettings(**settings),
            self.stats,
            arena=arena or PlainArena(),
            wake=self.packets.wake,
            pump=self._pump,
            request_keyframe=self._ask,
            unplayable=lambda: self.unplayable,
            left=lambda viewer, reason: self.left.append((viewer, reason)),
            slicer=self.slicer,
            later=self._later,
            now_ns=self.clock.monotonic_ns,
            cname=CNAME,
        )

    def expect(
        self, peer: FakePeer | None = None, agreed: Sequence[MediaLine] | None = None
    ) -> Seat:
        """A viewer that is not connected yet."""
        peer = peer or FakePeer()
        who: Session = session(action=Action.PLAY, protocol=Protocol.WHEP)
        allowance = Allowance(500_000, 250_000, self.clock.now_ns)
        agreed = lines() if agreed is None else agreed
        viewer = WebRtcViewer(self.fan_out, who, peer, agreed, allowance, 0x7FFF)
        self.fan_out.expect(viewer)
        return Seat(viewer, peer)

    def enter(
        self, peer: FakePeer | None = None, agreed: Sequence[MediaLine] | None = None
    ) -> Seat:
        """A viewer that is in, and has got what there was at once."""
        seat = self.expect(peer, agreed)
        seat.viewer.connected()
        self.settle()
        return seat

    def video(self, size: int = 100, *, keyframe: bool = False) -> Packet:
        """One picture, 40 ms after the one before, sent at once; its data tells its number."""
        self.time_ms += 40
        self.count += 1
        data = self.count.to_bytes(4) + bytes(max(0, size - 4))
        ticks = self.time_ms * 90
        packet = Packet(self.video_track, ticks, ticks, 0, keyframe, data, self.clock.now_ns)
        self._append(packet, keyframe)
        return packet

    def audio(self, behind_ms: int = 0) -> Packet:
        """One packet of sound at the present time, or before it."""
        ticks = (self.time_ms - behind_ms) * 48
        packet = Packet(self.audio_track, ticks, ticks, 960, True, b"sound", self.clock.now_ns)
        self._append(packet, False)
        return packet

    def settle(self) -> None:
        """Runs the loop until nothing is left to do but wait."""
        self.turns.run_all()

    def pass_ms(self, ms: int) -> None:
        """Lets time pass; due timers run, and a tick every quarter of a second."""
        end_ns = self.clock.now_ns + ms * 1_000_000
        while self.clock.now_ns < end_ns:
            step_ns = min(250_000_000, end_ns - self.clock.now_ns)
            due = [at for at, _ in self.timers if at <= self.clock.now_ns + step_ns]
            if due:
                step_ns = max(0, min(due) - self.clock.now_ns)
            self.clock.now_ns += step_ns
            ready = [f for at, f in self.timers if at <= self.clock.now_ns]
            self.timers = [(at, f) for at, f in self.timers if at > self.clock.now_ns]
            for function in ready:
                function()
            if not due:
                self.fan_out.tick(self.clock.now_ns)
            self.settle()

    def _append(self, packet: Packet, keyframe: bool) -> None:
        self.packets.append(packet, size=len(packet.data), at_ms=packet.dts_ms, keyframe=keyframe)
        self.settle()

    def _look(self) -> int:
        self.clock.now_ns += self.look_ns
        return self.clock.now_ns

    def _ask(self) -> bool:
        self.asked += self.can_ask
        return self.can_ask

    def _pump(self) -> None:
        self.feed.pump()
        if self.packets.closed is not None:
            self.feed.close(self.packets.closed)

    def _later(self, ms: int, function: Callable[[], None]) -> Callable[[], None]:
        entry = (self.clock.now_ns + ms * 1_000_000, function)
        self.timers.append(entry)
        return lambda: self.timers.remove(entry) if entry in self.timers else None


def frames(packets: Sequence[RtpPacket]) -> list[int]:
    """The numbers of the pictures of VP8 that begin in some packets."""
    return [int.from_bytes(packet.payload[1:5]) for packet in packets if packet.payload[0] == 0x10]


def is_continuous(packets: Sequence[RtpPacket]) -> bool:
    """Whether sequence numbers grow by one, modulo 2^16."""
    sequences = [packet.sequence for packet in packets]
    return all(b == a + 1 & 0xFFFF for a, b in pairwise(sequences))
