"""Publishing as a plain call: who asks, may he, and the right to append."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.clock import Clock
from streamserver.control.playing import Decides
from streamserver.errors import AccessDeniedError, InvalidNameError
from streamserver.hub import sessions
from streamserver.hub.registry import Lease, Registry
from streamserver.hub.sessions import Session, SessionTable
from streamserver.names import StreamKey

__all__ = ["Publication", "PublishAttempt", "Publishing", "clean_agent"]

_AGENT_CHARS: Final = 256


def clean_agent(text: str) -> str:
    """What a client calls itself, fit for logs and pages: printable, at most 256 characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:_AGENT_CHARS])


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAttempt:
    """Somebody wants to publish."""

    protocol: sessions.Protocol
    """How it came."""

    app: str
    """First segment of the name, unchecked."""

    name: str = field(repr=False)
    """Second segment, unchecked."""

    remote_ip: str
    """The publisher's address."""

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

    close: Callable[[str], None] = field(repr=False)
    """Ends its connection, with a reason."""


class Publication:
    """A publisher that may append, until it is closed."""

    __slots__ = ("_table", "lease", "session")

    def __init__(self, lease: Lease, session: Session, table: SessionTable) -> None:
        self.lease = lease
        self.session = session
        self._table = table

    def close(self, reason: str) -> None:
        """Gives the right back; the stream waits for a return. A second call does nothing."""
        self.lease.release(reason)
        self._table.remove(self.session)


class Publishing:
    """Decides about publishers and enters them."""

    def __init__(
        self,
        registry: Registry,
        table: SessionTable,
        decider: Decides,
        clock: Clock,
        *,
        apps: tuple[str, ...] = (),
    ) -> None:
        """``apps`` are the only apps that exist; empty for any."""
        self._registry = registry
        self._table = table
        self._decider = decider
        self._clock = clock
        self._apps = apps

    async def open(self, attempt: PublishAttempt) -> Publication:
        """Lets a publisher in.

        Raises `RefusedError` of a kind that says why: `AccessDeniedError`, `InvalidNameError`,
        `StreamBusyError`, `LimitError`, `ShuttingDownError`.
        """
        key = StreamKey(attempt.app, attempt.name)
        if "@" in key.name:
            raise InvalidNameError("names with @ are renditions, which only the server makes")
        if self._apps and key.app not in self._apps:
            raise InvalidNameError(
                f"there is no app {key.app!r}; this server has {', '.join(self._apps)}"
            )
        session_id = secrets.token_urlsafe(12)
        decision = await self._decide(attempt, key, session_id)
        if not decision.allowed:
            raise AccessDeniedError(decision.reason)
        session = self._session(attempt, key, session_id)
        lease = await self._registry.claim(key, session)
        self._table.add(session)
        return Publication(lease, session, self._table)

    async def open_internal(self, key: StreamKey, close: Callable[[str], None]) -> Publication:
        """Lets a source of the server's own in, which nobody has to allow."""
        attempt = PublishAttempt(
            protocol=sessions.Protocol.INTERNAL,
            app=key.app,
            name=key.name,
            remote_ip="",
            local=True,
            user_agent="streamserver",
            close=close,
        )
        session = self._session(attempt, key, secrets.token_urlsafe(12))
        lease = await self._registry.claim(key, session)
        self._table.add(session)
        return Publication(lease, session, self._table)

    async def _decide(self, attempt: PublishAttempt, key: StreamKey, session_id: str) -> Decision:
        return await self._decider.decide(
            AccessRequest(
                id=session_id,
                action=Action.PUBLISH,
                protocol=attempt.protocol.value,
                stream=key,
                remote_ip=attempt.remote_ip,
                local=attempt.local,
                user=attempt.user,
                password=attempt.password,
                query=attempt.params,
                user_agent=clean_agent(attempt.user_agent),
            )
        )

    def _session(self, attempt: PublishAttempt, key: StreamKey, session_id: str) -> Session:
        return Session(
            id=session_id,
            action=sessions.Action.PUBLISH,
            protocol=attempt.protocol,
            stream=key,
            remote_ip=attempt.remote_ip,
            user_agent=clean_agent(attempt.user_agent),
            joined_at=datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC),
            close=attempt.close,
        )
