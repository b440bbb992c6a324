"""Times and numbers as the API writes them."""

from fractions import Fraction

from streamserver.times import rfc3339, unix_ns_to_rfc3339

__all__ = ["decimal", "rfc3339", "unix_ns_to_rfc3339"]


def decimal(value: Fraction) -> float:
    """A number for people, to three decimals: 29.97 for 30000/1001."""
    return round(float(value), 3)
