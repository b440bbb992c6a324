"""The server's side of ``authmod=adobe``: how encoders' fields "user" and "password" get here.

Encoders send what stands in those fields only when the answer to connect asks for it, in three
connections: a refusal that names the scheme, a refusal with a challenge, and the answer to that
(see `auth_schemes`, which is the client's side). No state is kept between them: a challenge is
signed and carries its time.
"""

import hmac
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from hmac import compare_digest
from typing import Final

from streamserver.rtmp.url import TcUrl, query_parameters

__all__ = [
    "AUTH_PARAMETERS",
    "AdobeAuth",
    "AuthFailed",
    "AuthNeeded",
    "Proven",
    "connect_parameters",
    "wants_auth",
]

AUTH_PARAMETERS: Final = frozenset({"authmod", "user", "challenge", "response", "opaque"})
"""Parameters of app and tcUrl that belong to the scheme, and to nothing else."""

_LIFETIME_S: Final = 60
_REJECT: Final = "[ AccessManager.Reject ] : [ "
_USER: Final = re.compile(r"[A-Za-z0-9._@+-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class AuthNeeded:
    """Refuse with this description: the encoder comes again and says more."""

    description: str = field(repr=False)
    """For the description of the refusal; encoders look for its words."""


@dataclass(frozen=True, slots=True)
class AuthFailed:
    """Refuse with this description: the password is wrong, or the challenge is stale."""

    description: str = field(repr=False)
    """As above."""

    is_guess: bool
    """Whether a wrong password was tried; a stale challenge is no guess."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The encoder knows one of the passwords."""

    user: str
    """The name that it gave. Any will do: the password is what opens."""

    password: str = field(repr=False)
    """The password that it knows."""


def wants_auth(flash_ver: str, will_publish: bool, params: Mapping[str, str]) -> bool:
    """Whether a connect is to be asked: an encoder that has brought nothing so far.

    Encoders say that they publish, or call themselves FMLE, because old servers looked for that.
    """
    if params.keys() & {"key", "token"}:
        return False
    return will_publish or "authmod" in params or "FMLE" in flash_ver


class AdobeAuth:
    """Asks for user and password, and checks the answer."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` signs challenges; another server with the same one can check them."""
        self._secret = secret

    def judge(
        self, params: Mapping[str, str], passwords: Iterable[str], now_s: int
    ) -> AuthNeeded | AuthFailed | Proven:
        """What to answer to a connect with these parameters; ``now_s`` is Unix time."""
        if params.get("authmod") != "adobe":
            return AuthNeeded(f"{_REJECT}code=403 need auth; authmod=adobe ] : ")
        user = params.get("user", "")
        if not _USER.match(user):
            return AuthFailed(f"{_REJECT}authmod=adobe ] : ?reason=nosuchuser", is_guess=False)
        if "response" not in params:
            opaque = self._sign(user, now_s, os.urandom(8).hex())
            return AuthNeeded(
                f"{_REJECT}authmod=adobe ] : ?reason=needauth&user={user}"
                f"&salt={self._salt(user)}&challenge={opaque[:8]}&opaque={opaque}"
            )
        opaque = params.get("opaque", "")
        failed = f"{_REJECT}authmod=adobe ] : ?reason=authfailed&opaque={user}"
        if not self._is_fresh(user, opaque, now_s):
            return AuthFailed(failed, is_guess=False)
        presented = params["response"].encode()
        found = [
            password
            for password in passwords
            if compare_digest(presented, self._response(user, password, opaque, params).encode())
        ]
        return Proven(user, found[0]) if found else AuthFailed(failed, is_guess=True)

    def _response(self, user: str, password: str, opaque: str, params: Mapping[str, str]) -> str:
        known = _base64_md5(user + self._salt(user) + password)
        return _base64_md5(known + opaque + params.get("challenge", ""))

    def _salt(self, user: str) -> str:
        return self._mac("salt", user)[:16]

    def _sign(self, user: str, now_s: int, nonce: str) -> str:
        stamp = f"{now_s:x}.{nonce}"
        return f"{stamp}.{self._mac('challenge', user, stamp)}"

    def _is_fresh(self, user: str, opaque: str, now_s: int) -> bool:
        stamp, _, mac = opaque.rpartition(".")
        if not compare_digest(mac.encode(), self._mac("challenge", user, stamp).encode()):
            return False
        return 0 <= now_s - int(stamp.partition(".")[0], 16) <= _LIFETIME_S

    def _mac(self, *words: str) -> str:
        text = "\0".join(("streamserver authmod 1", *words))
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def connect_parameters(app: str, tc_url: str) -> dict[str, str]:
    """The parameters behind app and tcUrl of a connect; those of the app win."""
    params = query_parameters(TcUrl.parse(tc_url).query)
    params.update(query_parameters(app.partition("?")[2]))
    return params


def _base64_md5(text: str) -> str:
    # The scheme is MD5's; it hides a password on the wire and protects nothing else.
    return b64encode(
        md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    ).decode()
