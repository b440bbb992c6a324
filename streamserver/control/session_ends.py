"""Sessions whose right to be here ends: at a time, or because a credential was taken back."""

from typing import Final

from streamserver.clock import Clock
from streamserver.hub.sessions import Session, SessionTable

__all__ = ["SessionEnds"]

_LOOK_NS: Final = 1_000_000_000

_EXPIRED: Final = "what let this connection in has expired"


class SessionEnds:
    """Closes sessions at their `Session.expires_s`, and those of a revoked credential.

    Give `tick` to the driver. Only sessions that can end are looked at, once a second.
    """

    def __init__(self, table: SessionTable, clock: Clock) -> None:
        self.expired = 0
        """Sessions ended by time, since the start."""
        self.revoked = 0
        """Sessions ended with their credential, since the start."""
        self._clock = clock
        self._ending: dict[str, Session] = {}
        self._by_credential: dict[str, dict[str, Session]] = {}
        self._next_ns = 0
        table.on_change(self._changed)

    def tick(self, now_ns: int) -> None:
        """Ends what is over; ``now_ns`` is monotonic."""
        if now_ns < self._next_ns or not self._ending:
            return
        self._next_ns = now_ns + _LOOK_NS
        now_s = self._clock.wall_ns() // 1_000_000_000
        for session in list(self._ending.values()):
            if session.expires_s is not None and session.expires_s <= now_s:
                self.expired += 1
                session.close(_EXPIRED)

    def revoke(self, credential: str, reason: str) -> int:
        """Ends all sessions that a credential (its tag) let in; answers how many."""
        sessions = list(self._by_credential.get(credential, {}).values())
        for session in sessions:
            session.close(reason)
        self.revoked += len(sessions)
        return len(sessions)

    def _changed(self, session: Session, joined: bool) -> None:
        if session.expires_s is not None:
            if joined:
                self._ending[session.id] = session
            else:
                self._ending.pop(session.id, None)
        if not session.credential:
            return
        if joined:
            self._by_credential.setdefault(session.credential, {})[session.id] = session
            return
        of_credential = self._by_credential.get(session.credential, {})
        of_credential.pop(session.id, None)
        if not of_credential:
            self._by_credential.pop(session.credential, None)
