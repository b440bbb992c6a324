"""What a destination is doing, and what may follow what."""

from enum import StrEnum
from typing import Final

from streamserver.errors import LocalProtocolError

__all__ = ["DestinationState", "check_step"]


class DestinationState(StrEnum):
    """The states of the API (interface, Destination)."""

    IDLE = "idle"
    """Ready; its stream is not live."""

    CONNECTING = "connecting"
    """Looks up, connects, asks to publish, or waits for the first bytes to arrive."""

    LIVE = "live"
    """The far side accepted, and its kernel acknowledges media."""

    STALLED = "stalled"
    """Connected, but what was sent is no longer acknowledged."""

    BACKOFF = "backoff"
    """The last attempt failed; the next one has a time."""

    FAILED = "failed"
    """It failed for a reason that no further attempt would mend."""

    DISABLED = "disabled"
    """Paused by its owner."""


_I, _C, _L = DestinationState.IDLE, DestinationState.CONNECTING, DestinationState.LIVE
_S, _B, _F = DestinationState.STALLED, DestinationState.BACKOFF, DestinationState.FAILED

_STEPS: Final[dict[DestinationState, frozenset[DestinationState]]] = {
    _I: frozenset({_C}),
    # From wherever it is: its stream ends (idle).
    _C: frozenset({_L, _S, _B, _F, _I}),
    # And sent on to another connection.
    _L: frozenset({_C, _S, _B, _F, _I}),
    _S: frozenset({_C, _L, _B, _F, _I}),
    # The next attempt, which may be a wish of its owner.
    _B: frozenset({_C, _I}),
    _F: frozenset({_C, _I}),
    DestinationState.DISABLED: frozenset({_I}),
}


def check_step(before: DestinationState, after: DestinationState) -> None:
    """Raises `LocalProtocolError` for a step that a destination cannot make.

    Pausing is possible from everywhere.
    """
    if after is not DestinationState.DISABLED and after not in _STEPS[before]:
        raise LocalProtocolError(f"a destination went from {before} to {after}")
