"""What a stream can hold at most: the formula behind ``streamserver check``."""

from dataclasses import dataclass
from typing import Final

from streamserver.config.model import Config

__all__ = ["MemoryBound", "memory_bound"]

_HLS_WINDOWS: Final = 3
"""CMAF parts, the same joined to whole segments, and the TS segments for old players."""


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Bytes of media that can be held, by place; the objects around them come on top."""

    packet_log_bytes: int
    """The packet log of one stream."""

    cmaf_window_bytes: int
    """The CMAF parts of one stream."""

    segment_window_bytes: int
    """Whole CMAF segments, joined when a player first asks for them."""

    ts_window_bytes: int
    """MPEG-TS segments, while somebody plays ``ts.m3u8``."""

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

    ``packet log + 3 HLS windows = limits.max_stream_memory_bytes`` per stream, the windows sharing
    equally what the log leaves; ``+ limits.max_unsent_bytes`` per viewer;
    ``+ 2 x limits.max_message_bytes`` per publishing connection (one message of each kind).
    """
    limits = config.limits
    window = max(0, limits.max_stream_memory_bytes - limits.log_max_bytes) // _HLS_WINDOWS
    per_stream = limits.log_max_bytes + _HLS_WINDOWS * window
    per_connection = 2 * limits.max_message_bytes
    return MemoryBound(
        packet_log_bytes=limits.log_max_bytes,
        cmaf_window_bytes=window,
        segment_window_bytes=window,
        ts_window_bytes=window,
        per_stream_bytes=per_stream,
        per_viewer_bytes=limits.max_unsent_bytes,
        per_publisher_connection_bytes=per_connection,
        all_streams_bytes=(per_stream + per_connection) * limits.max_publishers,
    )
