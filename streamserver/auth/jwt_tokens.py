"""Tokens that somebody else signs (RFC 7519): checked with a secret, a public key, or a JWKS."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from streamserver.auth.jwks import JwksKeys
from streamserver.auth.request import AccessRequest, Decision
from streamserver.auth.rights import Rights
from streamserver.auth.tags import credential_tag
from streamserver.auth.tokens import is_jwt

__all__ = ["JwtDecider", "JwtSettings", "PublicKey", "load_public_key"]

PublicKey = RSAPublicKey | EllipticCurvePublicKey

_HMAC: Final = frozenset({"HS256", "HS384", "HS512"})
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_LEEWAY_S: Final = 5
"""Two clocks are never the same."""

_MAX_PATTERNS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """What tokens must say, and with what they are checked."""

    secret: bytes = field(default=b"", repr=False)
    """For HS256, HS384 and HS512; empty: these are refused."""

    public_key: PublicKey | None = None
    """For RS, PS and ES."""

    issuer: str = ""
    """The ``iss``; empty: any."""

    audience: str = ""
    """The ``aud``; empty: any."""

    stream_claim: str = "stream"
    """Where the patterns stand."""

    actions_claim: str = "actions"
    """Where the rights stand."""


def load_public_key(pem: bytes) -> PublicKey:
    """Reads a public key. Raises `ValueError` with a sentence for people."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key in PEM") from None
    if not isinstance(key, PublicKey):
        raise ValueError("is a key of another kind than RSA and EC")
    return key


def algorithms_of(key: PublicKey) -> frozenset[str]:
    """What a key can check. The key decides, never the token (RFC 8725, section 3.1)."""
    if isinstance(key, RSAPublicKey):
        return _RSA
    return frozenset({_CURVES[key.curve.name]} if key.curve.name in _CURVES else ())


class JwtDecider:
    """Speaks for every credential that has the form of a token; keys and passwords have not."""

    name = "jwt"

    def __init__(
        self, settings: JwtSettings, wall_ns: Callable[[], int], *, jwks: JwksKeys | None = None
    ) -> None:
        self._settings = settings
        self._wall_ns = wall_ns
        self._jwks = jwks

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`."""
        for credential in request.credentials():
            if is_jwt(credential):
                return await self._decide(credential, request)
        return None

    async def close(self) -> None:
        """Ends what is under way."""
        if self._jwks is not None:
            await self._jwks.close()

    async def _decide(self, token: str, request: AccessRequest) -> Decision:
        try:
            header = jwt.get_unverified_header(token)
            claims = await self._verified(token, header)
        except jwt.InvalidAudienceError:
            return self._wrong("the token is for another audience")
        except jwt.InvalidIssuerError:
            return self._wrong("the token is of another issuer")
        except jwt.MissingRequiredClaimError as error:
            return self._wrong(f"the token has no {error.claim!r}")
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return self._wrong("the signature of the token is not valid here")
        if claims is None:
            return self._wrong("no key fits the algorithm of the token")
        return self._judge(claims, request)

    async def _verified(self, token: str, header: dict[str, Any]) -> dict[str, Any] | None:
        """The claims of a token that one of the keys signed; None when none could have."""
        algorithm = header.get("alg")
        key_id = header.get("kid")
        last: jwt.InvalidTokenError | None = None
        for key in await self._candidates(algorithm, key_id if isinstance(key_id, str) else None):
            try:
                return self._decode(token, key, str(algorithm))
            except jwt.InvalidSignatureError as error:
                last = error
        if last is not None:
            raise last
        return None

    async def _candidates(self, algorithm: object, key_id: str | None) -> Iterable[Any]:
        """The keys for an algorithm. ``none`` and whatever else we do not know has no key."""
        settings = self._settings
        if algorithm in _HMAC:
            # A secret only: a public key is never taken for one (key confusion).
            return [settings.secret] if settings.secret else []
        public = [settings.public_key] if settings.public_key is not None else []
        if self._jwks is not None and (algorithm in _RSA or algorithm in _CURVES.values()):
            public += [one.key for one in await self._jwks.find(key_id)]
        return [
            key for key in public if isinstance(key, PublicKey) and algorithm in algorithms_of(key)
        ]

    def _decode(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        settings = self._settings
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=settings.issuer or None,
            audience=settings.audience or None,
            options={
                "require": ["exp"],
                "verify_aud": bool(settings.audience),
                # Looked at in `_judge`, on our own clock.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        return claims

    def _judge(self, claims: dict[str, Any], request: AccessRequest) -> Decision:
        settings = self._settings
        now_s = self._wall_ns() // 1_000_000_000
        expires_s, begins_s = claims["exp"], claims.get("nbf", 0)
        if not _is_time(expires_s) or not _is_time(begins_s):
            return self._wrong("a time in the token is no number")
        if expires_s + _LEEWAY_S <= now_s:
            return self._known("the token has expired")
        if begins_s > now_s + _LEEWAY_S:
            return self._known("the token is not valid yet")
        try:
            rights = Rights.of(
                _words(claims.get(settings.actions_claim)),
                _words(claims.get(settings.stream_claim))[:_MAX_PATTERNS],
            )
        except ValueError as error:
            return self._known(f"the token's {settings.stream_claim!r} cannot be read: {error}")
        refusal = rights.refusal(request)
        if refusal is not None:
            return self._known(refusal)
        ident = claims.get("jti") or claims.get("sub") or ""
        return Decision(
            True,
            "the token opens it",
            self.name,
            expires_s=int(expires_s) + _LEEWAY_S,
            credential=credential_tag("jwt", str(ident)) if ident else "",
        )

    def _wrong(self, reason: str) -> Decision:
        return Decision(False, reason, self.name)

    def _known(self, reason: str) -> Decision:
        """Refuses a token with a good signature: its holder is not guessing."""
        return Decision(False, reason, self.name, innocent=True)


def _is_time(value: object) -> bool:
    """RFC 7519, section 2: a NumericDate; Python's booleans are numbers and no times."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -(2**40) < value < 2**40


def _words(value: object) -> list[str]:
    """A list of words, or one word, or words between spaces as in OAuth's ``scope``."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [one for one in value if isinstance(one, str)]
    return []
