"""The end of a server in good order: who can move elsewhere is asked to, the rest is told."""

import asyncio
import contextlib
from collections.abc import Callable, Set
from typing import Final

from streamserver.hub.registry import Registry
from streamserver.hub.sessions import Protocol, Session, SessionTable

__all__ = ["Drain"]

_GOODBYE_S: Final = 1.5
"""How long players have to fetch the end of their playlists once the streams are over."""

_REASON: Final = "the server is shutting down"


class Drain:
    """Takes nothing new and ends the broadcasts, within a time."""

    def __init__(self, registry: Registry, table: SessionTable, timeout_s: float) -> None:
        self._registry = registry
        self._table = table
        self._ends_s = asyncio.get_running_loop().time() + timeout_s
        self._left = asyncio.Event()

    @property
    def left_s(self) -> float:
        """How much of the time is left."""
        return max(0.0, self._ends_s - asyncio.get_running_loop().time())

    async def run(self, ask: Callable[[str], Set[str]]) -> None:
        """Ends every broadcast.

        ``ask(reason)`` asks those publishers to come again who understand that, and answers the
        ids of their sessions: each of them may go on until it has found another server, which it
        does at a keyframe; for all together the time is what is left, less what players need for
        their good-bye.
        """
        had_players = bool(self._table.count()[Protocol.HLS])
        self._registry.draining = True
        self._table.on_change(self._changed)
        asked = ask(_REASON)
        self._registry.close(_REASON, spare=asked)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self.left_s - _GOODBYE_S)):
                await self._until_left(asked)
        had_players = had_players or bool(self._table.count()[Protocol.HLS])
        self._registry.close(_REASON)
        if had_players:
            # A player that waits for the next part asks once more and sees the end.
            await asyncio.sleep(min(_GOODBYE_S, self.left_s))

    def _changed(self, session: Session, joined: bool) -> None:
        if not joined:
            self._left.set()

    async def _until_left(self, asked: Set[str]) -> None:
        while any(self._table.get(session_id) for session_id in asked):
            self._left.clear()
            await self._left.wait()
