"""A hub with a publisher, and destinations that lead from it to sinks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

from streamserver.clock import SystemClock
from streamserver.errors import StreamServerError
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.packet import Packet
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.net.dial import DialSettings
from streamserver.net.guard import OutgoingGuard
from streamserver.net.resolver import ResolveError
from streamserver.net.tls import client_context
from streamserver.outputs.destinations.assembly import body_holder
from streamserver.outputs.destinations.destination import Delivery, Destination
from streamserver.outputs.destinations.loops import OwnDoors
from streamserver.outputs.destinations.manager import Destinations
from streamserver.outputs.destinations.push import PushSettings, RtmpPush
from streamserver.outputs.destinations.states import DestinationState
from streamserver.rtmp.target import PublishTarget
from streamserver.storage import Storage
from streamserver.storage.memory import MemoryStorage
from tests import media_factory
from tests.fakes import session

KEY = StreamKey("live", "show")
MS = 1_000_000

HASTY = PushSettings(
    stall_after_ns=300 * MS,
    give_up_after_ns=400 * MS,
    look_every_ns=100 * MS,
    drain_ns=500 * MS,
)


@cache
def clip() -> media_factory.Clip:
    """Two seconds of H.264 and AAC, with a keyframe each second."""
    return media_factory.h264_aac(seconds=2.0)


class FakeResolver:
    """Knows the hosts that it was told of; ``localhost`` is one."""

    def __init__(self, **hosts: tuple[str, ...]) -> None:
        self.hosts = {"localhost": ("127.0.0.1",), **hosts}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host.replace(".", "").isdigit():
            return (host,)
        if host not in self.hosts:
            raise ResolveError(f"there is no host {host}")
        return self.hosts[host]


class FakePush:
    """Attempts that go as a test says."""

    def __init__(self) -> None:
        self.attempts: list[PublishTarget] = []
        self.cancelled = 0
        self.delivery: Delivery | None = None
        self.addresses = ("127.0.0.1", "127.0.0.1")
        self._outcome: asyncio.Future[None] | None = None
        self._begun = asyncio.Event()

    async def __call__(self, stream: Stream, target: PublishTarget, delivery: Delivery) -> None:
        self.attempts.append(target)
        self.delivery = delivery
        self._outcome = asyncio.get_running_loop().create_future()
        self._begun.set()
        delivery.check_path(*self.addresses)
        try:
            await self._outcome
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def begun(self) -> Delivery:
        """Waits for the next attempt."""
        async with asyncio.timeout(60):
            await self._begun.wait()
        self._begun.clear()
        assert self.delivery is not None
        return self.delivery

    def end(self, error: StreamServerError | OSError | Exception | None = None) -> None:
        """Ends the attempt, well or badly."""
        assert self._outcome is not None
        if error is None:
            self._outcome.set_result(None)
        else:
            self._outcome.set_exception(error)


class Studio:
    """A stream, and the means to send it on."""

    def __init__(self, driver: Driver, registry: Registry, feeds: FeedPool) -> None:
        self.driver = driver
        self.registry = registry
        self.feeds = feeds
        self.resolver = FakeResolver()
        self.lease: Lease | None = None
        self.sent_ms = 0
        self._destinations: list[Destinations] = []
        self._feeder: asyncio.Task[None] | None = None

    def destinations(
        self,
        settings: PushSettings = HASTY,
        *,
        ca: str = "",
        storage: Storage | None = None,
        allow_private: bool = True,
        own_ports: frozenset[int] = frozenset(),
        between: Callable[[int, int], int] = lambda low, high: 50,
        connect_timeout_s: float = 2,
        tls_timeout_s: float = 1,
    ) -> Destinations:
        """Destinations over real connections; ``ca`` is a certificate (PEM) to believe."""
        context = client_context()
        if ca:
            context.load_verify_locations(cadata=ca)
        guard = OutgoingGuard(self.resolver, allow_private=allow_private)
        push = RtmpPush(
            guard=guard,
            dialing=DialSettings(
                tls=context, connect_timeout_s=connect_timeout_s, tls_timeout_s=tls_timeout_s
            ),
            hold=body_holder(self.feeds, self.driver, LogBounds()),
            clock=SystemClock(),
            settings=settings,
        )
        made = Destinations(
            registry=self.registry,
            push=push,
            guard=guard,
            doors=OwnDoors(lambda: own_ports),
            storage=storage or MemoryStorage(),
            clock=SystemClock(),
            between=between,
        )
        self.registry.add_listener(made)
        self._destinations.append(made)
        return made

    async def publish(self, key: StreamKey = KEY) -> Lease:
        """A publisher, or the same one again after a break."""
        self.lease = await self.registry.claim(key, session(key))
        # Video first, as every stream has it.
        tracks = (clip().track(Kind.VIDEO), clip().track(Kind.AUDIO))
        epoch = self.lease.next_epoch(tracks)
        self.tracks = {track: replace(track, epoch=epoch) for track in tracks}
        self.lease.begin_epoch(tuple(self.tracks.values()))
        return self.lease

    def send(self, times: int = 1, *, padding: int = 0) -> int:
        """The clip, so many times in a row; answers how many packets.

        ``padding`` bytes are added to each picture.
        """
        assert self.lease is not None
        for _ in range(times):
            for packet in clip().packets:
                track = self.tracks[packet.track]
                shift = self.sent_ms * track.clock_rate // 1000
                data = packet.data + bytes(padding if packet.is_video else 0)
                self.lease.append(
                    Packet(
                        track,
                        packet.pts + shift,
                        packet.dts + shift,
                        packet.duration,
                        packet.keyframe,
                        data,
                        SystemClock().monotonic_ns(),
                    )
                )
            # Its sound lasts a little longer than its picture.
            self.sent_ms += 2020
        return times * len(clip().packets)

    def keep_sending(self, *, padding: int = 0, every_s: float = 0.05) -> None:
        """A clip of two seconds each so many seconds, until the end."""

        async def feed() -> None:
            while True:
                self.send(padding=padding)
                await asyncio.sleep(every_s)

        self._feeder = asyncio.get_running_loop().create_task(feed())

    def stop_sending(self) -> None:
        """No packets any more."""
        if self._feeder is not None:
            self._feeder.cancel()
            self._feeder = None

    async def close(self) -> None:
        self.stop_sending()
        self.registry.close("the test is over")
        for one in self._destinations:
            await one.close()
        self.feeds.close("the test is over")
        self.driver.close()


@asynccontextmanager
async def studio() -> AsyncIterator[Studio]:
    """A hub in this loop."""
    clock = SystemClock()
    driver = Driver(clock)
    registry = Registry(clock, driver.schedule, RegistrySettings(LogBounds()))
    feeds = FeedPool(clock.monotonic_ns, driver.report)
    driver.add_ticker(registry.tick)
    driver.add_ticker(feeds.tick)
    driver.start()
    made = Studio(driver, registry, feeds)
    try:
        yield made
    finally:
        await made.close()
        failures = (driver.failures, feeds.failures)
    assert failures == (0, 0)


async def reaches(one: Destination, *states: DestinationState, within_s: float = 10) -> None:
    """Waits until a destination is in one of some states."""
    async with asyncio.timeout(within_s):
        await until(lambda: one.state in states)


async def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, looking at each turn of the loop or so."""
    while not condition():
        await asyncio.sleep(0.005)
