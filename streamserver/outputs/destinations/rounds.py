"""One clock for all destinations: what came is joined and written to each, a few times a second.

Tasks and timers of their own would cost every destination more than its writes do. And a write
empties the caches: all who are level are seen to first, and then written to.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from streamserver.clock import Clock
from streamserver.feeds.body import BodyFeed
from streamserver.outputs.destinations.runs import SharedRuns
from streamserver.outputs.destinations.seat import Ready, write_all

__all__ = ["Rounds"]

_LEAST_MS: Final = 10
"""Between two rounds, whoever wants none."""

_AT_ONCE: Final = 32
"""Members in one turn of the loop: at some 50 us each it is never held for long."""


class Rounds:
    """Calls every member in turn, again and again while there are any.

    A member must not raise. Whoever comes first starts the clock, and the last one stops it.
    """

    def __init__(self, every_ms: int, clock: Clock) -> None:
        """``every_ms``: how long what came may wait to be joined. However few destinations there
        are: each write wakes the far side, whose own players buffer for much longer."""
        self.number = 0
        """Grows with each round."""
        self.now_ns = clock.monotonic_ns()
        """When the last one began."""
        self.ready: list[Ready] | None = None
        """What the members of a turn leave to be written behind the last of them; None while there
        is no turn."""
        self._clock = clock
        self._every_s = max(_LEAST_MS, every_ms) / 1000
        self._members: dict[Callable[[], None], None] = {}
        self._runs: WeakKeyDictionary[BodyFeed, SharedRuns] = WeakKeyDictionary()
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def runs_of(self, feed: BodyFeed) -> SharedRuns:
        """What all members that send a feed share."""
        return self._runs.setdefault(feed, SharedRuns(feed.log))

    def join(self, member: Callable[[], None]) -> None:
        """Calls it from the next round on."""
        self._members[member] = None
        if self._handle is None:
            self._later()

    def leave(self, member: Callable[[], None]) -> None:
        """Calls it no more. A second call does nothing."""
        self._members.pop(member, None)
        if not self._members and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _later(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._every_s, self._begin)

    def _begin(self) -> None:
        self.number += 1
        self.now_ns = self._clock.monotonic_ns()
        self._turn(list(self._members))

    def _turn(self, members: list[Callable[[], None]]) -> None:
        ready: list[Ready] = []
        self.ready = ready
        for member in members[:_AT_ONCE]:
            if member in self._members:
                member()
        self.ready = None
        write_all(ready)
        rest = members[_AT_ONCE:]
        if not self._members:
            return  # the last of them left in this turn
        if rest:
            self._handle = asyncio.get_running_loop().call_soon(self._turn, rest)
        else:
            self._later()
