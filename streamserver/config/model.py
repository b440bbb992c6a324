"""Every setting, its default, its unit and its bounds. ``config.toml`` lists the same for people.

To add a key: a field here with a line under it, and the line in ``config.toml``. To add a
section: a struct here and a field of `Config`. Loader, environment, flags and ``check`` follow.
``[auth]`` has a module of its own, `streamserver.config.auth_model`.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from streamserver.config.auth_model import AuthConfig
from streamserver.config.secret import Secret
from streamserver.config.units import Bytes, Count, Port, Seconds

__all__ = [
    "Config",
    "DestinationConfig",
    "HlsConfig",
    "HttpConfig",
    "IceServerConfig",
    "LimitsConfig",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "OpusForm",
    "OutgoingConfig",
    "RtmpConfig",
    "ServerConfig",
    "StorageConfig",
    "StreamConfig",
    "Takeover",
    "Transcode",
    "WebhookConfig",
    "WebrtcConfig",
]

_MIB = 1024 * 1024


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class OpusForm(StrEnum):
    """What players of HLS, RTMP and FLV get of Opus."""

    AAC = "aac"
    KEEP = "keep"


class Takeover(StrEnum):
    """When a newcomer takes the place of the publisher that a stream has."""

    SILENT = "silent"
    """When that one has sent nothing for 2 s."""

    ALWAYS = "always"
    """At once: the last one to come publishes."""

    REFUSE = "refuse"
    """Never: the first one has to leave, or to be noticed as dead."""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: the process as a whole."""

    apps: tuple[str, ...] = ()
    """The apps under which streams may live; empty: any."""

    reconnect_window_s: Annotated[float, Meta(ge=0, le=3600)] = 15
    """How long a stream waits for its publisher to come back; viewers stay meanwhile."""

    takeover: Takeover = Takeover.SILENT
    """What a second publisher of the same name meets, once it has shown that it may publish."""

    drain_timeout_s: Annotated[float, Meta(ge=0, le=3600)] = 10
    """How long a stopping server waits for its viewers and publishers to leave."""

    opus: OpusForm = OpusForm.AAC
    """What becomes of Opus for HLS, RTMP, FLV and destinations: ``aac``, which every player and
    platform takes, or ``keep``."""

    slate: str = ""
    """A still picture or a short file that viewers see while a publisher is away; empty: none."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[log]``: what is written to standard output."""

    level: LogLevel = LogLevel.INFO
    """The least severity that is written."""

    format: LogFormat = LogFormat.AUTO
    """``auto`` is text on a terminal and JSON lines elsewhere."""


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[http]``: pages, HLS, API and metrics."""

    host: str = ""
    """The address to listen on; empty: all, IPv6 included."""

    port: Port = 8080
    """The HTTP port; 0: any free one."""

    https_port: Port = 8443
    """The HTTPS port, opened when there is a certificate; 0: any free one."""

    cert_file: str = ""
    """The certificate chain (PEM); read again when the file changes."""

    key_file: str = ""
    """The private key (PEM) of ``cert_file``."""

    base_path: Annotated[str, Meta(pattern=r"\A(/[A-Za-z0-9._~-]+)*\Z")] = ""
    """The path under which everything is mounted, such as ``/video``; empty: the root."""

    public_url: Annotated[str, Meta(pattern=r"\A(https?://[^\s/?#@]+(/[^\s?#]*[^\s?#/])?)?\Z")] = ""
    """How the world reaches this server, such as ``https://live.example.org``; no slash at the
    end. Empty: as the request says."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the proxies whose word on the client's address counts."""

    cors_origins: tuple[str, ...] = ("*",)
    """The origins of pages that may read media; ``*``: any. The API is opened by ``[api]``."""

    public_viewer_count: bool = False
    """Whether everyone may read how many watch a stream."""


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[api]``: who may call the API besides programs."""

    cors_origins: tuple[str, ...] = ()
    """The origins of pages that may call it, with a token; ``*``: any. Empty: only its own."""


class RtmpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[rtmp]``: the encoders' door."""

    host: str = ""
    """The address to listen on; empty: all, IPv6 included."""

    port: Port = 1935
    """The RTMP port; 0: any free one."""

    tls_port: Port = 1936
    """The RTMPS port, opened when there is a certificate; 0: any free one."""

    cert_file: str = ""
    """The certificate chain (PEM) for RTMPS."""

    key_file: str = ""
    """The private key (PEM) of ``cert_file``."""

    proxy_protocol: bool = False
    """Whether connections from ``http.trusted_proxies`` begin with a PROXY protocol header."""

    adobe_auth: bool = False
    """Whether encoders that bring no key are asked for user and password, as Wowza does; the
    password is one of ``auth.keys``. Encoders without these two fields are then refused."""

    chunk_size: Annotated[int, Meta(ge=128, le=16 * _MIB - 1)] = 65536
    """The size in bytes of the chunks that we send."""

    setup_timeout_s: Seconds = 10
    """Within this time from the first byte a connection publishes or plays, or is closed."""

    idle_timeout_s: Seconds = 8
    """A publisher that sends no media for this long is closed."""

    wait_for_stream_s: Annotated[float, Meta(ge=0, le=3600)] = 10
    """How long a player, over RTMP or FLV, waits for a stream that is not live; 0: it is refused at
    once."""

    max_join_ms: Annotated[int, Meta(ge=0, le=1000)] = 100
    """What is sent to many RTMP and FLV viewers at once is joined for up to this time; a few get
    everything as it comes. To destinations everything goes joined for two and a half times as
    long, up to 500 ms or this time, whichever is more."""

    max_lag_s: Annotated[float, Meta(ge=1, le=600)] = 10
    """An RTMP or FLV viewer that is further behind is closed; before, it loses frames."""


class IceServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``[webrtc] ice_servers``: a STUN or TURN server that clients are told of."""

    urls: tuple[str, ...]
    """``stun:host:port``, ``turn:host:port?transport=udp``, ``turns:…``."""

    username: str = ""
    """The user name; with ``secret``, what stands behind the time in it."""

    credential: Secret = Secret("")
    """The password."""

    secret: Secret = Secret("")
    """In place of ``credential``: what the TURN server shares with us (coturn's
    ``static-auth-secret``); every client gets credentials of its own that run out."""


class Transcode(StrEnum):
    """What becomes of video that browsers cannot play over WebRTC."""

    AUTO = "auto"
    """It is converted, in a process of its own, while somebody watches."""

    NEVER = "never"
    """Players are told what the publisher would have to change."""


class WebrtcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[webrtc]``: browsers that publish and play."""

    enabled: bool = True
    """Whether there is WebRTC at all."""

    host: str = ""
    """The address to listen on; empty: all, IPv6 included."""

    port: Port = 8189
    """The port of all WebRTC media, UDP and TCP; 0: any free one."""

    public_addresses: tuple[str, ...] = ("auto",)
    """Addresses or host names under which clients reach that port; ``auto``: those of this host's
    interfaces."""

    ice_servers: tuple[IceServerConfig, ...] = ()
    """STUN and TURN servers that clients are told of."""

    wait_for_stream_s: Annotated[float, Meta(ge=0, le=60)] = 2
    """How long a player waits for a stream that is not live; 0: it is refused at once."""

    max_peers: Count = 2000
    """Publishers and viewers over WebRTC at once."""

    transcode: Transcode = Transcode.NEVER
    """Whether video that browsers cannot play over WebRTC (B-frames, 4:2:2, 10 bits, a codec that
    a browser does not know) is converted while somebody watches."""


class HlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[hls]``: low-latency HLS."""

    part_ms: Annotated[int, Meta(ge=100, le=2000)] = 333
    """The length of a part; the latency is about three of them."""

    segment_s: Annotated[int, Meta(ge=1, le=10)] = 2
    """A segment ends at the first keyframe after this time."""

    target_duration_s: Annotated[int, Meta(ge=0, le=60)] = 0
    """The longest segment that the playlist announces; 0: taken from the first group of
    pictures."""

    window_s: Annotated[int, Meta(ge=3, le=3600)] = 8
    """How much media a playlist lists; never less than four target durations. VLC begins at its far
    end, so more media means more delay there."""

    sessions: bool = True
    """Whether each viewer gets a playlist address of its own and is counted; ``false`` lets a
    plain CDN cache every object."""


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[storage]``: what outlives the process."""

    path: str = ""
    """The directory; empty: the state directory of the platform."""


class OutgoingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[outgoing]``: connections that this server makes."""

    allow_private: bool = True
    """Whether they may go to loopback, private and link-local addresses; ``false`` where people
    that you do not know set destinations."""

    ca_file: str = ""
    """Certificate authorities (PEM) to believe besides the system's."""


class DestinationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[destinations]]``."""

    stream: str
    """The stream that is sent on, ``app/name``."""

    url: Secret
    """Where to: ``rtmp://`` or ``rtmps://host/app/key``."""

    name: Annotated[str, Meta(max_length=128)] = ""
    """What people call it."""

    enabled: bool = True
    """Whether it is sent; ``false``: paused."""


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[webhooks]]``."""

    url: Secret
    """Where events are sent to: ``http://`` or ``https://``."""

    name: Annotated[str, Meta(max_length=128)] = ""
    """What people call it."""

    events: tuple[str, ...] = ("*",)
    """Types of events, groups (``viewer.*``) or ``*``; the figures ``viewers.count`` and
    ``stream.stats`` come only where they are named in full."""

    streams: tuple[str, ...] = ("*",)
    """``app/name``, ``app/*`` or ``*``."""

    secret: Secret = Secret("")
    """Signs what is sent; empty: not signed."""

    enabled: bool = True
    """Whether events are sent; ``false``: paused."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10
    """Within this time the far side has answered."""


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[streams."app/name"]``: a stream that the server fetches itself, or that has a slate of
    its own; ``[streams."app/*"]``: a slate for all streams of an app."""

    slate: str = ""
    """As ``server.slate``."""

    source: Secret = Secret("")
    """Where from: RTMP or RTMPS (``rtmp://host/app/name``), HLS (``https://…m3u8``), RTSP, or SRT
    (``srt://…``, where an ``ffmpeg`` command is installed)."""

    source_on_demand: bool = False
    """Whether it is fetched only while somebody watches; else always."""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``: the bounds that keep one peer from taking everything."""

    log_max_ms: Annotated[int, Meta(ge=1000, le=600_000)] = 12_000
    """How much media the packet log of a stream holds."""

    log_max_bytes: Bytes = 16 * _MIB
    """The same in bytes; the smaller bound wins."""

    max_stream_memory_bytes: Bytes = 176 * _MIB
    """All that one stream may hold: its packet log, the logs made of it and its HLS windows."""

    max_unsent_bytes: Bytes = _MIB
    """What may wait in the transport of one viewer before it is passed over."""

    max_message_bytes: Annotated[int, Meta(ge=64 * 1024, le=16 * _MIB - 1)] = 8 * _MIB
    """The largest RTMP media message that is taken."""

    max_publishers: Count = 100
    """Streams that may be live at once."""

    publishers_per_address: Count = 20
    """Streams that one address may publish at once; this machine may publish more."""

    publisher_bit_rate: Annotated[int, Meta(ge=100_000, le=10_000_000_000)] = 100_000_000
    """Bits per second of one publisher, over five seconds; beyond, it is closed."""

    viewers_per_stream: Count = 5_000
    """Viewers of one stream at once, over all protocols."""

    bytes_before_auth: Annotated[int, Meta(ge=64 * 1024, le=64 * _MIB)] = 2 * _MIB
    """Bytes that an RTMP connection may send before it was let in."""

    max_connections: Count = 10_000
    """Connections over all ports."""

    connections_per_address: Count = 1_000
    """Connections from one address; a school or an office often is one."""

    hls_sessions_per_address: Count = 1_000
    """HLS viewers from one address."""

    parked_requests: Count = 10_000
    """HLS requests that may wait for the next part at once."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings; ``Config()`` is the default and works."""

    destinations: tuple[DestinationConfig, ...] = ()
    """Where streams are sent on to; first, for in a file it stands before every section."""

    webhooks: tuple[WebhookConfig, ...] = ()
    """Where events are sent to."""

    streams: dict[str, StreamConfig] = {}
    """Streams that the server fetches itself, by ``app/name``."""

    server: ServerConfig = ServerConfig()
    """The process as a whole."""

    log: LogConfig = LogConfig()
    """What is logged."""

    http: HttpConfig = HttpConfig()
    """Pages, HLS, API and metrics."""

    api: ApiConfig = ApiConfig()
    """The API, for pages of other origins."""

    rtmp: RtmpConfig = RtmpConfig()
    """The encoders' door."""

    webrtc: WebrtcConfig = WebrtcConfig()
    """Browsers that publish and play."""

    hls: HlsConfig = HlsConfig()
    """Low-latency HLS."""

    auth: AuthConfig = AuthConfig()
    """Who may."""

    storage: StorageConfig = StorageConfig()
    """What outlives the process."""

    outgoing: OutgoingConfig = OutgoingConfig()
    """Connections that this server makes."""

    limits: LimitsConfig = LimitsConfig()
    """The bounds."""
