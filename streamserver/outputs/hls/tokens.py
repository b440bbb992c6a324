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
_TAG_SIZE: Final = 6
_MAC_SIZE: Final = 11
"""88 bits: nobody tries 2^87 requests in half a day. The sum is a multiple of three, so that the
text has one spelling only."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{40}")
_PURPOSE: Final = b"streamserver hls session 2\0"
_ENDS: Final = 0x80
"""In the first byte of the id: the session ends at its expiry, whoever is still there."""

_NO_TAG: Final = bytes(_TAG_SIZE)


@dataclass(frozen=True, slots=True)
class VerifiedId:
    """What a valid session id says."""

    id: str
    """The viewer: random, and of no use for making the whole session id."""

    expires_s: int
    """Unix time from which it cannot be taken up any more."""

    ends: bool = False
    """Whether a session that is under way ends then, too: what let it in does."""

    credential: str = ""
    """The tag of the credential that let it in; empty: none that can be taken back."""


class SessionIds:
    """Issues and checks session ids; whoever has the secret can check any of them.

    A session id is 40 characters of base64url: a random id, an expiry, the tag of a credential,
    and an HMAC-SHA256 over these and the stream's name, cut to 88 bits.
    """

    __slots__ = ("_lifetime_s", "_secret")

    def __init__(self, secret: bytes, *, lifetime_s: int) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s

    def issue(
        self, stream: StreamKey, now_s: int, *, ends_s: int | None = None, credential: str = ""
    ) -> str:
        """A new session id for a viewer of a stream; ``now_s`` is Unix time.

        ``ends_s``: when the session ends even under way. ``credential``: the tag of what let the
        viewer in.
        """
        ident = bytearray(secrets.token_bytes(_ID_SIZE))
        ident[0] &= ~_ENDS
        expires_s = now_s + self._lifetime_s
        if ends_s is not None and ends_s <= expires_s:
            # Beyond the lifetime, the next look at the multivariant playlist asks again.
            expires_s = max(0, ends_s)
            ident[0] |= _ENDS
        tag = bytes.fromhex(credential) if credential else _NO_TAG
        raw = bytes(ident) + expires_s.to_bytes(_EXPIRY_SIZE, "big") + tag
        return base64.urlsafe_b64encode(raw + self._mac(stream, raw)).decode()

    def verify(self, stream: StreamKey, sid: str, now_s: int) -> VerifiedId | None:
        """What a session id says, or None when it is forged, of another stream, or expired."""
        if not _SHAPE.fullmatch(sid):
            return None
        decoded = base64.urlsafe_b64decode(sid)
        raw, mac = decoded[:-_MAC_SIZE], decoded[-_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._mac(stream, raw)):
            return None
        ident, rest = raw[:_ID_SIZE], raw[_ID_SIZE:]
        expires_s = int.from_bytes(rest[:_EXPIRY_SIZE], "big")
        if now_s >= expires_s:
            return None
        tag = rest[_EXPIRY_SIZE:]
        return VerifiedId(
            base64.urlsafe_b64encode(ident).decode(),
            expires_s,
            ends=bool(ident[0] & _ENDS),
            credential="" if tag == _NO_TAG else tag.hex(),
        )

    def _mac(self, stream: StreamKey, raw: bytes) -> bytes:
        message = _PURPOSE + str(stream).encode() + b"\0" + raw
        return hmac.digest(self._secret, message, "sha256")[:_MAC_SIZE]


def new_media_token() -> str:
    """96 random bits: the path part under which a broadcast's media is found."""
    return secrets.token_urlsafe(12)
