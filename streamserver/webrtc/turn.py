"""STUN and TURN servers that clients are told of, with credentials that expire.

coturn's ``use-auth-secret`` (its "TURN REST API", draft-uberti-behave-turn-rest-00): the user name
begins with the second at which it expires, the password is its signature with a shared secret.
"""

import base64
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from streamserver.config.secret import Secret
from streamserver.errors import ConfigError

__all__ = ["IceServer", "IceServerOffer"]

_URL: Final = re.compile(
    r"(?:stuns?|turns?):(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
    r"(?:\?transport=(?:udp|tcp))?"
)
"""RFC 7064 and RFC 7065, without escapes."""

_NS_PER_S: Final = 1_000_000_000
_QUOTED: Final = re.compile(r'(["\\])')


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServerOffer:
    """A server and what one client logs in with, as it is handed out."""

    url: str
    """``stun:``, ``stuns:``, ``turn:`` or ``turns:``."""

    username: str = ""
    """User name; empty for STUN."""

    credential: str = field(default="", repr=False)
    """Password; empty for STUN."""

    def link(self) -> str:
        """The value of a ``Link`` header (RFC 9725, section 4.6)."""
        parts = [f"<{self.url}>", 'rel="ice-server"']
        if self.username:
            parts += (
                f"username={_quoted(self.username)}",
                f"credential={_quoted(self.credential)}",
                'credential-type="password"',
            )
        return "; ".join(parts)

    def as_ice_server(self) -> dict[str, object]:
        """The same as an ``RTCIceServer`` of a browser, ready for JSON."""
        server: dict[str, object] = {"urls": [self.url]}
        if self.username:
            server |= {"username": self.username, "credential": self.credential}
        return server


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A server as it is configured. Raises `ConfigError` when it cannot work."""

    url: str
    """``stun:host:port``, ``turn:host:port?transport=udp`` and the like."""

    secret: Secret = field(default_factory=lambda: Secret(""))
    """The secret that the TURN server signs with (coturn: ``static-auth-secret``)."""

    username: str = ""
    """A fixed user name; with a secret, what stands behind the time when nobody is named."""

    credential: Secret = field(default_factory=lambda: Secret(""))
    """Its password."""

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise ConfigError(
                f"{self.url!r} is no STUN or TURN URL: write stun:host:port, or "
                "turn:host:port?transport=udp"
            )
        has_login = bool(self.secret) or bool(self.username and self.credential)
        if self.url.startswith("turn") and not has_login:
            raise ConfigError(
                f"{self.url} needs a secret (coturn: static-auth-secret), or a username and a "
                "credential"
            )
        if not all(" " <= letter <= "~" for letter in self.username + self.credential.reveal()):
            raise ConfigError(f"{self.url}: username and credential are plain ASCII")

    def offer(self, wall_ns: int, *, user: str = "", valid_s: int = 86_400) -> IceServerOffer:
        """What a client is told that asks at this time; valid for ``valid_s`` seconds.

        ``user`` stands in the TURN server's log; letters, digits and hyphens of it are kept.
        """
        if self.url.startswith("stun"):
            return IceServerOffer(url=self.url)
        if not self.secret:
            return IceServerOffer(
                url=self.url, username=self.username, credential=self.credential.reveal()
            )
        name = re.sub(r"[^A-Za-z0-9-]", "", user or self.username)[:32]
        username = f"{wall_ns // _NS_PER_S + valid_s}{':' if name else ''}{name}"
        signature = hmac.digest(self.secret.reveal().encode(), username.encode(), "sha1")
        credential = base64.b64encode(signature).decode()
        return IceServerOffer(url=self.url, username=username, credential=credential)


def _quoted(text: str) -> str:
    # RFC 9110, section 5.6.4.
    return '"' + _QUOTED.sub(r"\\\1", text) + '"'
