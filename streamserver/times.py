"""Dates as the API, the events and the logs of deliveries write them: RFC 3339."""

from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["rfc3339", "unix_ns_to_rfc3339"]


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T10:48:00.123Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def unix_ns_to_rfc3339(unix_ns: int) -> str:
    """Nanoseconds since the Unix epoch as RFC 3339; what is below a millisecond is cut off."""
    seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
    return f"{_to_the_second(seconds)}.{rest_ns // 1_000_000:03d}Z"


@lru_cache(maxsize=8)
def _to_the_second(unix_s: int) -> str:
    """A pure function: events of many streams come in the same second."""
    return datetime.fromtimestamp(unix_s, UTC).replace(tzinfo=None).isoformat()
