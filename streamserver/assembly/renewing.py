"""Takes bounds that have changed over into what runs: for newcomers, at once.

Who is inside stays. What was made with a size (logs, windows, buffers) keeps it until a restart.
"""

from dataclasses import replace

from msgspec.structs import replace as changed

from streamserver.assembly.doors import Doors
from streamserver.assembly.ground import Ground
from streamserver.assembly.parts import Parts
from streamserver.auth.access import ban_settings
from streamserver.config import Config
from streamserver.control.live_settings import LiveSettings
from streamserver.endpoints.rtmp import RtmpSettings
from streamserver.settings import limit_settings, rtmp_settings

__all__ = ["keep_renewed"]


def keep_renewed(ground: Ground, parts: Parts, doors: Doors, settings: LiveSettings) -> None:
    """Does so now, and whenever the settings change. The doors are open."""
    others = settings.on_change

    def take_all() -> None:
        others()
        _take(settings.config, ground, parts, doors)

    settings.on_change = take_all
    take_all()


def _take(config: Config, ground: Ground, parts: Parts, doors: Doors) -> None:
    limits = config.limits
    parts.hub.limits.settings = limit_settings(config)
    parts.access.bans.settings = ban_settings(config.auth)
    for rtmp in doors.rtmp:
        rtmp.settings = _rtmp(rtmp.settings, config, ground.config)
    for http in doors.http:
        http.front_settings = replace(
            http.front_settings,
            max_connections=limits.max_connections,
            max_connections_per_address=limits.connections_per_address,
        )
    if doors.webrtc is not None:
        doors.webrtc.resources.max_per_address = limits.connections_per_address
    parts.hls.parking.max_parked = limits.parked_requests
    viewers = parts.hls.viewers
    viewers.settings = replace(
        viewers.settings, max_sessions_per_address=limits.hls_sessions_per_address
    )


def _rtmp(before: RtmpSettings, config: Config, started: Config) -> RtmpSettings:
    """Of ``[rtmp]`` nothing changes; hooks may now want to be asked about each connect."""
    fresh = rtmp_settings(changed(config, rtmp=started.rtmp), before.tls)
    return replace(
        before,
        max_connections=fresh.max_connections,
        max_connections_per_address=fresh.max_connections_per_address,
        max_bytes_before_auth=fresh.max_bytes_before_auth,
        session=fresh.session,
    )
