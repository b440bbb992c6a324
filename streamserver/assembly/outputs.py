"""What reads the streams: HLS, RTMP and FLV, destinations; and what is pulled in."""

from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from urllib.parse import urlsplit

from streamserver.assembly.ground import Ground
from streamserver.assembly.hub import Hub
from streamserver.auth import Access
from streamserver.control.playing import PlayGate
from streamserver.control.publishing import Publishing
from streamserver.control.pulling import make_pulls
from streamserver.control.watching import Watching
from streamserver.feeds.cmaf.feed import CmafFeed
from streamserver.feeds.cmaf.settings import CmafSettings
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.ffmpeg.ts_support import supports
from streamserver.hub.driver import Driver
from streamserver.hub.sources import SourceHold
from streamserver.ingest.pull import Pulls
from streamserver.net.addresses import lan_address
from streamserver.outputs.destinations.assembly import (
    body_holder,
    configured_destinations,
    make_destinations,
)
from streamserver.outputs.destinations.loops import OwnDoors
from streamserver.outputs.destinations.manager import Destinations
from streamserver.outputs.hls.channel import TsMaker
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.live import LiveOutput
from streamserver.settings import cmaf_settings, fan_out_settings, feed_bounds, hls_settings
from streamserver.storage import Storage

__all__ = ["Live", "make_hls", "make_live", "open_destinations", "start_pulls"]


@dataclass(frozen=True, slots=True)
class Live:
    """Viewers of RTMP and FLV: who may, and who sends."""

    watching: Watching
    """Asked about every viewer."""

    output: LiveOutput
    """Feeds them."""


def make_hls(
    ground: Ground, hub: Hub, access: Access, executor: MediaExecutor, secret: bytes
) -> HlsOutput:
    """HLS of all streams; ``secret`` signs its sessions."""
    output = HlsOutput(
        clock=ground.clock,
        slicer=hub.driver.slicer,
        sessions=hub.sessions,
        settings=hls_settings(ground.config),
        secret=secret,
        make_feed=partial(_make_feed, cmaf_settings(ground.config), hub.driver),
        ts=TsMaker(partial(executor.run, _remux), supports),
        authorize=PlayGate(access.decider, ground.is_local, hub.registry.demand).check_hls,
        sources=hub.sources,
        is_revoked=access.is_revoked,
        limits=hub.limits,
    )
    hub.registry.add_listener(output)
    hub.driver.add_ticker(output.tick)
    return output


def _remux(init: bytes, media: bytes, counters: dict[int, int]) -> bytes:
    # Late, and in a thread: the server's start needs no FFmpeg (`assembly.late`).
    from streamserver.ffmpeg.ts import remux_segment

    return remux_segment(init, media, counters)


def _make_feed(
    settings: CmafSettings, driver: Driver, source: SourceHold, first_msn: int, position: int
) -> CmafFeed:
    return CmafFeed(source.tracks_of, first_msn, settings, driver.schedule, position=position)


def make_live(ground: Ground, hub: Hub, access: Access) -> Live:
    """RTMP and FLV of all streams."""
    output = LiveOutput(
        driver=hub.driver,
        feeds=hub.feeds,
        clock=ground.clock,
        bounds=feed_bounds(ground.config),
        settings=fan_out_settings(ground.config),
        chunk_size=ground.config.rtmp.chunk_size,
        sources=hub.sources,
    )
    hub.driver.add_ticker(output.tick)
    watching = Watching(hub.registry, hub.sessions, access.decider, ground.clock, limits=hub.limits)
    return Live(watching, output)


async def open_destinations(
    ground: Ground, hub: Hub, storage: Storage, authorities: SSLContext
) -> Destinations:
    """Those of the configuration and of the storage. Raises `ConfigError` and `StorageError`."""
    config, facts = ground.config, ground.facts
    public_host = urlsplit(config.http.public_url).hostname
    names = {config.rtmp.host, config.http.host, public_host or "", lan_address()} - {""}
    destinations = make_destinations(
        registry=hub.registry,
        hold=body_holder(hub.feeds, hub.driver, feed_bounds(config), hub.sources),
        sources=hub.sources,
        resolver=ground.resolver,
        doors=OwnDoors(facts.rtmp_ports, frozenset(names)),
        storage=storage,
        clock=ground.clock,
        allow_private=config.outgoing.allow_private,
        tls=authorities,
        max_join_ms=config.rtmp.max_join_ms,
    )
    await destinations.load(configured_destinations(config))
    hub.registry.add_listener(destinations)
    return destinations


def start_pulls(ground: Ground, hub: Hub, publishing: Publishing) -> Pulls:
    """Begins with the configured sources that are always pulled."""
    pulls = make_pulls(
        ground.config,
        registry=hub.registry,
        sessions=hub.sessions,
        publishing=publishing,
        resolver=ground.resolver,
        clock=ground.clock,
    )
    hub.registry.add_listener(pulls)
    hub.registry.add_supplier(pulls.supply)
    hub.driver.add_ticker(pulls.tick, seldom=True)
    pulls.start()
    return pulls
