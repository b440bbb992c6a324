"""What a stream can hold at most: the formula behind ``streamserver check``."""

from dataclasses import dataclass
from typing import Final

from streamserver.config.model import Config

__all__ = ["MemoryBound", "memory_bound"]

_SHARES: Final = 4
"""What the packet log and the logs like it leave is cut in four: one for the cmaf log, two for the
HLS window (parts, and the same joined to segments), one for the TS segments of old players."""

_LIVE_LOGS: Final = 3
"""Logs as large as the packet log while somebody plays RTMP or FLV: bodies, chunks, tags. Players
that refuse some of a stream's codecs make a second set for those that they know."""


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Bytes of media that can be held, by place; the objects around them come on top."""

    packet_log_bytes: int
    """The packet log of one stream."""

    cmaf_log_bytes: int
    """The CMAF parts that outputs have yet to read: ``CmafSettings.window_bytes``."""

    hls_window_bytes: int
    """What playlists list, as parts and as whole segments: ``HlsSettings.window_bytes``."""

    ts_window_bytes: int
    """MPEG-TS segments, while somebody plays ``ts.m3u8``: no more than the window they copy."""

    live_log_bytes: int
    """Each of the logs of RTMP and FLV, while somebody plays or forwards them: `LogBounds`."""

    live_logs_bytes: int
    """All of these together."""

    per_stream_bytes: int
    """The sum of these: no stream holds more."""

    per_viewer_bytes: int
    """What waits in one viewer's transport, on top."""

    per_publisher_connection_bytes: int
    """Messages that are still arriving, on top."""

    all_streams_bytes: int
    """``per_stream_bytes`` and the connection's share, times ``limits.max_publishers``."""


def memory_bound(config: Config) -> MemoryBound:
    """The bound that a configuration sets.

    ``packet log + cmaf log + HLS window + TS window + logs of RTMP and FLV =
    limits.max_stream_memory_bytes`` per stream;
    ``+ limits.max_unsent_bytes`` per viewer; ``+ 2 x limits.max_message_bytes`` per publishing
    connection (one message of each kind).
    """
    limits = config.limits
    logs = (1 + _LIVE_LOGS) * limits.log_max_bytes
    share = max(0, limits.max_stream_memory_bytes - logs) // _SHARES
    per_stream = logs + _SHARES * share
    per_connection = 2 * limits.max_message_bytes
    return MemoryBound(
        packet_log_bytes=limits.log_max_bytes,
        cmaf_log_bytes=share,
        hls_window_bytes=2 * share,
        ts_window_bytes=share,
        live_log_bytes=limits.log_max_bytes,
        live_logs_bytes=_LIVE_LOGS * limits.log_max_bytes,
        per_stream_bytes=per_stream,
        per_viewer_bytes=limits.max_unsent_bytes,
        per_publisher_connection_bytes=per_connection,
        all_streams_bytes=(per_stream + per_connection) * limits.max_publishers,
    )
