"""How publishers prove a user and a password to Wowza, Akamai and their kin.

A server refuses connect and names a scheme in the description; the client connects anew, with
parameters behind app and tcUrl, until it is let in: first its name, then the answer to a challenge.
Neither scheme is in a specification. ``adobe`` is of FMS's authentication add-in, ``llnw`` of
Limelight; both hash with MD5, so they hide a password and protect nothing else.
"""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final

__all__ = ["Challenge", "answer_challenge", "introduce", "read_challenge"]

_SCHEME: Final = re.compile(r"authmod=([a-z]{1,16})")
_PARAMETERS: Final = re.compile(r"\?([^\s\]]*reason=[^\s\]]*)")
_REFUSED: Final = frozenset({"authfailed", "nosuchuser"})
_KNOWN: Final = frozenset({"adobe", "llnw"})


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a refusal asks for."""

    scheme: str
    """``adobe``, ``llnw``, or one that we do not know."""

    reason: str
    """Empty for "say who you are", ``needauth`` for a challenge, else why it was refused."""

    params: dict[str, str] = field(repr=False)
    """salt, challenge, opaque, nonce; as they came."""

    @property
    def known(self) -> bool:
        """Whether we can answer its scheme."""
        return self.scheme in _KNOWN

    @property
    def refused(self) -> bool:
        """Whether the far side knows the user, or the password, to be wrong."""
        return self.reason in _REFUSED


def read_challenge(description: str) -> Challenge | None:
    """Reads the description of a refused connect; None when it asks for no authentication."""
    scheme = _SCHEME.search(description)
    query = _PARAMETERS.search(description)
    if scheme is None:
        return None
    if query is None:
        needs = "need auth" in description
        return Challenge(scheme[1], "", {}) if needs else None
    params = {key: value for key, _, value in (pair.partition("=") for pair in query[1].split("&"))}
    return Challenge(scheme[1], params.get("reason", ""), params)


def introduce(challenge: Challenge, user: str) -> str:
    """The parameters of the second connection: who we are."""
    return f"authmod={challenge.scheme}&user={user}"


def answer_challenge(
    challenge: Challenge, user: str, password: str, app: str, client_nonce: str
) -> str:
    """The parameters of the third connection: who we are, and that we know the password.

    ``app`` is the application without such parameters; ``client_nonce`` eight hexadecimal digits.
    """
    answer = _adobe if challenge.scheme == "adobe" else _llnw
    return f"{introduce(challenge, user)}&{answer(challenge, user, password, app, client_nonce)}"


def _adobe(challenge: Challenge, user: str, password: str, app: str, nonce: str) -> str:
    params = challenge.params
    opaque = params.get("opaque", "")
    secret = _base64_md5(user + params.get("salt", "") + password)
    response = _base64_md5(secret + (opaque or params.get("challenge", "")) + nonce)
    answer = f"challenge={nonce}&response={response}"
    return f"{answer}&opaque={opaque}" if opaque else answer


def _llnw(challenge: Challenge, user: str, password: str, app: str, nonce: str) -> str:
    # HTTP's digest (RFC 2617 3.2.2) with fixed words; an application has an instance.
    server_nonce = challenge.params.get("nonce", "")
    path = app if "/" in app else f"{app}/_definst_"
    who = _hex_md5(f"{user}:live:{password}")
    what = _hex_md5(f"publish:/{path}")
    response = _hex_md5(f"{who}:{server_nonce}:00000001:{nonce}:auth:{what}")
    return f"nonce={server_nonce}&cnonce={nonce}&nc=00000001&response={response}"


def _base64_md5(text: str) -> str:
    return b64encode(md5(text.encode(), usedforsecurity=False).digest()).decode()


def _hex_md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
