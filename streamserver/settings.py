"""From the configuration to the settings of each part: the one place where their names meet."""

from dataclasses import replace
from ssl import SSLContext
from typing import Final

from streamserver.config import Config, HookAction, memory_bound
from streamserver.control.live_settings import LiveSettings
from streamserver.endpoints.http.connections import FrontSettings
from streamserver.endpoints.rtmp import RtmpSettings
from streamserver.endpoints.webrtc import RtcSettings
from streamserver.feeds.cmaf.settings import CmafSettings
from streamserver.hub.limits import LimitSettings
from streamserver.hub.registry import RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.names import StreamKey
from streamserver.outputs.fanout import FanOutSettings
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.rtmp.settings import SessionSettings
from streamserver.webrtc.mux import MuxSettings
from streamserver.webrtc.turn import IceServer

__all__ = [
    "cmaf_settings",
    "fan_out_settings",
    "feed_bounds",
    "front_settings",
    "hls_settings",
    "limit_settings",
    "live_registry_settings",
    "registry_settings",
    "rtmp_settings",
    "webrtc_settings",
]


_CMAF_LOG_MS: Final = 10_000
"""Milliseconds of parts that outputs may have yet to read; HLS reads each as it comes and keeps
a window of its own."""


def registry_settings(config: Config) -> RegistrySettings:
    """Of the hub."""
    return RegistrySettings(
        bounds=LogBounds(config.limits.log_max_ms, config.limits.log_max_bytes),
        reconnect_window_ms=int(config.server.reconnect_window_s * 1000),
        max_publishers=config.limits.max_publishers,
        takeover=config.server.takeover,
    )


def limit_settings(config: Config) -> LimitSettings:
    """Of those who come, and of publishers."""
    limits = config.limits
    return LimitSettings(
        viewers_per_stream=limits.viewers_per_stream,
        publishers_per_address=limits.publishers_per_address,
        publisher_bit_rate=limits.publisher_bit_rate,
    )


def live_registry_settings(
    settings: RegistrySettings, live: LiveSettings, stream: StreamKey
) -> RegistrySettings:
    """The same for one stream, as it is now."""
    return replace(
        settings,
        reconnect_window_ms=live.reconnect_window_ms(stream),
        takeover=live.takeover(stream),
        max_publishers=live.max_publishers,
    )


def feed_bounds(config: Config) -> LogBounds:
    """Of each feed of RTMP and FLV: a group of pictures that the packet log holds fits."""
    return LogBounds(config.limits.log_max_ms, memory_bound(config).live_log_bytes)


def fan_out_settings(config: Config) -> FanOutSettings:
    """Of the RTMP and FLV viewers."""
    return FanOutSettings(
        max_join_ms=config.rtmp.max_join_ms,
        max_lag_ms=int(config.rtmp.max_lag_s * 1000),
        max_unsent_bytes=config.limits.max_unsent_bytes,
    )


def cmaf_settings(config: Config) -> CmafSettings:
    """Of every stream's cmaf feed."""
    return CmafSettings(
        part_ms=config.hls.part_ms,
        segment_ms=config.hls.segment_s * 1000,
        target_duration_s=config.hls.target_duration_s,
        window_ms=_CMAF_LOG_MS,
        window_bytes=memory_bound(config).cmaf_log_bytes,
    )


def front_settings(config: Config) -> FrontSettings:
    """Of every HTTP listener."""
    return FrontSettings(
        max_connections=config.limits.max_connections,
        max_connections_per_address=config.limits.connections_per_address,
        max_unsent_bytes=config.limits.max_unsent_bytes,
    )


def hls_settings(config: Config) -> HlsSettings:
    """Of the HLS output."""
    limits = config.limits
    return HlsSettings(
        window_ms=config.hls.window_s * 1000,
        window_bytes=memory_bound(config).hls_window_bytes,
        sessions=config.hls.sessions,
        max_sessions_per_address=limits.hls_sessions_per_address,
        max_parked=limits.parked_requests,
    )


def rtmp_settings(config: Config, tls: SSLContext | None) -> RtmpSettings:
    """Of an RTMP listener, or an RTMPS one where there is a context."""
    rtmp, limits = config.rtmp, config.limits
    about = {HookAction.CONNECT, HookAction.DISCONNECT}
    asked = any(not about.isdisjoint(hook.actions) for hook in config.auth.hooks)
    return RtmpSettings(
        host=rtmp.host,
        port=rtmp.tls_port if tls else rtmp.port,
        tls=tls,
        proxy_protocol=rtmp.proxy_protocol,
        max_connections=limits.max_connections,
        max_connections_per_address=limits.connections_per_address,
        max_bytes_before_auth=limits.bytes_before_auth,
        session=SessionSettings(
            decide_connect=rtmp.adobe_auth or asked,
            chunk_size=rtmp.chunk_size,
            setup_timeout_ns=int(rtmp.setup_timeout_s * 1e9),
            idle_timeout_ns=int(rtmp.idle_timeout_s * 1e9),
            max_media_bytes=limits.max_message_bytes,
            max_held_bytes=limits.bytes_before_auth,
        ),
    )


def webrtc_settings(config: Config) -> RtcSettings:
    """Of the WebRTC listener, its publishers and its viewers."""
    webrtc = config.webrtc
    return RtcSettings(
        mux=MuxSettings(
            host=webrtc.host,
            port=webrtc.port,
            public_addresses=webrtc.public_addresses,
            max_peers=webrtc.max_peers,
        ),
        max_peers=webrtc.max_peers,
        max_peers_per_address=config.limits.connections_per_address,
        wait_for_stream_s=webrtc.wait_for_stream_s,
        ice_servers=tuple(
            IceServer(url=url, secret=one.secret, username=one.username, credential=one.credential)
            for one in webrtc.ice_servers
            for url in one.urls
        ),
        feed_bounds=feed_bounds(config),
    )
