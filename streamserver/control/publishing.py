"""Publishing as a plain call: may he, and the right to append."""

import secrets
from collections.abc import Callable

from streamserver.auth.request import Action
from streamserver.clock import Clock
from streamserver.control.attempt import Attempt, admit
from streamserver.control.playing import Decides
from streamserver.errors import InvalidNameError
from streamserver.hub import sessions
from streamserver.hub.registry import Lease, Registry
from streamserver.hub.sessions import Session, SessionTable
from streamserver.names import StreamKey

__all__ = ["Publication", "Publishing"]


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

    async def open(self, attempt: Attempt) -> Publication:
        """Lets a publisher in.

        Raises `RefusedError` of a kind that says why: `AccessDeniedError`, `InvalidNameError`,
        `StreamBusyError`, `LimitError`, `ShuttingDownError`.
        """
        key, session_id = await self._admit(attempt)
        session = self._session(attempt, key, session_id)
        lease = await self._registry.claim(key, session)
        self._table.add(session)
        return Publication(lease, session, self._table)

    async def check(self, attempt: Attempt) -> None:
        """Raises `RefusedError` when such a publisher would not be let in."""
        await self._admit(attempt)

    async def open_internal(self, key: StreamKey, close: Callable[[str], None]) -> Publication:
        """Lets a source of the server's own in, which nobody has to allow."""
        attempt = Attempt(
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

    async def _admit(self, attempt: Attempt) -> tuple[StreamKey, str]:
        key = StreamKey(attempt.app, attempt.name)
        if "@" in key.name:
            raise InvalidNameError("names with @ are renditions, which only the server makes")
        if self._apps and key.app not in self._apps:
            raise InvalidNameError(
                f"there is no app {key.app!r}; this server has {', '.join(self._apps)}"
            )
        session_id = secrets.token_urlsafe(12)
        request = attempt.access_request(Action.PUBLISH, key, session_id)
        admit(await self._decider.decide(request))
        return key, session_id

    def _session(self, attempt: Attempt, key: StreamKey, session_id: str) -> Session:
        wall_ns = self._clock.wall_ns()
        return attempt.session(sessions.Action.PUBLISH, key, session_id, wall_ns)
