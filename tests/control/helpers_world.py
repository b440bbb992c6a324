"""A small server without doors: a real registry and session table, and a clock that we turn."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction

from streamserver.control import Control, ControlSettings, ListenerFacts, ServerFacts, Totals
from streamserver.control.destinations import DestinationControl
from streamserver.control.records import Records
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.sessions import Action, Protocol, Session, SessionTable
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from streamserver.names import StreamKey
from streamserver.net.guard import OutgoingGuard
from streamserver.net.resolver import DnsResolver
from streamserver.outputs.destinations.destination import Delivery
from streamserver.outputs.destinations.loops import OwnDoors
from streamserver.outputs.destinations.manager import Destinations
from streamserver.rtmp.target import PublishTarget
from streamserver.storage.memory import MemoryStorage

SECOND_NS = 1_000_000_000
START_WALL_NS = 1_700_000_000_123_456_789
JOINED_AT = datetime(2026, 11, 20, 10, 48, 0, 5_000, UTC)
DEMO = StreamKey("live", "demo")


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return START_WALL_NS + self.now_ns - 1_000 * SECOND_NS


def call_at_once(function: Callable[[], None]) -> None:
    function()


def video_track(epoch: int = 0) -> Track:
    return Track(
        codec=Codec.H264,
        clock_rate=90_000,
        config=b"",
        epoch=epoch,
        profile="High",
        width=1280,
        height=720,
        frame_rate=Fraction(10_000, 1001),
    )


def audio_track(epoch: int = 0) -> Track:
    return Track(
        codec=Codec.AAC,
        clock_rate=48_000,
        config=b"",
        epoch=epoch,
        profile="LC",
        sample_rate=48_000,
        channels=2,
    )


@dataclass
class Publication:
    """A publisher with its lease, sending packets as it is told."""

    world: "World"
    lease: Lease
    session: Session
    tracks: tuple[Track, ...]
    at_ms: int = 0

    def send(self, size: int = 1000, *, keyframe: bool = False, track: int = 0) -> None:
        """One packet at the publication's time."""
        of_track = self.tracks[track]
        ticks = self.at_ms * of_track.clock_rate // 1000
        self.session.bytes_received += size
        packet = Packet(
            track=of_track,
            pts=ticks,
            dts=ticks,
            duration=0,
            keyframe=keyframe,
            data=bytes(size),
            received_ns=self.world.clock.now_ns,
        )
        self.lease.append(packet)

    def run(self, seconds: int, *, keyframe_every_ms: int = 2000, step_ms: int = 100) -> None:
        """Sends video for some seconds, and lets them pass."""
        for _ in range(seconds * 1000 // step_ms):
            self.send(keyframe=self.at_ms % keyframe_every_ms == 0)
            self.at_ms += step_ms
            self.world.clock.now_ns += step_ms * 1_000_000


class FarSide:
    """In the place of a network: takes whatever is sent, until the stream is over."""

    async def __call__(self, stream: Stream, target: PublishTarget, delivery: Delivery) -> None:
        delivery.stats.rtt_us = 12_345
        delivery.is_live()
        while stream.packets.closed is None:
            await asyncio.sleep(0.01)


@dataclass
class World:
    """The parts that a server is made of, for tests."""

    public_url: str = ""
    clock: FakeClock = field(default_factory=FakeClock)
    bounds: LogBounds = field(default_factory=LogBounds)

    def __post_init__(self) -> None:
        self.closed: dict[str, str] = {}
        self.sessions = SessionTable()
        self.registry = Registry(
            self.clock, call_at_once, RegistrySettings(self.bounds, reconnect_window_ms=15_000)
        )
        self.totals = Totals(self.registry, self.sessions)
        self.facts = ServerFacts(
            version="1.2.3",
            started_wall_ns=START_WALL_NS,
            started_ns=self.clock.now_ns,
            listeners=[ListenerFacts("http", "", 8080), ListenerFacts("https", "::", 8443, True)],
            is_listening=True,
        )
        self.far_side = FarSide()
        self.destinations = Destinations(
            registry=self.registry,
            push=self.far_side,
            guard=OutgoingGuard(DnsResolver(), allow_private=True),
            doors=OwnDoors(lambda: frozenset({1935})),
            storage=MemoryStorage(),
            clock=self.clock,
        )
        self.registry.add_listener(self.destinations)
        self.records = Records(MemoryStorage())
        self.control = Control(
            registry=self.registry,
            sessions=self.sessions,
            totals=self.totals,
            facts=self.facts,
            clock=self.clock,
            settings=ControlSettings(public_url=self.public_url),
            destinations=DestinationControl(self.destinations, self.clock),
            records=self.records,
        )

    def join(
        self,
        session_id: str,
        key: StreamKey = DEMO,
        *,
        action: Action = Action.PLAY,
        protocol: Protocol = Protocol.HLS,
    ) -> Session:
        """A session that leaves the table when it is closed."""

        def close(reason: str) -> None:
            self.closed[session_id] = reason
            self.sessions.remove(session)

        session = Session(
            id=session_id,
            action=action,
            protocol=protocol,
            stream=key,
            remote_ip="192.0.2.7",
            user_agent="test/1",
            joined_at=JOINED_AT,
            close=close,
        )
        self.sessions.add(session)
        return session

    async def publish(
        self, key: StreamKey = DEMO, tracks: tuple[Track, ...] | None = None
    ) -> Publication:
        """A live stream."""
        session = self.join(
            f"publisher-{key.name}", key, action=Action.PUBLISH, protocol=Protocol.RTMP
        )
        lease = await self.registry.claim(key, session)
        tracks = tracks or (video_track(), audio_track())
        lease.begin_epoch(tracks)
        return Publication(self, lease, session, tracks)
