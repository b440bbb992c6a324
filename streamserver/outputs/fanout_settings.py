"""Bounds and counters of the fan-outs of RTMP and FLV."""

from dataclasses import dataclass

__all__ = ["FanOutSettings", "FanOutStats"]


@dataclass(frozen=True, slots=True)
class FanOutSettings:
    """Bounds of all fan-outs."""

    max_join_ms: int = 100
    """How long what came may wait to be joined, where there are many viewers."""

    max_lag_ms: int = 10_000
    """A viewer that is further behind is let go."""

    max_unsent_bytes: int = 1024 * 1024
    """What may wait in a viewer's transport, to within one write."""


@dataclass(slots=True)
class FanOutStats:
    """Counters, over all fan-outs of an output."""

    joins: int = 0
    """Times that new items were joined."""

    writes: int = 0
    """Writes of joined bytes."""

    catch_ups: int = 0
    """Writes to viewers that read on their own."""

    jumps: int = 0
    """Times that a viewer was moved to a keyframe."""

    too_slow: int = 0
    """Viewers that were let go because they lagged."""

    failed: int = 0
    """Viewers that were let go because writing to them failed."""
