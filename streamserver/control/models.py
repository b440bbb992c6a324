"""What the operations answer: the shapes of the API, field for field (interface, API v1).

Every field is always present. Fields of capabilities that are still to come (recording)
carry what is true now: nothing. Rates are bits per second,
sizes bytes, times RFC 3339 in UTC with milliseconds.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streamserver.outputs.destinations.failures import ErrorClass
from streamserver.outputs.destinations.states import DestinationState

__all__ = [
    "Destination",
    "DestinationChange",
    "DestinationError",
    "DestinationPage",
    "Health",
    "Link",
    "Listener",
    "NewDestination",
    "Publisher",
    "ServerInfo",
    "ServerState",
    "ServerTotals",
    "SessionInfo",
    "SessionPage",
    "Severity",
    "StreamInfo",
    "StreamPage",
    "StreamUrls",
    "StreamViewers",
    "TrackInfo",
    "Viewer",
    "ViewerCount",
    "ViewerPage",
    "ViewersByProtocol",
]


def _says(text: str) -> Meta:
    """What a field means; the OpenAPI document carries it on."""
    return Meta(description=text)


Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, UTC, milliseconds."""

Count = Annotated[int, Meta(ge=0)]
"""A number of things."""


class Severity(StrEnum):
    """How much a health note matters."""

    INFO = "info"
    """Worth knowing; viewers notice nothing."""

    WARNING = "warning"
    """Viewers get less than they could."""

    ERROR = "error"
    """Viewers are missing something."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a stream that could be better."""

    code: Annotated[str, _says("Stable name of the finding, for programs.")]
    severity: Annotated[Severity, _says("How much it matters.")]
    message: Annotated[str, _says("What it is and what to do, for people.")]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection over WebRTC fares. Counts are since it began."""

    protocol: Annotated[str, _says("What carries it: udp or tcp; empty before it is connected.")]
    local: Annotated[str, _says("Our address and port.")]
    remote: Annotated[str, _says("The client's address and port, as they are seen here.")]
    rtt_ms: Annotated[float | None, _says("Round trip; null before it is known.")]
    jitter_ms: Annotated[float, _says("Variation of the transit time of media.")]
    packets: Annotated[Count, _says("Packets of media, to a viewer or from a publisher.")]
    lost: Annotated[Count, _says("Of them, those that did not arrive at the first try.")]
    loss_percent: Annotated[float, _says("The same in percent.")]
    recovered: Annotated[Count, _says("Packets that were sent again.")]
    nacks: Annotated[Count, _says("Packets that were asked for again.")]
    plis: Annotated[Count, _says("Keyframes that were asked for.")]


_LINK = _says("How its packets fare, over WebRTC; null for other protocols.")


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a stream."""

    id: Annotated[str, _says("Session id; see GET /api/v1/sessions.")]
    protocol: Annotated[str, _says("rtmp, whip or internal.")]
    remote_ip: Annotated[str, _says("Address, as trusted proxies tell it.")]
    user_agent: Annotated[str, _says("What the encoder calls itself.")]
    link: Annotated[Link | None, _LINK]


class TrackInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One track of a stream. What does not apply to its kind is null."""

    kind: Annotated[str, _says("video, audio or data.")]
    codec: Annotated[str, _says("h264, h265, av1, vp8, vp9, aac, opus or mp3.")]
    profile: Annotated[str, _says("Profile as people know it, such as High; empty if unknown.")]
    width: Annotated[Count | None, _says("Pixels.")]
    height: Annotated[Count | None, _says("Pixels.")]
    fps: Annotated[float | None, _says("Declared frames per second; null if not declared.")]
    sample_rate: Annotated[Count | None, _says("Samples per second.")]
    channels: Annotated[Count | None, _says("Audio channels.")]
    bit_rate: Annotated[Count, _says("Bits per second, averaged over the last seconds.")]


class ViewersByProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """Viewers by how they watch."""

    hls: Count
    whep: Count
    rtmp: Count
    flv: Count


class ViewerCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many watch now."""

    total: Annotated[Count, _says("All of them.")]
    by_protocol: Annotated[ViewersByProtocol, _says("The same by protocol.")]


