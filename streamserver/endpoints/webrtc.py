"""The door of WebRTC: one port for all media, and what is behind it, put together."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from streamserver.clock import Clock
from streamserver.control.playing import IsLocal
from streamserver.control.publishing import Publishing
from streamserver.control.watching import Watching
from streamserver.control.webrtc import LinkTotals, RtcResources
from streamserver.control.whep import WhepWatching
from streamserver.control.whip import WhipPublishing
from streamserver.endpoints.http.app import Mount
from streamserver.endpoints.http.whip import RtcDoor, whep_mount, whip_mount
from streamserver.errors import UnavailableError
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.registry import Lease
from streamserver.hub.sessions import Protocol
from streamserver.hub.sources import Sources
from streamserver.hub.stream import LogBounds, Stream
from streamserver.ingest.webrtc import WebRtcIngest
from streamserver.net.resolver import Resolver
from streamserver.outputs.webrtc.output import ARENA_BYTES, Converts, WebRtcOutput
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.mux import Mux, MuxSettings
from streamserver.webrtc.srtp import Arena
from streamserver.webrtc.turn import IceServer

__all__ = ["RtcEndpoint", "RtcHub", "RtcSettings"]

logger = logging.getLogger(__name__)

_INGEST_MS: Final = 25
"""How often publishers are looked after: requests for lost packets and feedback go out then."""

_ADDRESSES_NS: Final = 300 * 1_000_000_000
"""How often the public addresses are looked up again: names get other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcSettings:
    """Of the door."""

    mux: MuxSettings
    """The port."""

    max_peers: int
    """Publishers and viewers at once."""

    max_peers_per_address: int
    """The same from one address."""

    wait_for_stream_s: float
    """How long a player waits for a stream that is not live."""

    ice_servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers that clients are told of."""

    feed_bounds: LogBounds
    """Of each stream's log of packets for viewers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcHub:
    """What the door leads to."""

    driver: Driver
    """Time and turns."""

    feeds: FeedPool
    """What viewers share."""

    publishing: Publishing
    """Decides about publishers."""

    watching: Watching
    """Decides about viewers."""

    clock: Clock
    """The time."""

    resolver: Resolver
    """Looks up the names among the public addresses."""

    sources: Sources
    """Streams with sound that WebRTC carries."""

    converts: Converts | None = None
    """Makes pictures that every browser plays; None where that is not wanted."""


class RtcEndpoint:
    """Lets publishers and viewers in over WebRTC."""

    def __init__(self, settings: RtcSettings, hub: RtcHub) -> None:
        """Opens nothing yet."""
        self.settings = settings
        self.mux = Mux(hub.clock, settings.mux, resolver=hub.resolver)
        self.resources = RtcResources(
            max_resources=settings.max_peers, max_per_address=settings.max_peers_per_address
        )
        self.output = WebRtcOutput(
            driver=hub.driver,
            feeds=hub.feeds,
            clock=hub.clock,
            bounds=settings.feed_bounds,
            arena=Arena(ARENA_BYTES),
            source=hub.sources.hold,
            tracks=hub.sources.tracks,
            converts=hub.converts,
            request_keyframe=_request_keyframe,
        )
        self.whip = WhipPublishing(
            hub.publishing, self.resources, self.mux.open, partial(_make_ingest, hub.clock)
        )
        self.whep = WhepWatching(
            hub.watching,
            self.resources,
            self.mux.open,
            self.output,
            wait_s=settings.wait_for_stream_s,
        )
        self._driver = hub.driver
        self._clock = hub.clock
        self._stop_pulse: Callable[[], None] | None = None
        self._looked_up_ns = 0
        self._look_up: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the port, and begins to get ready behind it. Raises `UnavailableError`."""
        await self.mux.listen()
        self._preparing = asyncio.get_running_loop().create_task(self.mux.prepare())
        self._looked_up_ns = self._clock.monotonic_ns()
        self._driver.add_ticker(self.tick)

    async def prepared(self) -> None:
        """Waits until peers can be made. Raises `UnavailableError`: they never can."""
        if self._preparing is not None:
            await asyncio.shield(self._preparing)

    async def close(self, reason: str) -> None:
        """Ends every connection and closes the port. Safe after a failed start, and twice."""
        self.resources.close(reason)
        if self._stop_pulse is not None:
            self._stop_pulse()
            self._stop_pulse = None
        for task in filter(None, (self._look_up, self._preparing)):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, UnavailableError):
                await task
        await self.mux.close()

    def mounts(self, is_local: IsLocal) -> tuple[Mount, Mount]:
        """Where descriptions are exchanged."""
        publish = RtcDoor(self.whip, self.resources, is_local, self.ice_links, self.prepared)
        return whip_mount(publish), whep_mount(replace(publish, signalling=self.whep))

    def ice_links(self) -> list[str]:
        """Values of ``Link`` for one client, with credentials of its own."""
        wall_ns = self._clock.wall_ns()
        return [server.offer(wall_ns).link() for server in self.settings.ice_servers]

    def tick(self, now_ns: int) -> None:
        """Lets time pass; a few times a second."""
        self.mux.tick(now_ns)
        self.output.tick(now_ns)
        if len(self.whip) and self._stop_pulse is None:
            self._pulse()
        if now_ns - self._looked_up_ns >= _ADDRESSES_NS:
            self._looked_up_ns = now_ns
            loop = asyncio.get_running_loop()
            self._look_up = loop.create_task(self.mux.learn_addresses())

    def peer_counts(self) -> dict[str, int]:
        """Connections by what they do."""
        return {"publish": len(self.whip), "play": len(self.whep)}

    def link_sums(self) -> dict[str, LinkTotals]:
        """What was counted on all connections ever, by what they do."""
        return {"publish": self.whip.sums(), "play": self.whep.sums()}

    def transport_counts(self) -> dict[str, int]:
        """What the port has seen, by a few fixed words."""
        return self.mux.stats.as_dict()

    def _pulse(self) -> None:
        """Looks after publishers, as long as there are some."""
        self._stop_pulse = None
        try:
            self.whip.tick(self._clock.monotonic_ns())
        except Exception as error:  # One publisher that fails must not stop the others' time.
            self._driver.report(error)
        if len(self.whip):
            self._stop_pulse = self._driver.later(_INGEST_MS, self._pulse)


def _make_ingest(
    clock: Clock,
    lease: Lease,
    lines: Sequence[MediaLine],
    *,
    send_rtcp: Callable[[bytes], None],
    ended: Callable[[str], None],
) -> WebRtcIngest:
    return WebRtcIngest(lease, lines, send_rtcp=send_rtcp, clock=clock, ended=ended)


def _request_keyframe(stream: Stream) -> bool:
    """Asks the publisher; others than browsers cannot be asked."""
    publisher = stream.publisher
    if publisher is None or publisher.protocol is not Protocol.WHIP:
        return False
    stream.keyframes.request()
    return True
