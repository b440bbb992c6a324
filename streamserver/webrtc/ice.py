"""The ICE-lite agent of one peer (RFC 8445): it answers checks, and follows who controls. Sans-IO.

A lite agent sends no checks. It learns a pair when an authentic request comes over it, takes the
one that is nominated, and stops sending when requests stop: those are the peer's consent.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from streamserver.errors import RemoteProtocolError
from streamserver.webrtc import stun

__all__ = ["CONSENT_NS", "Credentials", "IceLite", "Outcome"]

CONSENT_NS: Final = 30_000_000_000
"""Without an authentic request for so long, nothing more may be sent (RFC 7675, section 5.1)."""

_MAX_PATHS: Final = 8
"""Pairs that are remembered for a peer; a browser on three networks has six."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name fragment and its password (RFC 8445, section 5.3)."""

    ufrag: str
    """What requests to us begin their USERNAME with."""

    password: str = field(repr=False)
    """What they are signed with."""

    @classmethod
    def new(cls) -> "Credentials":
        """Random ones: 64 and 128 bits; the specification asks for 24 and 128."""
        return cls(secrets.token_hex(8), secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Outcome(Generic[P]):
    """What a request led to."""

    answer: bytes | None
    """What goes back over the same path; None: nothing does."""

    authentic: bool = False
    """Whether the sender knew the password."""

    valid: bool = False
    """Whether the path is one of the peer's now."""

    selected: bool = False
    """Whether the path to send on has changed: it is now this one."""

    dropped: P | None = None
    """A path that is forgotten, since there are too many."""

    error_code: int | None = None
    """The error that the answer tells."""


class IceLite(Generic[P]):
    """The state of one peer's connectivity. ``P`` is hashable and names a pair of addresses."""

    def __init__(self, now_ns: int, credentials: Credentials | None = None) -> None:
        self.credentials = credentials or Credentials.new()
        self.previous: Credentials | None = None
        """Those before a restart, until the new ones are used."""
        self.selected: P | None = None
        """The path to send on: the nominated one, or the first valid one until then."""
        self.nominated = False
        """Whether the peer has nominated a path, since the start or the last restart."""
        self.paths: dict[P, int] = {}
        """Valid paths, and when each was last confirmed."""
        self.consent_ns = now_ns
        """When the last authentic request came; the start counts as one."""
        self._used = False

    def restart(self) -> Credentials:
        """New credentials; media goes on over the old path until the new ones are used.

        RFC 8445, section 9.
        """
        if self._used:
            self.previous = self.credentials
        self._used = False
        self.credentials = Credentials.new()
        return self.credentials

    def receive(self, data: bytes, path: P, source: tuple[str, int], now_ns: int) -> Outcome[P]:
        """Takes a STUN message that came over ``path`` from the address ``source``.

        What is not a valid, authentic request gets no answer: its source may be forged, and an
        answer would hit somebody else.
        """
        try:
            message = stun.parse(data)
        except RemoteProtocolError:
            return Outcome(None)
        if message.kind is not stun.Kind.REQUEST:
            return Outcome(None)
        key = self._authenticate(data, message)
        if key is None:
            return Outcome(None)
        self.consent_ns = now_ns
        password = key.password.encode()
        refusal = _refuse(message)
        if refusal is not None:
            code, reason = refusal
            answer = stun.error(message.transaction_id, code, reason, password, message.unknown)
            return Outcome(answer, authentic=True, error_code=code)
        answer = stun.success(message.transaction_id, source, password)
        dropped = self._remember(path, now_ns)
        selected = self._select(path, message.use_candidate, key)
        return Outcome(answer, authentic=True, valid=True, selected=selected, dropped=dropped)

    def forget(self, path: P) -> bool:
        """A path has gone; answers whether the selected one has changed."""
        self.paths.pop(path, None)
        if path != self.selected:
            return False
        # The one that was confirmed last is the best guess until the peer nominates.
        self.selected = max(self.paths, key=self.paths.__getitem__, default=None)
        return True

    def expired(self, now_ns: int) -> bool:
        """Whether the peer's consent has run out."""
        return now_ns - self.consent_ns >= CONSENT_NS

    def _authenticate(self, data: bytes, message: stun.Message) -> Credentials | None:
        # RFC 8445, section 7.3: the first part of USERNAME is ours, the colon is there.
        ufrag, colon, _ = message.username.partition(b":")
        for key in (self.credentials, self.previous):
            if key is None or not colon or ufrag != key.ufrag.encode():
                continue
            if stun.authentic(data, message, key.password.encode()):
                return key
        return None

    def _remember(self, path: P, now_ns: int) -> P | None:
        dropped = None
        if path not in self.paths and len(self.paths) >= _MAX_PATHS:
            others = (known for known in self.paths if known != self.selected)
            dropped = min(others, key=self.paths.__getitem__)
            del self.paths[dropped]
        self.paths[path] = now_ns
        return dropped

    def _select(self, path: P, nominates: bool, key: Credentials) -> bool:
        if key is self.credentials:
            if not self._used:
                self._used, self.nominated = True, False
            if nominates:
                self.previous, self.nominated = None, True
        elif self._used:
            # A late request of the time before the restart decides nothing any more.
            return False
        # A later nomination counts as well: that is how browsers roam.
        if path == self.selected or not (nominates or self.selected is None):
            return False
        self.selected = path
        return True


def _refuse(message: stun.Message) -> tuple[int, str] | None:
    if message.unknown:
        return stun.UNKNOWN_ATTRIBUTE, "Unknown Attribute"
    if message.controlled is not None:
        # RFC 8445, section 7.3.1.1: a lite agent never controls, so the peer has to.
        return stun.ROLE_CONFLICT, "Role Conflict"
    return None
