"""Puts the parts of destinations together, for the composition root."""

import ssl
from typing import Final

from streamserver.clock import Clock
from streamserver.config import Config
from streamserver.feeds.body import BodyFeed
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedHold, FeedPool
from streamserver.hub.registry import Registry
from streamserver.hub.sources import OwnPackets, Sources
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.flv_writer import Dialect
from streamserver.net.dial import DialSettings
from streamserver.net.guard import OutgoingGuard
from streamserver.net.resolver import Resolver
from streamserver.outputs.destinations.loops import OwnDoors
from streamserver.outputs.destinations.manager import ConfiguredDestination, Destinations
from streamserver.outputs.destinations.push import HoldBodies, PushSettings, RtmpPush
from streamserver.storage import Storage

__all__ = ["body_holder", "configured_destinations", "join_ms", "make_destinations"]

_MOST_JOIN_MS: Final = 500
"""What destinations wait longer than viewers for ends here."""


def body_holder(
    feeds: FeedPool, driver: Driver, bounds: LogBounds, sources: Sources | None = None
) -> HoldBodies:
    """Shares in the bodies of a stream: the same that viewers of RTMP and FLV read.

    Without ``sources`` they are made of what the publisher sends.
    """
    taken_from = sources or OwnPackets()

    def hold(stream: Stream, dialect: Dialect) -> FeedHold[BodyFeed]:
        source = taken_from.hold(stream)
        packets, tracks_of = source.packets, source.tracks_of
        return feeds.hold(
            packets,
            ("body", dialect),
            lambda: BodyFeed(
                packets, tracks_of, dialect, bounds, driver.schedule, lag_ms=source.lag_ms
            ),
            parent=source.share,
            push=False,
        )

    return hold


def join_ms(max_join_ms: int) -> int:
    """How long what goes to destinations is joined where it is ``max_join_ms`` for viewers.

    Two and a half times as long, 250 ms for 100: a write costs as much as its bytes, over TLS and
    on the far side too, whose own players buffer for seconds.
    """
    return max(max_join_ms, min(max_join_ms * 5 // 2, _MOST_JOIN_MS))


def configured_destinations(config: Config) -> list[ConfiguredDestination]:
    """Those of a configuration."""
    return [
        ConfiguredDestination(one.stream, one.url.reveal(), one.name, one.enabled)
        for one in config.destinations
    ]


def make_destinations(
    *,
    registry: Registry,
    hold: HoldBodies,
    sources: Sources | None = None,
    resolver: Resolver,
    doors: OwnDoors,
    storage: Storage,
    clock: Clock,
    tls: ssl.SSLContext,
    allow_private: bool = True,
    max_join_ms: int = 100,
) -> Destinations:
    """All destinations, over RTMP and RTMPS.

    ``hold`` is a `body_holder`, made with the same ``sources``.
    ``tls`` is whom to believe, see `streamserver.net.tls.outgoing_context`; ``allow_private`` as in
    ``[outgoing]``, ``max_join_ms`` as in ``[rtmp]``.
    """
    guard = OutgoingGuard(resolver, allow_private=allow_private)
    push = RtmpPush(
        guard=guard,
        dialing=DialSettings(tls=tls),
        hold=hold,
        clock=clock,
        settings=PushSettings(max_join_ms=join_ms(max_join_ms)),
        sources=sources,
    )
    return Destinations(
        registry=registry, push=push, guard=guard, doors=doors, storage=storage, clock=clock
    )
