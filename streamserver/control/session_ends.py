"""Sessions whose right to be here ends: at a time, or because a credential was taken back."""

from collections.abc import Callable
from typing import Final, Protocol

from streamserver.clock import Clock
from streamserver.hub.sessions import Session, SessionTable

__all__ = ["SessionEnds"]

_LOOK_NS: Final = 1_000_000_000

_EXPIRED: Final = "what let this connection in has expired"


class Held(Protocol):
    """What somebody was let in to: a session, or a reader of events."""

    @property
    def id(self) -> str:
        """Unique in the process."""

    @property
    def expires_s(self) -> int | None:
        """Unix time at which what let it in ends; None: never."""

    @property
    def credential(self) -> str:
        """The tag of the credential that let it in; empty: none."""

    @property
    def close(self) -> Callable[[str], None]:
        """Ends it, with a reason for people."""


class SessionEnds:
    """Closes what somebody was let in to at its end, or when the credential is taken back.

    Sessions are entered by themselves, others by `enter`. Give `tick` to the driver. Only what can
    end is looked at, once a second.
    """

    def __init__(self, table: SessionTable, clock: Clock) -> None:
        self.expired = 0
        """Sessions ended by time, since the start."""
        self.revoked = 0
        """Sessions ended with their credential, since the start."""
        self._clock = clock
        self._ending: dict[str, Held] = {}
        self._by_credential: dict[str, dict[str, Held]] = {}
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

    def enter(self, held: Held) -> None:
        """Somebody was let in; until `leave`."""
        if held.expires_s is not None:
            self._ending[held.id] = held
        if held.credential:
            self._by_credential.setdefault(held.credential, {})[held.id] = held

    def leave(self, held: Held) -> None:
        """It has ended, by whatever reason."""
        self._ending.pop(held.id, None)
        of_credential = self._by_credential.get(held.credential)
        if of_credential is not None:
            of_credential.pop(held.id, None)
            if not of_credential:
                del self._by_credential[held.credential]

    def _changed(self, session: Session, joined: bool) -> None:
        if joined:
            self.enter(session)
        else:
            self.leave(session)
