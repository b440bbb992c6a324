"""Puts the parts together that show slates, for the composition root."""

from streamserver.clock import Clock
from streamserver.config import Config
from streamserver.control.live_settings import LiveSettings
from streamserver.hub.driver import Driver
from streamserver.hub.registry import Registry
from streamserver.ingest.slates import Slates, run_child
from streamserver.names import StreamKey

__all__ = ["make_slates", "slate_of"]


def slate_of(config: Config, stream: StreamKey) -> str:
    """The file for a stream: its own, its app's, the server's; or nothing."""
    for pattern in (str(stream), f"{stream.app}/*"):
        found = config.streams.get(pattern)
        if found is not None and found.slate:
            return found.slate
    return config.server.slate


def make_slates(live: LiveSettings, registry: Registry, driver: Driver, clock: Clock) -> Slates:
    """The slates, listening; a reload of the configuration counts from the next start on."""
    slates = Slates(
        path_of=lambda stream: slate_of(live.loaded.config, stream),
        make=run_child,
        later=driver.later,
        now_ns=clock.monotonic_ns,
    )
    registry.add_listener(slates)
    return slates
