"""What the host may choose about a client session, with the defaults that platforms take."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from streamserver.rtmp.settings import CAPS_MOD_EX, CAPS_RECONNECT, SessionSettings
from streamserver.rtmp.target import PublishTarget

__all__ = ["CLIENT_BOUNDS", "ClientAction", "ClientSettings"]

ClientAction: TypeAlias = Literal["publish", "play"]

CLIENT_BOUNDS: Final = SessionSettings(
    # What SRS has sent to every platform for years; others send 4096, and cost more.
    chunk_size=60_000,
    caps_ex=CAPS_RECONNECT | CAPS_MOD_EX,
    # Platforms look keys up far away: publish alone may take ten seconds.
    setup_timeout_ns=20_000_000_000,
)
"""Bounds and announcements of a client; ``idle_timeout_ns`` is for players."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """One connection to one far side."""

    target: PublishTarget
    """Where to go."""

    action: ClientAction = "publish"
    """Whether to send a stream there or to take it from there."""

    bounds: SessionSettings = CLIENT_BOUNDS
    """Bounds of what comes, and what to announce."""

    flash_ver: str = "FMLE/3.0 (compatible; FMSc/1.0)"
    """What we call ourselves; some servers let only FMLE publish. Players go as ``LNX``."""

    buffer_ms: int = 3000
    """What a player says that it buffers; servers send so much at once."""

    auth_query: str = field(default="", repr=False)
    """Parameters behind app and tcUrl from `auth_schemes`; set by `ReconnectWith`."""

    @property
    def connect_app(self) -> str:
        """``app`` of connect."""
        return self._with_auth(self.target.app)

    @property
    def connect_tc_url(self) -> str:
        """``tcUrl`` of connect."""
        return self._with_auth(self.target.tc_url)

    def _with_auth(self, text: str) -> str:
        if not self.auth_query:
            return text
        return f"{text}{'&' if '?' in self.target.app else '?'}{self.auth_query}"
