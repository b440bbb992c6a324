"""Times and numbers as the API writes them."""

from datetime import UTC, datetime
from fractions import Fraction

__all__ = ["decimal", "rfc3339", "unix_ns_to_rfc3339"]


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T10:48:00.123Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def unix_ns_to_rfc3339(unix_ns: int) -> str:
    """Nanoseconds since the Unix epoch as RFC 3339; what is below a millisecond is cut off."""
    seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return rfc3339(moment)


def decimal(value: Fraction) -> float:
    """A number for people, to three decimals: 29.97 for 30000/1001."""
    return round(float(value), 3)
