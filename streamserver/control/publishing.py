"""Publishing as a plain call: may he, and the right to append."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from streamserver.auth.request import Action, Decision
from streamserver.auth.stream_keys import StreamKeyDecider, looks_like_secret
from streamserver.clock import Clock
from streamserver.control.apps import Apps
from streamserver.control.attempt import Attempt, admit
from streamserver.control.playing import Decides
from streamserver.errors import AccessDeniedError, InvalidNameError, RefusedError, UnavailableError
from streamserver.hub import sessions
from streamserver.hub.limits import Limits
from streamserver.hub.registry import Lease, Registry
from streamserver.hub.sessions import Session, SessionTable
from streamserver.names import DEFAULT_NAME, StreamKey

__all__ = ["Lend", "Publication", "Publishing"]

logger = logging.getLogger(__name__)

Lend = Callable[[StreamKey, Sequence[str]], Awaitable[None]]
"""``lend(stream, urls)``: where this broadcast is sent on to, as a hook said."""


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
        apps: Apps | None = None,
        stream_keys: StreamKeyDecider | None = None,
        lend: Lend | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``stream_keys`` knows the streams that a key in the place of a name stands for."""
        self.on_refused: Callable[[Attempt, RefusedError], None] = lambda attempt, error: None
        """Told of each publisher that is not let in."""
        self._registry = registry
        self._table = table
        self._decider = decider
        self._clock = clock
        self._apps = apps or Apps()
        self._stream_keys = stream_keys
        self._lend = lend
        self._limits = limits or Limits(table)

    async def open(self, attempt: Attempt) -> Publication:
        """Lets a publisher in.

        Raises `RefusedError` of a kind that says why: `AccessDeniedError`, `InvalidNameError`,
        `StreamBusyError`, `LimitError`, `ShuttingDownError`.
        """
        try:
            return await self._open(attempt)
        except RefusedError as error:
            self.on_refused(attempt, error)
            raise

    async def _open(self, attempt: Attempt) -> Publication:
        key, session_id, decision = await self._admit(attempt)
        self._limits.check_publisher(key, attempt.remote_ip)
        session = self._session(attempt, key, session_id, decision)
        lease = await self._registry.claim(key, session)
        self._table.add(session)
        publication = Publication(lease, session, self._table)
        if decision.destinations and self._lend is not None:
            try:
                await self._lend(key, decision.destinations)
            except BaseException:
                publication.close("the publisher left while it was let in")
                raise
        return publication

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

    async def _admit(self, attempt: Attempt) -> tuple[StreamKey, str, Decision]:
        attempt = await self._resolve(attempt)
        key = self._check(StreamKey(attempt.app, attempt.name))
        session_id = secrets.token_urlsafe(12)
        request = attempt.access_request(Action.PUBLISH, key, session_id)
        decision = await self._decider.decide(request)
        admit(decision)
        return self._check(self._granted(key, decision)), session_id, decision

    async def _resolve(self, attempt: Attempt) -> Attempt:
        """The same attempt with the stream's name, where its secret key stood in that place."""
        if self._stream_keys is None:
            return attempt
        try:
            found = await self._stream_keys.resolve(attempt.app, attempt.name)
        except UnavailableError as error:
            logger.error("a stream key cannot be looked up: %s", error)
            raise AccessDeniedError("access cannot be checked at the moment") from None
        if found is None:
            return attempt
        key, secret = found
        params = {**attempt.params, "key": secret}
        return replace(attempt, app=key.app, name=key.name, params=params)

    def _check(self, key: StreamKey) -> StreamKey:
        if "@" in key.name:
            raise InvalidNameError("names with @ are renditions, which only the server makes")
        self._apps.check(key.app)
        return key

    @staticmethod
    def _granted(key: StreamKey, decision: Decision) -> StreamKey:
        """The stream that is published in truth."""
        if decision.stream is not None:
            return decision.stream
        if looks_like_secret(key.name) or (key.name == DEFAULT_NAME and looks_like_secret(key.app)):
            # A key that was rotated, most likely: as a name, everybody would see it.
            raise AccessDeniedError(
                "this looks like a stream key, and no stream has it; "
                "give the stream's name, and the key as ?key=..."
            )
        return key

    def _session(
        self, attempt: Attempt, key: StreamKey, session_id: str, decision: Decision | None = None
    ) -> Session:
        wall_ns = self._clock.wall_ns()
        return attempt.session(sessions.Action.PUBLISH, key, session_id, wall_ns, decision)
