"""What ``/metrics`` shows of those who were not let in yet, and of slates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streamserver.metrics import Metric, MetricType, Reading

__all__ = ["DOOR_METRICS", "SLATE_METRICS", "DoorCounts", "SlateCounts", "door_readers"]

_COUNTER, _GAUGE = MetricType.COUNTER, MetricType.GAUGE

DOOR_METRICS: Final = (
    Metric(
        "streamserver_strangers_total",
        _COUNTER,
        "Of peers not let in yet: pieces of work put off to a later turn of the loop (deferred), "
        "connections ended because all of them together held too much (turned_away).",
        ("outcome",),
    ),
    Metric(
        "streamserver_strangers_held_bytes",
        _GAUGE,
        "What peers not let in yet make the server keep.",
    ),
    Metric(
        "streamserver_tls_handshakes_total",
        _COUNTER,
        "Handshakes of TLS that began in a later turn of the loop (deferred), came to nothing "
        "(failed), or were not begun (refused).",
        ("outcome",),
    ),
)

SLATE_METRICS: Final = (
    Metric(
        "streamserver_slates_total",
        _COUNTER,
        "Slates that were shown, or that could not be made (failed).",
        ("outcome",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorCounts:
    """Sums over all listeners."""

    deferred: int = 0
    """Pieces of work of strangers that waited for a later turn."""

    turned_away: int = 0
    """Strangers that had to go since there was no room for what they held."""

    held_bytes: int = 0
    """What strangers make us keep now."""

    handshakes: Mapping[str, int]
    """Handshakes of TLS: deferred, failed, refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateCounts:
    """Sums over all streams."""

    shown: int = 0
    """Times that one was shown."""

    failed: int = 0
    """Times that one could not be made."""


def door_readers(
    doors: Callable[[], DoorCounts], slates: Callable[[], SlateCounts]
) -> dict[str, Callable[[], Reading]]:
    """Where each is read."""
    return {
        "streamserver_strangers_total": lambda: {
            "deferred": doors().deferred,
            "turned_away": doors().turned_away,
        },
        "streamserver_strangers_held_bytes": lambda: doors().held_bytes,
        "streamserver_tls_handshakes_total": lambda: doors().handshakes,
        "streamserver_slates_total": lambda: {
            "shown": slates().shown,
            "failed": slates().failed,
        },
    }
