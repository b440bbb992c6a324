"""Puts the parts together that fetch configured streams, for the composition root."""

import random
from collections.abc import Callable
from functools import partial

from streamserver.clock import Clock
from streamserver.config import Config
from streamserver.control.publishing import Publishing
from streamserver.errors import ConfigError, RefusedError
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import SessionTable
from streamserver.ingest.pull import Pulls, Source
from streamserver.ingest.pull_child import ChildPull, FarUrl
from streamserver.ingest.pull_rtmp import PullConnection, RtmpPull
from streamserver.names import StreamKey
from streamserver.net.backoff import Backoff
from streamserver.net.dial import DialSettings, dial
from streamserver.net.guard import OutgoingGuard
from streamserver.net.resolver import Resolver
from streamserver.net.tls import outgoing_context
from streamserver.rtmp.target import PublishTarget, parse_target

__all__ = ["make_pulls"]


def make_pulls(
    config: Config,
    *,
    registry: Registry,
    sessions: SessionTable,
    publishing: Publishing,
    resolver: Resolver,
    clock: Clock,
) -> Pulls:
    """The sources of ``[streams]``; none of them is begun. Raises `ConfigError`."""
    sources = [
        _source(name, stream.source.reveal(), stream.source_on_demand)
        for name, stream in config.streams.items()
        if stream.source.reveal()
    ]
    guard = OutgoingGuard(resolver, allow_private=config.outgoing.allow_private)
    # Reading the system's authorities takes some milliseconds, which most servers need not spend.
    dialing = DialSettings(tls=outgoing_context(config.outgoing.ca_file)) if sources else None

    async def connect(target: PublishTarget, connection: PullConnection) -> None:
        assert dialing is not None
        await dial(target, guard, dialing, connection)

    rtmp = RtmpPull(dial=connect, open_publisher=publishing.open_internal, clock=clock)
    child = ChildPull(
        open_publisher=publishing.open_internal, clock=clock, check_host=guard.addresses
    )

    async def attempt(source: Source, began: Callable[[], None]) -> None:
        await (child if isinstance(source.target, FarUrl) else rtmp)(source, began)

    return Pulls(
        sources,
        attempt=attempt,
        registry=registry,
        sessions=sessions,
        make_delays=partial(Backoff, random.randint),
    )


def _source(name: str, url: str, on_demand: bool) -> Source:
    try:
        is_rtmp = url.lower().startswith(("rtmp://", "rtmps://"))
        target = parse_target(url) if is_rtmp else FarUrl.parse(url)
        return Source(StreamKey.parse(name), target, on_demand)
    except (RefusedError, ConfigError) as error:
        raise ConfigError(f'streams."{name}".source: {error}') from error
