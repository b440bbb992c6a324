"""What was counted on one destination: plain integers, over all its connections."""

from dataclasses import dataclass

from streamserver.hub.rates import RateMeter

__all__ = ["DestinationStats"]


@dataclass(slots=True, eq=False)
class DestinationStats:
    """Counters of one destination since it was added, and gauges of its connection now."""

    rate: RateMeter
    """Bits that arrived."""

    bytes_sent: int = 0
    """Bytes that the far kernel acknowledged, over all connections; with RTMPS, its records
    included."""

    dropped_frames: int = 0
    """Frames passed over because the far side was too slow."""

    resets: int = 0
    """How often that led to a new start at a keyframe."""

    reconnects: int = 0
    """Attempts after the first of each broadcast."""

    queued_ms: int = 0
    """Media that waits in our buffers or travels, in milliseconds."""

    rtt_us: int = 0
    """Round trip of the connection; 0 while there is none."""

    def arrived(self, size: int, now_ns: int) -> None:
        """More bytes were acknowledged."""
        self.bytes_sent += size
        self.rate.add(size, now_ns)

    def disconnected(self) -> None:
        """Gauges tell of a connection that is there."""
        self.queued_ms = 0
        self.rtt_us = 0