class StreamViewers(msgspec.Struct, frozen=True, kw_only=True):
    """How many watch one stream."""

    total: Annotated[Count, _says("All of them, now.")]
    by_protocol: Annotated[ViewersByProtocol, _says("The same by protocol.")]
    peak: Annotated[Count, _says("The most at once since somebody was last connected to it.")]


class StreamUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream can be watched.

    Absolute with ``http.public_url``; otherwise relative to the server's root, without a slash in
    front, so that a path prefix of a proxy holds.
    """

    hls: Annotated[str, _says("HLS multivariant playlist.")]
    whep: Annotated[str | None, _says("WebRTC by WHEP; null where it is switched off.")]
    flv: Annotated[str, _says("FLV over HTTP, and over WebSocket on upgrade.")]
    rtmp: Annotated[
        str | None, _says("RTMP; null without http.public_url, for it needs a host name.")
    ]
    play: Annotated[str, _says("Page with a player.")]


class DestinationError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a destination failed last."""

    class_: Annotated[ErrorClass, _says("Kind of failure, for programs.")] = msgspec.field(
        name="class"
    )
    message: Annotated[str, _says("What went wrong, with the far side's own words; no secrets.")]
    at: Annotated[Time, _says("When.")]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream is sent on to."""

    id: Annotated[str, _says("Opaque; the same after a restart.")]
    name: Annotated[str, _says("For people; empty without one.")]
    url: Annotated[str, _says("Where to, the key masked.")]
    enabled: Annotated[bool, _says("Whether it is sent; false: paused.")]
    state: Annotated[
        DestinationState, _says("What it does; live: accepted, and media arrives there.")
    ]
    since: Annotated[Time, _says("When it came into this state.")]
    bytes_sent: Annotated[Count, _says("Bytes that arrived, over all connections.")]
    bit_rate: Annotated[Count, _says("Bits per second that arrive, over the last seconds.")]
    queued_ms: Annotated[Count, _says("Media that was not yet taken there, in milliseconds.")]
    dropped_frames: Annotated[Count, _says("Frames left out because the far side was too slow.")]
    reconnects: Annotated[Count, _says("Attempts after the first of each broadcast.")]
    last_error: Annotated[DestinationError | None, _says("The last failure; stays after success.")]
    next_attempt_at: Annotated[Time | None, _says("When it is tried again, in state backoff.")]
    rtt_ms: Annotated[float | None, _says("Round trip to it; null without a connection.")]


class DestinationPage(msgspec.Struct, frozen=True, kw_only=True):
    """The destinations of one stream, in the order of adding."""

    items: list[Destination]
    total: Annotated[Count, _says("How many there are.")]


class NewDestination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A destination to add."""

    url: Annotated[
        str,
        Meta(
            max_length=4096,
            description="rtmp:// or rtmps://host/app/key.",
            extra_json_schema={"format": "rtmp-url"},
        ),
    ]
    name: Annotated[str, Meta(max_length=128, description="For people.")] = ""
    enabled: Annotated[bool, _says("Whether to begin at once; false: paused.")] = True


class DestinationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a destination; null, or nothing, leaves as it is."""

    name: Annotated[str, Meta(max_length=128, description="For people.")] | None = None
    enabled: Annotated[bool | None, _says("False pauses, true resumes.")] = None


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One stream."""

    app: Annotated[str, _says("First segment of its name.")]
    name: Annotated[str, _says("Second segment of its name.")]
    session_id: Annotated[
        str | None, _says("One broadcast; survives a reconnect of the publisher. Null while idle.")
    ]
    title: Annotated[str, _says("For people; empty without one.")]
    state: Annotated[str, _says("idle, live or interrupted (the publisher may come back).")]
    registered: Annotated[bool, _says("Whether it was created through the API.")]
    started_at: Annotated[Time | None, _says("When the broadcast began; null while idle.")]
    uptime_s: Annotated[Count, _says("Seconds since then.")]
    publisher: Annotated[Publisher | None, _says("Who sends it; null while interrupted.")]
    tracks: Annotated[list[TrackInfo], _says("Video first.")]
    bit_rate: Annotated[Count, _says("Bits per second over all tracks.")]
    keyframe_interval_s: Annotated[
        float | None, _says("Between the last two keyframes; null before the second.")
    ]
    viewers: Annotated[StreamViewers, _says("Who watches, in numbers.")]
    health: Annotated[list[Health], _says("What could be better, worst first.")]
    destinations: Annotated[list[Destination], _says("Where it is sent on to.")]
    record: Annotated[bool, _says("Whether it is recorded.")]
    metadata: Annotated[dict[str, Any], _says("What the user attached to it.")]
    urls: Annotated[StreamUrls, _says("Where it can be watched.")]


class StreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some streams, in the order of their names."""

    items: list[StreamInfo]
    total: Annotated[Count, _says("How many match, on all pages.")]


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """One playing session."""

    id: Annotated[str, _says("For DELETE /api/v1/viewers/{id}.")]
    protocol: Annotated[str, _says("hls, whep, rtmp or flv.")]
    remote_ip: Annotated[str, _says("Address, as trusted proxies tell it.")]
    user_agent: Annotated[str, _says("What the player calls itself.")]
    joined_at: Annotated[Time, _says("When it began to watch.")]
    bytes_sent: Annotated[Count, _says("Bytes of media handed to it.")]
    bit_rate: Annotated[Count, _says("Bits per second over the last seconds.")]
    lag_ms: Annotated[Count, _says("How far it reads behind the newest packet.")]
    dropped_frames: Annotated[Count, _says("Frames that it lost because it lagged.")]
    link: Annotated[Link | None, _LINK]


class ViewerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some viewers of one stream, oldest first."""

    items: list[Viewer]
    total: Annotated[Count, _says("How many there are, on all pages.")]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One connection, publisher or viewer."""

    id: Annotated[str, _says("For DELETE /api/v1/sessions/{id}.")]
    action: Annotated[str, _says("publish or play.")]
    protocol: Annotated[str, _says("rtmp, whip, hls, whep, flv or internal.")]
    stream: Annotated[str, _says("app/name.")]
    remote_ip: Annotated[str, _says("Address, as trusted proxies tell it.")]
    user_agent: Annotated[str, _says("What it calls itself.")]
    joined_at: Annotated[Time, _says("When it was accepted.")]
    bytes_received: Annotated[Count, _says("Bytes of media that came from it.")]
    bytes_sent: Annotated[Count, _says("Bytes of media handed to it.")]
    bit_rate: Annotated[Count, _says("Bits per second over the last seconds.")]
    lag_ms: Annotated[Count, _says("How far it reads behind the newest packet.")]
    dropped_frames: Annotated[Count, _says("Frames that it lost because it lagged.")]
    link: Annotated[Link | None, _LINK]


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some sessions, oldest first."""

    items: list[SessionInfo]
    total: Annotated[Count, _says("How many there are, on all pages.")]


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """One open port."""

    name: Annotated[str, _says("http, https, rtmp, rtmps or webrtc (UDP and TCP).")]
    host: Annotated[str, _says("Address; empty for all of them.")]
    port: Annotated[int, _says("Port.")]
    tls: Annotated[bool, _says("Whether it speaks TLS.")]


class ServerState(StrEnum):
    """Where the server is in its life."""

    STARTING = "starting"
    """Not every listener is open yet."""

    READY = "ready"
    """Open for everything."""

    DRAINING = "draining"
    """Takes nothing new and will end."""


class ServerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the whole server."""

    streams: Annotated[Count, _says("Streams that are live.")]
    publishers: Annotated[Count, _says("Publishers connected.")]
    viewers: Annotated[ViewerCount, _says("Who watches, in numbers.")]
    bytes_received: Annotated[Count, _says("Bytes of media received since the start.")]
    bytes_sent: Annotated[Count, _says("Bytes of media sent since the start.")]
    bit_rate_in: Annotated[Count, _says("Bits per second that publishers send.")]
    bit_rate_out: Annotated[Count, _says("Bits per second that viewers receive.")]


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The server."""

    version: Annotated[str, _says("Of streamserver.")]
    state: Annotated[ServerState, _says("Where it is in its life.")]
    started_at: Annotated[Time, _says("When the process began.")]
    uptime_s: Annotated[Count, _says("Seconds since then.")]
    listeners: Annotated[list[Listener], _says("Ports that are open.")]
    totals: Annotated[ServerTotals, _says("Sums over all streams.")]
    last_event_id: Annotated[
        str, _says("The newest event: what is read after this answer is no older.")
    ]
