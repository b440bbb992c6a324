"""Signatures of webhooks, as the Standard Webhooks specification (1.0.0) has them.

A receiver computes the HMAC-SHA256 of ``id.timestamp.body`` and compares; its libraries exist for
most languages.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

from streamserver.errors import RefusedError

__all__ = ["InvalidSecretError", "check_secret", "headers", "new_secret", "sign"]

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_MIN_CHARACTERS: Final = 16
_MAX_CHARACTERS: Final = 256


class InvalidSecretError(RefusedError):
    """The text cannot be a secret."""

    http_status = 400


def new_secret() -> str:
    """A secret of 32 random bytes. "Secrets": base64 behind ``whsec_``, 24 to 64 bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def check_secret(text: str) -> None:
    """Refuses what is too short, and ``whsec_`` without base64 behind it.

    Raises `InvalidSecretError`, which does not quote it.
    """
    if not _MIN_CHARACTERS <= len(text) <= _MAX_CHARACTERS:
        raise InvalidSecretError(f"a secret has {_MIN_CHARACTERS} to {_MAX_CHARACTERS} characters")
    if text.startswith(_PREFIX):
        try:
            base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise InvalidSecretError("behind whsec_ stands base64") from None


def sign(secret: str, event_id: str, timestamp_s: int, body: bytes) -> str:
    """``v1,`` and the signature in base64.

    The key is what ``whsec_`` encodes; any other text is the key itself, in UTF-8.
    """
    key = secret.encode()
    if secret.startswith(_PREFIX):
        key = base64.b64decode(secret.removeprefix(_PREFIX))
    content = b"%b.%d.%b" % (event_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def headers(
    secret: str, event_id: str, event_type: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The header fields of a delivery; without a secret it is not signed.

    The id is the event's: the same at each attempt, so that a receiver can leave out what it has.
    """
    fields = {
        "Content-Type": "application/json",
        "Webhook-Id": event_id,
        "Webhook-Timestamp": str(timestamp_s),
        "Webhook-Event": event_type,
    }
    if secret:
        fields["Webhook-Signature"] = sign(secret, event_id, timestamp_s, body)
    return fields
