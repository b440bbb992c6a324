"""From the hub's objects to what the API shows."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final
from urllib.parse import urlsplit

from streamserver.control.health import health
from streamserver.control.models import (
    Destination,
    Link,
    Publisher,
    SessionInfo,
    StreamInfo,
    StreamUrls,
    StreamViewers,
    TrackInfo,
    Viewer,
    ViewerCount,
    ViewersByProtocol,
)
from streamserver.control.times import decimal, rfc3339, unix_ns_to_rfc3339
from streamserver.hub.sessions import Action, Protocol, Session, SessionTable
from streamserver.hub.stream import Stream, StreamState
from streamserver.media.track import Track
from streamserver.names import StreamKey
from streamserver.storage import StoredStream

__all__ = [
    "idle_stream_info",
    "publisher_info",
    "session_info",
    "stream_info",
    "stream_urls",
    "track_info",
    "viewer",
    "viewer_count",
]


_RTMP_PORT: Final = 1935
"""What players take where a URL names no port."""


def stream_info(
    stream: Stream,
    sessions: SessionTable,
    *,
    peak: int,
    began: tuple[int, int],
    now_ns: int,
    public_url: str,
    rtmp_port: int = 0,
    webrtc: bool = False,
    destinations: Sequence[Destination] = (),
    registered: StoredStream | None = None,
) -> StreamInfo:
    """A stream as of a monotonic time.

    ``peak`` are its most viewers at once; ``began`` is when it did, in monotonic and Unix time;
    ``public_url``, ``rtmp_port`` and ``webrtc`` are as in `stream_urls`; ``registered`` is what is
    kept about it.
    """
    began_ns, began_wall_ns = began
    interval_ms = stream.keyframe_interval_ms
    count = viewer_count(sessions.count(stream.key))
    return StreamInfo(
        app=stream.key.app,
        name=stream.key.name,
        session_id=stream.session_id,
        title=registered.title if registered else "",
        state=stream.state.value,
        registered=registered is not None,
        started_at=unix_ns_to_rfc3339(began_wall_ns),
        uptime_s=max(0, now_ns - began_ns) // 1_000_000_000,
        publisher=publisher_info(stream.publisher),
        tracks=[track_info(track, stream, now_ns) for track in stream.tracks],
        bit_rate=stream.bit_rate(now_ns),
        keyframe_interval_s=decimal(Fraction(interval_ms, 1000)) if interval_ms else None,
        viewers=StreamViewers(total=count.total, by_protocol=count.by_protocol, peak=peak),
        health=health(stream, now_ns),
        destinations=list(destinations),
        record=registered is not None and registered.record,
        metadata=registered.metadata if registered else {},
        urls=stream_urls(stream.key, public_url, rtmp_port, webrtc=webrtc),
    )


def idle_stream_info(
    registered: StoredStream, urls: StreamUrls, destinations: Sequence[Destination]
) -> StreamInfo:
    """A registered stream that nobody publishes."""
    return StreamInfo(
        app=registered.stream.app,
        name=registered.stream.name,
        session_id=None,
        title=registered.title,
        state=StreamState.IDLE.value,
        registered=True,
        started_at=None,
        uptime_s=0,
        publisher=None,
        tracks=[],
        bit_rate=0,
        keyframe_interval_s=None,
        viewers=StreamViewers(total=0, by_protocol=viewer_count({}).by_protocol, peak=0),
        health=[],
        destinations=list(destinations),
        record=registered.record,
        metadata=registered.metadata,
        urls=urls,
    )


def stream_urls(
    key: StreamKey, public_url: str, rtmp_port: int = 0, *, webrtc: bool = False
) -> StreamUrls:
    """Where a stream can be watched: below ``public_url``, or relative to the server's root.

    ``rtmp_port`` is the port of the RTMP listener, 0 without one; ``webrtc`` whether there is one
    for WebRTC.
    """
    root = f"{public_url.rstrip('/')}/" if public_url else ""
    return StreamUrls(
        hls=f"{root}hls/{key.app}/{key.name}/index.m3u8",
        whep=f"{root}whep/{key.app}/{key.name}" if webrtc else None,
        flv=f"{root}flv/{key.app}/{key.name}",
        rtmp=_rtmp_url(key, public_url, rtmp_port),
        play=f"{root}play/{key.app}/{key.name}",
    )


def _rtmp_url(key: StreamKey, public_url: str, port: int) -> str | None:
    host = urlsplit(public_url).hostname
    if not host or not port:
        return None
    authority = f"[{host}]" if ":" in host else host
    if port != _RTMP_PORT:
        authority += f":{port}"
    return f"rtmp://{authority}/{key.app}/{key.name}"


def viewer_count(counts: Mapping[Protocol, int]) -> ViewerCount:
    """Viewers by protocol and their sum."""
    by_protocol = ViewersByProtocol(
        hls=counts.get(Protocol.HLS, 0),
        whep=counts.get(Protocol.WHEP, 0),
        rtmp=counts.get(Protocol.RTMP, 0),
        flv=counts.get(Protocol.FLV, 0),
    )
    total = by_protocol.hls + by_protocol.whep + by_protocol.rtmp + by_protocol.flv
    return ViewerCount(total=total, by_protocol=by_protocol)


def viewer(session: Session) -> Viewer:
    """A playing session."""
    return Viewer(
        id=session.id,
        protocol=session.protocol.value,
        remote_ip=session.remote_ip,
        user_agent=session.user_agent,
        joined_at=rfc3339(session.joined_at),
        bytes_sent=session.bytes_sent,
        bit_rate=session.bit_rate,
        lag_ms=session.lag_ms,
        dropped_frames=session.dropped_frames,
        link=link(session),
    )


def session_info(session: Session) -> SessionInfo:
    """A session of either kind."""
    return SessionInfo(
        id=session.id,
        action=session.action.value,
        protocol=session.protocol.value,
        stream=str(session.stream),
        remote_ip=session.remote_ip,
        user_agent=session.user_agent,
        joined_at=rfc3339(session.joined_at),
        bytes_received=session.bytes_received,
        bytes_sent=session.bytes_sent,
        bit_rate=session.bit_rate,
        lag_ms=session.lag_ms,
        dropped_frames=session.dropped_frames,
        link=link(session),
    )


def link(session: Session) -> Link | None:
    """How the packets of a session fare, where they can be lost."""
    if session.link is None:
        return None
    facts = session.link()
    arrived_or_lost = facts.packets if session.action is Action.PLAY else facts.packets + facts.lost
    loss = Fraction(100 * facts.lost, arrived_or_lost) if arrived_or_lost else Fraction(0)
    return Link(
        protocol=facts.protocol,
        local=facts.local,
        remote=facts.remote,
        rtt_ms=facts.rtt_ms,
        jitter_ms=facts.jitter_ms,
        packets=facts.packets,
        lost=facts.lost,
        loss_percent=min(100.0, decimal(loss)),
        recovered=facts.recovered,
        nacks=facts.nacks,
        plis=facts.plis,
    )


def publisher_info(session: Session | None) -> Publisher | None:
    """Who sends a stream."""
    if session is None:
        return None
    return Publisher(
        id=session.id,
        protocol=session.protocol.value,
        remote_ip=session.remote_ip,
        user_agent=session.user_agent,
        link=link(session),
    )


def track_info(track: Track, stream: Stream, now_ns: int) -> TrackInfo:
    """One track of a stream, as of a monotonic time."""
    stats = stream.stats.get(track.kind.value)
    return TrackInfo(
        kind=track.kind.value,
        codec=track.codec.value,
        profile=track.profile,
        # The parameter sets never say 0; it stands for "unknown" or "not of this kind".
        width=track.width or None,
        height=track.height or None,
        fps=None if track.frame_rate is None else decimal(track.frame_rate),
        sample_rate=track.sample_rate or None,
        channels=track.channels or None,
        bit_rate=0 if stats is None else stats.rate.bits_per_second(now_ns),
    )
