"""Bounds and counters of playing over WebRTC."""

from dataclasses import dataclass

__all__ = ["WebRtcSettings", "WebRtcStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRtcSettings:
    """Bounds of all fan-outs."""

    max_backlog_bytes: int = 2 * 1024 * 1024
    """A newcomer is sent what came since the newest keyframe, unless it is more than this: then it
    waits for the next one."""

    backlog_rate: int = 4
    """How much faster than live that is sent: a second of backlog takes a third of one, and a
    link that carries the stream with some room to spare is not flooded."""

    min_backlog_bytes_per_ms: int = 2_000
    """But at least so fast (16 Mbit/s), so that streams of a low rate start at once."""

    max_backlog_bytes_per_ms: int = 24_000
    """What all newcomers of a stream together are sent in a millisecond: twenty full packets. At
    squeezed bursts browsers lost packets by the hundred in their own sockets."""

    fresh_keyframe_ms: int = 300
    """A publisher that can be asked for a keyframe is not, where the newest is no older."""

    keyframe_every_ms: int = 500
    """How often the publisher is asked for a keyframe, at most."""

    resend_bytes_per_s: int = 500_000
    """What one viewer may be sent again in a second."""

    max_resend_bytes: int = 250_000
    """And at once."""


@dataclass(slots=True)
class WebRtcStats:
    """Counters, over all fan-outs of an output."""

    items: int = 0
    """Frames, or pieces of large ones, that were sent to somebody."""

    packets: int = 0
    """Packets sent, without those sent again."""

    bytes: int = 0
    """Bytes of them, as protected."""

    classes: int = 0
    """Times that packets were laid out: once for each item and class of viewers."""

    backlogs: int = 0
    """Viewers that began with what had come since the newest keyframe."""

    nacks: int = 0
    """Packets that viewers asked for again."""

    retransmitted: int = 0
    """Packets sent again."""

    plis: int = 0
    """Keyframes that viewers asked for."""

    keyframe_requests: int = 0
    """Requests that were passed on to publishers."""

    overflows: int = 0
    """Writes for which there was no room."""

    drops: int = 0
    """Times that a viewer's pictures were left out up to a keyframe."""

    failed: int = 0
    """Viewers that were let go because sending to them failed."""
