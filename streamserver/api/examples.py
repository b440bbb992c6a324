"""One example of each answer, for the OpenAPI document."""

from typing import Final

import msgspec
from msgspec import structs

from streamserver.api.credential_routes import CREDENTIAL_EXAMPLES
from streamserver.api.handlers import Probe
from streamserver.api.problems import Problem
from streamserver.api.settings_routes import SETTINGS_EXAMPLES
from streamserver.api.stream_routes import STREAM_EXAMPLES
from streamserver.control.models import (
    Destination,
    DestinationChange,
    DestinationError,
    DestinationPage,
    Health,
    Link,
    Listener,
    NewDestination,
    Publisher,
    ServerInfo,
    ServerState,
    ServerTotals,
    SessionInfo,
    SessionPage,
    Severity,
    StreamInfo,
    StreamPage,
    StreamUrls,
    StreamViewers,
    TrackInfo,
    Viewer,
    ViewerCount,
    ViewerPage,
    ViewersByProtocol,
)
from streamserver.control.stream_models import RegisteredStream
from streamserver.control.webhook_models import (
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookDeliveryPage,
    WebhookError,
    WebhookPage,
)
from streamserver.outputs.destinations.failures import ErrorClass
from streamserver.outputs.destinations.states import DestinationState
from streamserver.webhooks.endpoint import WebhookState
from streamserver.webhooks.outbox import DeliveryState

__all__ = ["EXAMPLES"]

_BY_PROTOCOL: Final = ViewersByProtocol(hls=12, whep=0, rtmp=0, flv=0)
_COUNT: Final = ViewerCount(total=12, by_protocol=_BY_PROTOCOL)

_DESTINATION: Final = Destination(
    id="9c1f0a53be2d7e44",
    name="YouTube",
    url="rtmps://a.rtmps.youtube.com/live2/ab12****",
    enabled=True,
    state=DestinationState.BACKOFF,
    since="2026-11-20T10:59:02.310Z",
    bytes_sent=181_220_004,
    bit_rate=0,
    queued_ms=0,
    dropped_frames=0,
    reconnects=1,
    last_error=DestinationError(
        class_=ErrorClass.REJECTED,
        message="Stream key is in use (NetStream.Publish.BadName)",
        at="2026-11-20T10:59:02.310Z",
    ),
    next_attempt_at="2026-11-20T10:59:05.882Z",
    rtt_ms=None,
)

_STREAM: Final = StreamInfo(
    app="live",
    name="demo",
    session_id="6f1c2a9be04d7715",
    title="",
    state="live",
    registered=False,
    started_at="2026-11-20T10:48:00.120Z",
    uptime_s=754,
    publisher=Publisher(
        id="p-5f0c7f7be1",
        protocol="rtmp",
        remote_ip="192.0.2.7",
        user_agent="FMLE/3.0 (compatible; FMSc/1.0)",
        link=None,
    ),
    tracks=[
        TrackInfo(
            kind="video", codec="h264", profile="High", width=1280, height=720, fps=29.97,
            sample_rate=None, channels=None, bit_rate=2_502_144,
        ),
        TrackInfo(
            kind="audio", codec="aac", profile="LC", width=None, height=None, fps=None,
            sample_rate=48_000, channels=2, bit_rate=159_840,
        ),
    ],
    bit_rate=2_661_984,
    keyframe_interval_s=8.333,
    viewers=StreamViewers(total=12, by_protocol=_BY_PROTOCOL, peak=31),
    health=[
        Health(
            code="keyframe_interval",
            severity=Severity.WARNING,
            message="Keyframes are 8.3 s apart: viewers wait that long to join, and the delay "
            "grows. In OBS: Settings → Output → Output Mode: Advanced → Keyframe Interval: 2 s; "
            "in ffmpeg: -g with twice the frame rate.",
        )
    ],
    destinations=[_DESTINATION],
    record=False,
    metadata={},
    urls=StreamUrls(
        hls="hls/live/demo/index.m3u8", whep="whep/live/demo", flv="flv/live/demo", rtmp=None,
        play="play/live/demo",
    ),
)  # fmt: skip

