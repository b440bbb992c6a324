"""Those who were not let in yet: what they cost the loop in each turn, and what they may hold.

However many of them come and whatever they send, those inside are served between any two shares
of work for strangers, and all strangers of a listener together hold no more than a bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["Stranger", "Strangers", "StrangersSettings"]

_MS: Final = 1_000_000


class Stranger(Protocol):
    """A connection that was not let in."""

    @property
    def held_bytes(self) -> int:
        """What it makes us keep."""

    def work(self, data: bytes) -> None:
        """Reads what it sent."""

    def pause_reading(self) -> None:
        """Nothing more is read of it."""

    def resume_reading(self) -> None:
        """It may go on."""

    def turn_away(self) -> None:
        """It holds more than any other while there is no room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangersSettings:
    """The bounds."""

    turn_ns: int = 4 * _MS
    """Time of the loop that they get in each of its turns, all together; one piece more is read
    when it ends in the midst of one."""

    max_held_bytes: int = 64 * 2**20
    """What they make us keep, all together."""


class Strangers:
    """Serves strangers in the order in which their bytes came."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        schedule: Callable[[Callable[[], None]], object],
        settings: StrangersSettings | None = None,
    ) -> None:
        """``schedule`` runs a function in the next turn of the loop."""
        self.deferred = 0
        """How often somebody had to wait for the next turn."""
        self.turned_away = 0
        """How many had to go because there was no room for what they held."""
        self.held_bytes = 0
        """What all of them make us keep."""
        self._now_ns = now_ns
        self._schedule = schedule
        self._settings = settings or StrangersSettings()
        self._left_ns = self._settings.turn_ns
        self._scheduled = False
        self._held: dict[Stranger, int] = {}
        self._waiting: dict[Stranger, bytes] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def receive(self, stranger: Stranger, data: bytes) -> None:
        """Reads what a stranger sent, now or in a later turn."""
        waiting = self._waiting.get(stranger)
        if waiting is not None:
            # A transport may hand over what it had read when it was paused.
            self._waiting[stranger] = waiting + data
        elif self._left_ns > 0 and not self._waiting:
            self._serve(stranger, data)
        else:
            self.deferred += 1
            self._waiting[stranger] = data
            stranger.pause_reading()
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._turn)

    def forget(self, stranger: Stranger) -> bytes:
        """It was let in, or has gone; answers what it sent that nobody has read."""
        self.held_bytes -= self._held.pop(stranger, 0)
        return self._waiting.pop(stranger, b"")

    def _turn(self) -> None:
        self._scheduled = False
        self._left_ns = self._settings.turn_ns
        waiting = self._waiting
        try:
            while waiting and self._left_ns > 0:
                stranger = next(iter(waiting))
                data = waiting.pop(stranger)
                stranger.resume_reading()
                self._serve(stranger, data)
        finally:
            if waiting:
                self._scheduled = True
                self._schedule(self._turn)

    def _serve(self, stranger: Stranger, data: bytes) -> None:
        began_ns = self._now_ns()
        stranger.work(data)
        self._left_ns -= self._now_ns() - began_ns
        held = stranger.held_bytes
        before = self._held.get(stranger, 0)
        if held == before:
            return
        self.held_bytes += held - before
        if held:
            self._held[stranger] = held
        else:
            del self._held[stranger]
        if self.held_bytes > self._settings.max_held_bytes:
            self._make_room()

    def _make_room(self) -> None:
        """Whoever holds most goes: that is nobody who asks for what encoders ask for."""
        most = max(self._held, key=self._held.__getitem__)
        self.forget(most)
        self.turned_away += 1
        most.turn_away()
