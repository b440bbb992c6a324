"""What may be configured about HLS, and what the metrics read."""

from dataclasses import dataclass

__all__ = ["HlsSettings", "HlsStats"]


@dataclass(frozen=True, slots=True)
class HlsSettings:
    """Windows and bounds of the HLS output."""

    window_ms: int = 12_000
    """Complete segments that a playlist lists, in milliseconds of media; at least four target
    durations are always listed."""

    window_bytes: int = 64 * 1024 * 1024
    """Bytes that the complete segments of one broadcast may take, as parts and as whole segments;
    beyond it the window is shortened. MPEG-TS, while somebody plays it, adds half as much."""

    sessions: bool = True
    """Whether viewers get a signed session in their URLs; without, all is cacheable."""

    session_lifetime_s: int = 12 * 3600
    """Seconds for which a session that is not in use can be taken up."""

    max_sessions: int = 20_000
    """Viewers at once, over all streams."""

    max_sessions_per_address: int = 500
    """Viewers at once from one address."""

    max_parked: int = 20_000
    """Requests that may wait at once for media to come, over all streams."""

    max_parked_per_session: int = 8
    """Requests of one viewer that may wait at once; a player uses one or two."""

    start_hold_ms: int = 15_000
    """How long a request waits for the first segment of a stream that is just starting: longer
    than the longest target duration."""

    ts_linger_ms: int = 30_000
    """How long MPEG-TS is still made after the last request for its playlist."""


@dataclass(slots=True)
class HlsStats:
    """Plain counters, read when somebody scrapes."""

    playlists: int = 0
    """Requests for media playlists."""

    media: int = 0
    """Requests for parts, segments and initialisation segments."""

    parked: int = 0
    """Requests that wait now."""

    timeouts: int = 0
    """Requests that waited in vain and got 503."""

    refused: int = 0
    """Requests refused at a bound: sessions or parked requests."""

    bad_requests: int = 0
    """Playlist requests with directives that make no sense."""

    lost_answers: int = 0
    """Answers that the connection of a parked request did not take."""

    shrunk: int = 0
    """Segments dropped early because a window reached its bound of bytes."""

    ts_segments: int = 0
    """MPEG-TS segments made."""

    ts_failures: int = 0
    """MPEG-TS segments that could not be made."""

    failures: int = 0
    """Times that the HLS output of a stream failed and was begun anew or given up."""
