"""WebRTC without a network: peers, ingests and viewers are fakes."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamserver.auth import AccessRequest, Decision
from streamserver.control.attempt import Attempt
from streamserver.control.publishing import Publishing
from streamserver.control.watching import Watch, Watching
from streamserver.control.webrtc import RtcResources
from streamserver.control.whep import WhepWatching
from streamserver.control.whip import WhipPublishing
from streamserver.errors import UnplayableError
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.sessions import Protocol, SessionTable
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.outputs.webrtc.playable import Form
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.peer import Pair, PeerHandler
from tests.fakes import FakeClock, Turns, session, video_track

CAM = StreamKey("live", "cam")


class Chain:
    """Lets everyone in, but not with the key "bad", nor without any where one is needed."""

    def __init__(self) -> None:
        self.needs_key = False
        self.asked: list[AccessRequest] = []

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked.append(request)
        missing = self.needs_key and not request.credentials()
        allowed = not missing and "bad" not in request.credentials()
        return Decision(allowed, "the key is wrong", "test", missing=missing)


class FakePeer:
    """What `Mux.open` answers, without a network."""

    def __init__(self, handler: PeerHandler) -> None:
        self.handler = handler
        self.setup = "passive"
        self.srtp = None
        self.ufrag = "ufrag1"
        self.password = "p" * 24
        self.fingerprint = ":".join(["AB"] * 32)
        self.candidates = ["1 1 udp 2130706431 192.0.2.1 8189 typ host"]
        self.pair: Pair | None = None
        self.described: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.sent: list[bytes] = []
        self.closed: list[str] = []

    def describe(self, **description: Any) -> None:
        self.described.append(description)
        self.setup = "active" if description["setup"] == "passive" else "passive"

    def add_candidate(self, value: str) -> None:
        self.told.append(value)

    def restart(self) -> None:
        self.ufrag = f"ufrag{len(self.described)}"

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        raise NotImplementedError

    def send_rtp(self, packet: bytes) -> bool:
        raise NotImplementedError

    def send_rtcp(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self, reason: str) -> None:
        if not self.closed:
            self.closed.append(reason)
            self.handler.closed(reason)


@dataclass
class Counts:
    packets: int = 1000
    lost: int = 10
    recovered: int = 9
    retransmitted: int = 9
    nacks: int = 12
    plis: int = 2
    jitter_ms: int = 3
    rtt_ms: int | None = 20


@dataclass(eq=False)
class FakeTarget:
    """An ingest or a viewer: keeps what it is told."""

    lines: Sequence[MediaLine]
    ended: Callable[[str], None]
    stats: Counts = field(default_factory=Counts)
    events: list[Any] = field(default_factory=list)

    def connected(self) -> None:
        self.events.append("connected")

    def rtp(self, packet: bytes, now_ns: int) -> None:
        self.events.append(("rtp", packet))

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        self.events.append(("rtcp", packet))

    def tick(self, now_ns: int) -> None:
        self.events.append(("tick", now_ns))

    def closed(self, reason: str) -> None:
        self.events.append(("closed", reason))
        self.ended(reason)


class World:
    """Everything but the network."""

    def __init__(self, *, max_resources: int = 10, max_per_address: int = 5) -> None:
        self.clock = FakeClock()
        self.table = SessionTable()
        self.chain = Chain()
        self.registry = Registry(self.clock, Turns(), RegistrySettings(bounds=LogBounds()))
        self.peers: list[FakePeer] = []
        self.targets: list[FakeTarget] = []
        self.unplayable = ""
        self.broken: Exception | None = None
        self.resources = RtcResources(max_resources=max_resources, max_per_address=max_per_address)
        publishing = Publishing(self.registry, self.table, self.chain, self.clock)
        watching = Watching(self.registry, self.table, self.chain, self.clock)
        self.whip = WhipPublishing(publishing, self.resources, self.open, self.make_ingest)
        self.whep = WhepWatching(watching, self.resources, self.open, self)

    def open(self, handler: PeerHandler) -> FakePeer:
        if self.broken is not None:
            raise self.broken
        self.peers.append(FakePeer(handler))
        return self.peers[-1]

    def make_ingest(
        self,
        lease: Lease,
        lines: Sequence[MediaLine],
        *,
        send_rtcp: Callable[[bytes], None],
        ended: Callable[[str], None],
    ) -> FakeTarget:
        send_rtcp(b"hello")
        self.targets.append(FakeTarget(lines, ended))
        return self.targets[-1]

    def playable(self, stream: Stream, offered: Collection[Codec] | None = None) -> Form:
        if self.unplayable:
            raise UnplayableError(self.unplayable)
        return Form(stream.tracks)

    def watch(
        self, watch: Watch, peer: object, lines: Sequence[MediaLine], form: Form
    ) -> FakeTarget:
        self.targets.append(FakeTarget(lines, lambda reason: watch.close()))
        return self.targets[-1]

    def attempt(self, protocol: Protocol = Protocol.WHIP, **more: Any) -> Attempt:
        values: dict[str, Any] = {
            "protocol": protocol, "app": "live", "name": "cam", "remote_ip": "192.0.2.7",
            "local": False, "user_agent": "browser/1", "close": lambda reason: None, **more,
        }  # fmt: skip
        return Attempt(**values)

    async def go_live(self) -> None:
        lease = await self.registry.claim(CAM, session(CAM))
        lease.begin_epoch((video_track(),))
