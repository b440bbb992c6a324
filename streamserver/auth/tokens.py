"""Tokens that this server signs itself: rights for a pattern of streams, until a time."""

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from streamserver.auth.request import AccessRequest, Decision
from streamserver.auth.rights import Right, Rights, StreamPattern
from streamserver.auth.tags import credential_tag

__all__ = ["ISSUABLE", "IssuedToken", "OwnTokens", "is_jwt", "token_id_end"]

_KEY_ID: Final = "streamserver-1"
"""Says in the header that a token is ours; proves nothing."""

_ISSUER: Final = "streamserver"
_PURPOSE: Final = b"streamserver tokens 1"
_MAX_CHARS: Final = 8192
_MAX_REVOKED: Final = 100_000

ISSUABLE: Final = (Right.PUBLISH, Right.PLAY, Right.MANAGE, Right.READ)
"""The rights that a token can carry."""


def is_jwt(credential: str) -> bool:
    """Whether a credential has the form of a signed token (RFC 7519, compact)."""
    return (
        credential.isascii()
        and credential.startswith("eyJ")
        and credential.count(".") == 2
        and len(credential) <= _MAX_CHARS
    )


def key_id(token: str) -> str:
    """What the header of a token names as its key; empty for what cannot be read."""
    try:
        found = jwt.get_unverified_header(token).get("kid")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        # JSON that is nested deeply is a stranger's, too.
        return ""
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, the moment it was made."""

    id: str
    """Names it where it is taken back; no secret."""

    token: str = field(repr=False)
    """The token itself; kept nowhere."""

    expires_s: int
    """Unix time at which it ends."""


def token_id_end(token_id: str) -> int | None:
    """The Unix time that stands in an id, or None for what is no id of ours.

    It stands there so that a token that was taken back is remembered no longer than it lives.
    """
    end, dot, rest = token_id.partition("-")
    if not dot or not 1 <= len(end) <= 12 or len(rest) > 32 or not rest:
        return None
    try:
        return int(end, 16)
    except ValueError:
        return None


class OwnTokens:
    """Issues them, checks them, and knows which were taken back."""

    name = "tokens"

    def __init__(
        self,
        signing_secret: bytes,
        wall_ns: Callable[[], int],
        revoked: Iterable[tuple[str, int]] = (),
    ) -> None:
        """``revoked``: ids and ends of those that were taken back before this start."""
        # A key of its own: what signs HLS sessions must not sign these.
        self._key = hmac.digest(signing_secret, _PURPOSE, "sha256")
        self._wall_ns = wall_ns
        self._revoked = dict(revoked)

    def issue(
        self, patterns: Iterable[StreamPattern], rights: Iterable[Right], lifetime_s: int
    ) -> IssuedToken:
        """A new token; ``lifetime_s`` from now."""
        now_s = self._now_s()
        expires_s = now_s + lifetime_s
        ident = f"{expires_s:x}-{secrets.token_hex(8)}"
        claims = {
            "iss": _ISSUER,
            "jti": ident,
            "iat": now_s,
            "exp": expires_s,
            "stream": [str(pattern) for pattern in patterns],
            "actions": [right.value for right in rights],
        }
        token = jwt.encode(claims, self._key, algorithm="HS256", headers={"kid": _KEY_ID})
        return IssuedToken(ident, token, expires_s)

    def revoke(self, token_id: str) -> tuple[str, int] | None:
        """Takes a token back; answers its tag and end, or None for what is no id of a live one."""
        now_s = self._now_s()
        expires_s = token_id_end(token_id)
        if expires_s is None or expires_s <= now_s:
            return None
        if len(self._revoked) >= _MAX_REVOKED:
            self._revoked = {one: end for one, end in self._revoked.items() if end > now_s}
        self._revoked[token_id] = expires_s
        return credential_tag("token", token_id), expires_s

    def revoked_tags(self) -> set[str]:
        """The tags of all that were taken back and would still hold."""
        now_s = self._now_s()
        return {credential_tag("token", one) for one, end in self._revoked.items() if end > now_s}

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`: speaks for tokens of ours only."""
        for credential in request.credentials():
            if is_jwt(credential) and key_id(credential) == _KEY_ID:
                return self._decide(credential, request)
        return None

    def _decide(self, token: str, request: AccessRequest) -> Decision:
        try:
            # Times are looked at below, on our own clock.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                issuer=_ISSUER,
                options={
                    "require": ["exp", "jti"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            rights = Rights.of(claims["actions"], claims["stream"])
            ident, expires_s = str(claims["jti"]), int(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, RecursionError):
            return Decision(False, "the token was not signed by this server", self.name)
        # Signed by us: whoever shows it was given it, and is not guessing.
        if expires_s <= self._now_s():
            return Decision(False, "the token has expired", self.name, innocent=True)
        if ident in self._revoked:
            return Decision(False, "the token was taken back", self.name, innocent=True)
        refusal = rights.refusal(request)
        if refusal is not None:
            return Decision(False, refusal, self.name, innocent=True)
        return Decision(
            True,
            "the token opens it",
            self.name,
            expires_s=expires_s,
            credential=credential_tag("token", ident),
        )

    def _now_s(self) -> int:
        return self._wall_ns() // 1_000_000_000
