"""Somebody wants to publish or to watch: who asks, how, and with which credentials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.errors import AccessDeniedError, CredentialsMissingError
from streamserver.hub import sessions
from streamserver.hub.sessions import Session
from streamserver.names import StreamKey

__all__ = ["Attempt", "admit", "clean_agent"]

_AGENT_CHARS = 256


def clean_agent(text: str) -> str:
    """What a client calls itself, fit for logs and pages: printable, at most 256 characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:_AGENT_CHARS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody wants in over a connection of its own: to publish, or to watch."""

    protocol: sessions.Protocol
    """How it came."""

    app: str
    """First segment of the name, unchecked."""

    name: str = field(repr=False)
    """Second segment, unchecked."""

    remote_ip: str
    """The client's address."""

    local: bool
    """Whether it is on this machine: see `streamserver.auth.loopback`."""

    user_agent: str = ""
    """What it calls itself."""

    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters of its URL or key."""

    user: str | None = None
    """The user name, where it gave one."""

    password: str | None = field(default=None, repr=False)
    """The password, where it gave one."""

    token: str | None = field(default=None, repr=False)
    """The bearer token, where it gave one."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The header fields of an HTTP request."""

    details: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What an RTMP connect says besides; see `AccessRequest.details`."""

    close: Callable[[str], None] = field(repr=False)
    """Ends its connection, with a reason."""

    def access_request(self, action: Action, key: StreamKey, session_id: str) -> AccessRequest:
        """The question for the deciders."""
        return AccessRequest(
            id=session_id,
            action=action,
            protocol=self.protocol.value,
            stream=key,
            remote_ip=self.remote_ip,
            local=self.local,
            user=self.user,
            password=self.password,
            token=self.token,
            query=self.params,
            user_agent=clean_agent(self.user_agent),
            headers=self.headers,
            details=self.details,
        )

    def session(
        self,
        action: sessions.Action,
        key: StreamKey,
        session_id: str,
        wall_ns: int,
        decision: Decision | None = None,
    ) -> Session:
        """The session that it becomes, at a Unix time, by a decision that may end it."""
        return Session(
            id=session_id,
            action=action,
            protocol=self.protocol,
            stream=key,
            remote_ip=self.remote_ip,
            user_agent=clean_agent(self.user_agent),
            joined_at=datetime.fromtimestamp(wall_ns // 1_000_000 / 1000, UTC),
            close=self.close,
            expires_s=decision.expires_s if decision else None,
            credential=decision.credential if decision else "",
        )


def admit(decision: Decision) -> None:
    """Raises `AccessDeniedError` for a refusal: `CredentialsMissingError` where none came."""
    if decision.allowed:
        return
    raise (CredentialsMissingError if decision.missing else AccessDeniedError)(decision.reason)
