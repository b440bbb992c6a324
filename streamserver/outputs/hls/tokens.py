"""Names that cannot be guessed: signed session ids, and tokens of media URLs."""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from streamserver.names import StreamKey

__all__ = ["SessionIds", "VerifiedId", "new_media_token"]

_ID_SIZE: Final = 9
_EXPIRY_SIZE: Final = 4
_MAC_SIZE: Final = 11
"""88 bits: nobody tries 2^87 requests in half a day. The sum is a multiple of three, so that the
text has one spelling only."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_PURPOSE: Final = b"streamserver hls session 1\0"


@dataclass(frozen=True, slots=True)
class VerifiedId:
    """What a valid session id says."""

    id: str
    """The viewer: random, and of no use for making the whole session id."""

    expires_s: int
    """Unix time from which it cannot be taken up any more."""


class SessionIds:
    """Issues and checks session ids; whoever has the secret can check any of them.

    A session id is 32 characters of base64url: a random id, an expiry, and an HMAC-SHA256 over
    both and the stream's name, cut to 88 bits.
    """

    __slots__ = ("_lifetime_s", "_secret")

    def __init__(self, secret: bytes, *, lifetime_s: int) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s

    def issue(self, stream: StreamKey, now_s: int) -> str:
        """A new session id for a viewer of a stream; ``now_s`` is Unix time."""
        expiry = (now_s + self._lifetime_s).to_bytes(_EXPIRY_SIZE, "big")
        raw = secrets.token_bytes(_ID_SIZE) + expiry
        return base64.urlsafe_b64encode(raw + self._mac(stream, raw)).decode()

    def verify(self, stream: StreamKey, sid: str, now_s: int) -> VerifiedId | None:
        """What a session id says, or None when it is forged, of another stream, or expired."""
        if not _SHAPE.fullmatch(sid):
            return None
        decoded = base64.urlsafe_b64decode(sid)
        raw, mac = decoded[:-_MAC_SIZE], decoded[-_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._mac(stream, raw)):
            return None
        expires_s = int.from_bytes(raw[_ID_SIZE:], "big")
        if now_s >= expires_s:
            return None
        return VerifiedId(base64.urlsafe_b64encode(raw[:_ID_SIZE]).decode(), expires_s)

    def _mac(self, stream: StreamKey, raw: bytes) -> bytes:
        message = _PURPOSE + str(stream).encode() + b"\0" + raw
        return hmac.digest(self._secret, message, "sha256")[:_MAC_SIZE]


def new_media_token() -> str:
    """96 random bits: the path part under which a broadcast's media is found."""
    return secrets.token_urlsafe(12)
