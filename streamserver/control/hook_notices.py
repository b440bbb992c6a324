"""Tells hooks in the words of nginx-rtmp and SRS who has left, and who is still here.

Those servers' backends count by it. Nothing waits for an answer: a hook that hangs loses notices
at its own bound, which are counted, and delays nobody.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamserver.auth.hooks import HookDecider, Notice
from streamserver.auth.request import AccessRequest
from streamserver.auth.request import Action as AccessAction
from streamserver.clock import Clock
from streamserver.config import HookAction
from streamserver.hub.sessions import Action, Protocol, Session, SessionTable
from streamserver.names import StreamKey
from streamserver.net.http_client import HttpClientError

__all__ = ["HookNotices"]

_MAX_WAITING: Final = 1_000
"""Notices that wait for one hook; the newest is dropped beyond it."""

_AT_ONCE: Final = 8
_GOODBYE_S: Final = 2.0
_SECOND: Final = 1_000_000_000
_DONE: Final = {Action.PUBLISH: HookAction.PUBLISH_DONE, Action.PLAY: HookAction.PLAY_DONE}


@dataclass(slots=True)
class _Line:
    """What one hook is still to be told."""

    hook: HookDecider
    waiting: asyncio.Queue[tuple[Notice, Session | None]]
    workers: list[asyncio.Task[None]] = field(default_factory=list)
    next_update_ns: dict[str, int] = field(default_factory=dict)
    """When each session is due to be told of again, by its id."""


class HookNotices:
    """Listens to the table of sessions. Give `tick` to the driver, and close it at the end."""

    def __init__(
        self,
        hooks: Callable[[], Sequence[HookDecider]],
        table: SessionTable,
        clock: Clock,
        *,
        log_ms: Callable[[StreamKey], int] = lambda stream: 0,
    ) -> None:
        """``hooks()`` are those of now: a reload changes them. ``log_ms`` is the media time."""
        self.dropped = 0
        """Notices that a hook was too slow for."""
        self.failed = 0
        """Notices that a hook did not take."""
        self._hooks = hooks
        self._table = table
        self._clock = clock
        self._log_ms = log_ms
        self._lines: dict[int, _Line] = {}
        self._joined_ns: dict[str, int] = {}
        self._next_ns = 0
        table.on_change(self._changed)

    def tick(self, now_ns: int) -> None:
        """Sends what is due of ``update``, once a second."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _SECOND
        hooks = self._hooks()
        for gone in self._lines.keys() - {id(hook) for hook in hooks}:
            self._end(self._lines.pop(gone))
        for hook in hooks:
            if HookAction.UPDATE in hook.actions:
                self._update(hook, now_ns)

    def disconnected(self, asked: AccessRequest, received: int, sent: int) -> None:
        """An RTMP connection that was let in has ended."""
        for hook in self._hooks():
            if hook.concerns(HookAction.DISCONNECT, asked.protocol):
                notice = Notice(
                    action=HookAction.DISCONNECT,
                    request=asked,
                    received_bytes=received,
                    sent_bytes=sent,
                )
                self._put(hook, notice, None)

    async def close(self, grace_s: float = _GOODBYE_S) -> None:
        """Tells what waits, for ``grace_s`` at most. A second call does nothing."""
        lines, self._lines = list(self._lines.values()), {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for line in lines:
                    await line.waiting.join()
        for line in lines:
            self._end(line)
        tasks = [worker for line in lines for worker in line.workers]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drained(self) -> None:
        """Returns when everything that waits now has been told."""
        for line in list(self._lines.values()):
            await line.waiting.join()

    def _changed(self, session: Session, joined: bool) -> None:
        if session.protocol is Protocol.INTERNAL:
            return  # nobody was asked about it
        if joined:
            self._joined_ns[session.id] = self._clock.monotonic_ns()
            return
        for hook in self._hooks():
            action = _DONE[session.action]
            if hook.concerns(action, session.protocol.value):
                self._put(hook, self._notice(hook, session, action, forget=True), session)
        self._joined_ns.pop(session.id, None)

    def _update(self, hook: HookDecider, now_ns: int) -> None:
        line = self._line(hook)
        step_ns = round(hook.config.update_s * _SECOND)
        due: dict[str, int] = {}
        for session in self._table.all():
            joined_ns = self._joined_ns.get(session.id)
            if joined_ns is None or not hook.concerns(HookAction.UPDATE, session.protocol.value):
                continue
            next_ns = line.next_update_ns.get(session.id, joined_ns + step_ns)
            if now_ns >= next_ns:
                next_ns = now_ns + step_ns
                self._put(hook, self._notice(hook, session, HookAction.UPDATE), session)
            due[session.id] = next_ns
        line.next_update_ns = due

    def _notice(
        self, hook: HookDecider, session: Session, action: HookAction, *, forget: bool = False
    ) -> Notice:
        asked = hook.asked(session.id, forget=forget)
        joined_ns = self._joined_ns.get(session.id, 0)
        return Notice(
            action=action,
            request=_told(session, asked),
            seconds=(self._clock.monotonic_ns() - joined_ns) // _SECOND,
            log_ms=self._log_ms(session.stream),
        )

    def _put(self, hook: HookDecider, notice: Notice, session: Session | None) -> None:
        line = self._line(hook)
        try:
            line.waiting.put_nowait((notice, session))
        except asyncio.QueueFull:
            self.dropped += 1
            return
        if len(line.workers) < min(_AT_ONCE, line.waiting.qsize()):
            loop = asyncio.get_running_loop()
            line.workers.append(loop.create_task(self._work(line)))

    def _line(self, hook: HookDecider) -> _Line:
        line = self._lines.get(id(hook))
        if line is None:
            line = self._lines[id(hook)] = _Line(hook, asyncio.Queue(_MAX_WAITING))
        return line

    async def _work(self, line: _Line) -> None:
        while True:
            notice, session = await line.waiting.get()
            try:
                goes_on = await line.hook.tell(notice)
                if session is not None and notice.action is HookAction.UPDATE and not goes_on:
                    session.close("the access hook ended it")
            except HttpClientError:
                # As nginx-rtmp: without an answer, the session goes on.
                self.failed += 1
            finally:
                line.waiting.task_done()

    @staticmethod
    def _end(line: _Line) -> None:
        for worker in line.workers:
            worker.cancel()


def _told(session: Session, asked: AccessRequest | None) -> AccessRequest:
    """What the session had asked. The name is the one that it has now: hooks rename."""
    return AccessRequest(
        id=session.id,
        action=AccessAction(session.action.value),
        protocol=session.protocol.value,
        stream=session.stream,
        remote_ip=session.remote_ip,
        user=asked.user if asked else None,
        query=asked.query if asked else {},
        user_agent=session.user_agent,
        details=asked.details if asked else {},
    )
