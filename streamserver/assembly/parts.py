"""What stands behind the doors of a server."""

from dataclasses import dataclass

from streamserver.assembly.hub import Hub
from streamserver.assembly.outputs import Live
from streamserver.auth import Access
from streamserver.control.apps import Apps
from streamserver.control.eventing import Eventing
from streamserver.outputs.destinations.manager import Destinations
from streamserver.outputs.hls.output import HlsOutput
from streamserver.storage import Storage

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that is there before a port is served."""

    hub: Hub
    """Streams and sessions."""

    apps: Apps
    """Those that exist."""

    storage: Storage
    """What outlives the process."""

    access: Access
    """Who may."""

    events: Eventing
    """What happened, and who is told."""

    hls: HlsOutput
    """Playlists and segments."""

    live: Live
    """RTMP and FLV."""

    destinations: Destinations
    """Where streams are sent on to."""