_REGISTERED: Final = RegisteredStream(
    **{
        **structs.asdict(_STREAM),
        "name": "show",
        "session_id": None,
        "title": "The morning show",
        "state": "idle",
        "registered": True,
        "started_at": None,
        "uptime_s": 0,
        "publisher": None,
        "tracks": [],
        "bit_rate": 0,
        "keyframe_interval_s": None,
        "viewers": StreamViewers(
            total=0, by_protocol=ViewersByProtocol(hls=0, whep=0, rtmp=0, flv=0), peak=0
        ),
        "health": [],
        "metadata": {"owner": 42},
        "urls": StreamUrls(
            hls="hls/live/show/index.m3u8", whep="whep/live/show", flv="flv/live/show", rtmp=None,
            play="play/live/show",
        ),
    },
    publish_key="aebagbafaydqqcikbmga2dqpcaireeyu",
)  # fmt: skip

_VIEWER: Final = Viewer(
    id="v-0b6ad2c4f1",
    protocol="whep",
    remote_ip="198.51.100.23",
    user_agent="Mozilla/5.0 (X11; Linux x86_64) Chrome/150",
    joined_at="2026-11-20T10:59:31.004Z",
    bytes_sent=21_004_882,
    bit_rate=2_660_112,
    lag_ms=0,
    dropped_frames=0,
    link=Link(
        protocol="udp", local="203.0.113.7:8189", remote="198.51.100.23:51044", rtt_ms=31.0,
        jitter_ms=2.0, packets=20_114, lost=41, loss_percent=0.204, recovered=41, nacks=43, plis=1,
    ),
)  # fmt: skip

_SESSION: Final = SessionInfo(
    id="p-5f0c7f7be1",
    action="publish",
    protocol="rtmp",
    stream="live/demo",
    remote_ip="192.0.2.7",
    user_agent="FMLE/3.0 (compatible; FMSc/1.0)",
    joined_at="2026-11-20T10:48:00.002Z",
    bytes_received=250_901_220,
    bytes_sent=0,
    bit_rate=2_661_984,
    lag_ms=0,
    dropped_frames=0,
    link=None,
)

_SERVER: Final = ServerInfo(
    version="0.1.0",
    state=ServerState.READY,
    started_at="2026-11-20T08:00:00.000Z",
    uptime_s=10_834,
    listeners=[
        Listener(name="rtmp", host="", port=1935, tls=False),
        Listener(name="http", host="", port=8080, tls=False),
    ],
    totals=ServerTotals(
        streams=1,
        publishers=1,
        viewers=_COUNT,
        bytes_received=250_901_220,
        bytes_sent=1_820_400_021,
        bit_rate_in=2_661_984,
        bit_rate_out=31_921_344,
    ),
    last_event_id="12-4711",
)

_WEBHOOK: Final = Webhook(
    id="4f0a9c7be1d35526",
    name="backend",
    url="https://example.org/hooks/live",
    events=["stream.*", "server.*"],
    streams=["live/*"],
    enabled=True,
    timeout_s=10,
    configured=False,
    signed=True,
    secret=None,
    state=WebhookState.BACKOFF,
    queued=3,
    delivered=118,
    failed=0,
    dropped=0,
    last_error=WebhookError(message="answered with status 503", at="2026-11-20T10:59:02.310Z"),
    next_attempt_at="2026-11-20T10:59:05.882Z",
)

_DELIVERY: Final = WebhookDelivery(
    event_id="12-4711",
    type="stream.started",
    stream="live/demo",
    created_at="2026-11-20T10:59:02.100Z",
    state=DeliveryState.PENDING,
    attempts=1,
    status=503,
    duration_ms=210,
    error="answered with status 503",
    next_attempt_at="2026-11-20T10:59:05.882Z",
    finished_at=None,
)

EXAMPLES: Final[dict[type[msgspec.Struct], msgspec.Struct]] = {
    type(example): example
    for example in (
        _SERVER,
        _STREAM,
        _DESTINATION,
        DestinationPage(items=[_DESTINATION], total=1),
        NewDestination(url="rtmps://a.rtmps.youtube.com/live2/ab12-cd34-ef56", name="YouTube"),
        DestinationChange(enabled=False),
        StreamPage(items=[_STREAM], total=1),
        ViewerPage(items=[_VIEWER], total=12),
        SessionPage(items=[_SESSION], total=13),
        _WEBHOOK,
        WebhookPage(items=[_WEBHOOK], total=1),
        NewWebhook(url="https://example.org/hooks/live", events=("stream.*", "server.*")),
        WebhookChange(enabled=False),
        WebhookDeliveryPage(items=[_DELIVERY], total=101),
        _COUNT,
        *CREDENTIAL_EXAMPLES,
        *STREAM_EXAMPLES,
        *SETTINGS_EXAMPLES,
        _REGISTERED,
        Probe(status="ok"),
        Problem(type="about:blank", title="Not Found", status=404, detail="live/demo is not live"),
    )
}
"""By type."""
