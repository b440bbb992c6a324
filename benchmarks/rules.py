"""When a run counts: the generator had time to spare, and everybody got everything.

Each rule takes what a load generator reports about itself.
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "UselessRunError",
    "all_sent",
    "files_count",
    "glass_counts",
    "joins_count",
    "players_count",
    "publishers_count",
    "spare_time",
    "viewers_count",
    "whep_counts",
]

_MOST_CPU = 0.85
"""Share of a core beyond which a generator may have been what was measured."""

_LEAST_MEDIA = 0.97
"""Share of the media that every viewer must get."""

_EDGE_BYTES = 64 * 1024
"""By so much one viewer may be behind another at the moment when both are counted: a join of
100 ms, or a keyframe that the other has already."""

_LATEST_MS = 500
"""How late a publisher may send a frame."""

_RATE = 30
"""Pictures a second of whoever publishes the clock."""

Report = Mapping[str, Any]


class UselessRunError(Exception):
    """A run whose figures mean nothing, and why."""


def spare_time(report: Report) -> None:
    """The generator was not what was measured. Raises `UselessRunError`, as all others do."""
    own = report["cpu_ms"] / 1000 / report["seconds"]
    if own > _MOST_CPU:
        raise UselessRunError(f"the load generator needed {own:.0%} of a core")


def publishers_count(report: Report) -> None:
    """Frames went out in time and were taken."""
    spare_time(report)
    if report["late_ms"] > _LATEST_MS:
        raise UselessRunError(f"a frame was sent {report['late_ms']:.0f} ms late")
    if report["unsent"]:
        raise UselessRunError(f"{report['unsent']} bytes were not taken by the server")


def viewers_count(report: Report) -> None:
    """LL-HLS viewers missed nothing."""
    spare_time(report)
    if report["errors"] or report["missed"]:
        raise UselessRunError(f"{report['errors']} errors, {report['missed']} holes")
    if report["fewest_parts"] < _LEAST_MEDIA * report["most_parts"] - 1:
        raise UselessRunError(
            f"one viewer got {report['fewest_parts']} parts, another {report['most_parts']}"
        )


def files_count(report: Report) -> None:
    """Requests for files were all answered; how many there were is in the figure."""
    spare_time(report)
    if report["errors"]:
        raise UselessRunError(f"{report['errors']} errors")


def players_count(report: Report, least_bytes: float = 0) -> None:
    """RTMP, FLV or bare viewers all got the same, and no less than was published."""
    spare_time(report)
    if report["lost"]:
        raise UselessRunError(f"{report['lost']} viewers were let go")
    _same_bytes(report)
    if report["fewest_bytes"] < _LEAST_MEDIA * least_bytes:
        raise UselessRunError(
            f"a viewer got {report['fewest_bytes']} of {least_bytes:.0f} bytes of media"
        )


def whep_counts(report: Report) -> None:
    """WebRTC viewers all got the same, and the one that opens its packets found no gap."""
    spare_time(report)
    if report["damaged"] or report["gaps"]:
        raise UselessRunError(f"{report['damaged']} packets damaged, {report['gaps']} gaps")
    _same_bytes(report)


def joins_count(report: Report, count: int) -> None:
    """Everybody got in."""
    spare_time(report)
    if len(report["took_ms"]) < count:
        raise UselessRunError(f"{len(report['took_ms'])} of {count} got a picture")


def glass_counts(report: Report) -> None:
    """The clock was read in as many pictures as were sent."""
    spare_time(report)
    if report["unread"]:
        raise UselessRunError(f"the clock was not legible in {report['unread']} pictures")
    expected = report["measured_s"] * _RATE
    # The time before the first and after the last part of LL-HLS has no pictures.
    if report["pictures"] < _LEAST_MEDIA * expected - _RATE / 2:
        raise UselessRunError(f"{report['pictures']} of {expected:.0f} pictures came")


def all_sent(fewest_bytes: float, published_bytes: float) -> None:
    """Every destination was sent what was published."""
    if fewest_bytes < _LEAST_MEDIA * (published_bytes - _EDGE_BYTES):
        raise UselessRunError(
            f"a destination was sent {fewest_bytes:.0f} of {published_bytes:.0f} bytes of media"
        )


def _same_bytes(report: Report) -> None:
    if report["fewest_bytes"] < _LEAST_MEDIA * (report["most_bytes"] - _EDGE_BYTES):
        raise UselessRunError(
            f"one viewer got {report['fewest_bytes']} bytes, another {report['most_bytes']}"
        )
