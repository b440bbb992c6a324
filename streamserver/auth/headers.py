"""The credentials of an HTTP request (RFC 7235, RFC 7617 Basic, RFC 6750 Bearer)."""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field

__all__ = ["HttpCredentials", "parse_authorization"]

_MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class HttpCredentials:
    """What an ``Authorization`` header holds."""

    user: str | None = None
    """The user name of Basic."""

    password: str | None = field(default=None, repr=False)
    """The password of Basic."""

    token: str | None = field(default=None, repr=False)
    """The token of Bearer."""


def parse_authorization(value: str | None) -> HttpCredentials:
    """Reads the header; what cannot be read, or is another scheme, is no credential."""
    scheme, _, rest = (value or "")[:_MAX_LENGTH].strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer" and rest:
        return HttpCredentials(token=rest)
    if scheme.lower() == "basic":
        try:
            user, colon, password = b64decode(rest, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return HttpCredentials()
        if colon:
            return HttpCredentials(user=user, password=password)
    return HttpCredentials()
