"""The stream of events: Server-Sent Events, and the same objects over a WebSocket.

Every client has a position in the log, and nothing else: one that reads slowly falls behind, and
when what it needs is gone it gets the present state in the place of what it missed. The front
ends those that do not read at all.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import hdrs, web

from streamserver.api.access import Grant
from streamserver.api.streamed import Streamed
from streamserver.control.session_ends import SessionEnds
from streamserver.errors import LimitError
from streamserver.events import EventFilter, EventLog, render

__all__ = ["EventStreams", "Snapshot"]

_PING_S: Final = 15.0
"""HTML, section 9.2.7: a comment every 15 seconds or so keeps proxies from closing."""

_BATCH: Final = 64
"""Events written at once."""

_MAX_CLIENTS: Final = 200
"""For backends and operators' pages; viewers have pages of their own."""

_MAX_WORDS: Final = 4096
"""Bytes of one message from a WebSocket's client; nobody reads it."""

_RESET: Final = "reset"

_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-store",
    # nginx would collect some kilobytes before it passes anything on.
    "X-Accel-Buffering": "no",
}

Snapshot = Callable[[EventFilter], Awaitable[list[dict[str, Any]]]]
"""The streams that are live now, as the API shows them."""


@dataclass(frozen=True, slots=True)
class _Message:
    """What goes to a client."""

    id: str
    kind: str
    wire: bytes


@dataclass(slots=True, eq=False)
class _Visit:
    """One client while it is connected: what `SessionEnds` wants to know."""

    id: str
    expires_s: int | None
    credential: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something to do."""
    over: str = ""
    """Why it is to go; empty: it is not."""

    @property
    def close(self) -> Callable[[str], None]:
        return self._close

    def _close(self, reason: str) -> None:
        self.over = reason
        self.wake.set()


class EventStreams:
    """All clients of the stream of events."""

    def __init__(
        self,
        log: EventLog,
        snapshot: Snapshot,
        wall_ns: Callable[[], int],
        *,
        ends: SessionEnds | None = None,
        max_clients: int = _MAX_CLIENTS,
        ping_s: float = _PING_S,
    ) -> None:
        """``ends`` knows when what let a client in is over; without it, that is never."""
        self.clients: Counter[str] = Counter({"sse": 0, "websocket": 0})
        """Clients connected now, by transport."""
        self.resets = 0
        """How often a client got the present state in the place of events."""
        self._log = log
        self._snapshot = snapshot
        self._wall_ns = wall_ns
        self._ends = ends
        self._max_clients = max_clients
        self._ping_s = ping_s
        self._closed = False
        self._wakes: set[asyncio.Event] = set()

    def open(self, wanted: EventFilter, last_id: str) -> Streamed:
        """A client's answer. ``last_id`` is the query's; a ``Last-Event-ID`` header wins.

        Raises `LimitError` when there are too many.
        """
        if self.clients.total() >= self._max_clients:
            raise LimitError(f"{self._max_clients} clients read events already")
        return _Client(self, wanted, last_id)

    def close(self) -> None:
        """Ends every client, after what has happened until now."""
        self._closed = True
        for wake in self._wakes:
            wake.set()

    @contextlib.contextmanager
    def _counted(self, transport: str, visit: _Visit) -> Iterator[None]:
        self.clients[transport] += 1
        if self._ends is not None:
            self._ends.enter(visit)
        try:
            yield
        finally:
            self.clients[transport] -= 1
            if self._ends is not None:
                self._ends.leave(visit)

    async def _follow(
        self, wanted: EventFilter, last_id: str, visit: _Visit
    ) -> AsyncGenerator[list[_Message], None]:
        """Batches of messages; an empty one when nothing was sent for a while."""
        log, loop = self._log, asyncio.get_running_loop()
        wake = visit.wake
        off = log.wake(wake.set)
        self._wakes.add(wake)
        position = log.position_after(last_id) if last_id else log.end
        try:
            ping_at = loop.time() + self._ping_s
            while not visit.over:
                if position is None or position < log.start:
                    # First the position, then the state: nothing may fall between them.
                    position = log.end
                    yield [await self._reset(wanted)]
                wake.clear()
                events = log.since(position, _BATCH)
                if events:
                    position = events[-1].position + 1
                    batch = [
                        _Message(event.id, event.type.value, event.wire)
                        for event in events
                        if wanted.matches(event)
                    ]
                    if batch:
                        yield batch
                        ping_at = loop.time() + self._ping_s
                elif self._closed or log.closed:
                    return
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(ping_at):
                            await wake.wait()
                if loop.time() >= ping_at:
                    yield []
                    ping_at = loop.time() + self._ping_s
        finally:
            off()
            self._wakes.discard(wake)

    async def _reset(self, wanted: EventFilter) -> _Message:
        self.resets += 1
        ident = self._log.last_id
        streams = await self._snapshot(wanted)
        wire = render(ident, _RESET, self._wall_ns(), None, {"streams": streams})
        return _Message(ident, _RESET, wire)


class _Client(Streamed):
    """One client."""

    def __init__(self, streams: EventStreams, wanted: EventFilter, last_id: str) -> None:
        self._streams = streams
        self._wanted = wanted
        self._last_id = last_id

    async def serve(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        """See `Streamed`. What is no longer allowed ends, and the next request is refused."""
        visit = _Visit(secrets.token_hex(8), grant.expires_s, grant.credential)
        # The header is newer: a browser that reconnects keeps its URL.
        last_id = request.headers.get("Last-Event-ID", self._last_id)
        if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
            return await self._serve_websocket(request, last_id, visit)
        return await self._serve_sse(request, last_id, visit)

    async def _serve_sse(
        self, request: web.Request, last_id: str, visit: _Visit
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        with self._streams._counted("sse", visit):
            # The head goes out with it, and whoever waits knows that it is connected.
            await response.write(b"retry: 2000\n\n")
            async with contextlib.aclosing(self._follow(last_id, visit)) as batches:
                async for batch in batches:
                    await response.write(_sse(batch, self._streams._log.last_id))
        return response

    async def _serve_websocket(
        self, request: web.Request, last_id: str, visit: _Visit
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=_MAX_WORDS, heartbeat=self._streams._ping_s
        )
        await socket.prepare(request)
        sending = asyncio.get_running_loop().create_task(self._send(socket, last_id, visit))
        with self._streams._counted("websocket", visit):
            try:
                # Reading notices that it leaves; what it says is not for us.
                async for _ in socket:
                    pass
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await sending
        return socket

    def _follow(self, last_id: str, visit: _Visit) -> AsyncGenerator[list[_Message], None]:
        return self._streams._follow(self._wanted, last_id, visit)

    async def _send(self, socket: web.WebSocketResponse, last_id: str, visit: _Visit) -> None:
        async with contextlib.aclosing(self._follow(last_id, visit)) as batches:
            async for batch in batches:
                for message in batch:
                    await socket.send_str(message.wire.decode())
        if visit.over:
            # RFC 6455, section 7.4.1: a policy is violated.
            await socket.close(code=1008, message=visit.over.encode())
        else:
            await socket.close(code=1001, message=b"the server ends")


def _sse(batch: list[_Message], last_id: str) -> bytes:
    """HTML, section 9.2.5: fields line by line, an empty line ends an event.

    A block with an id and no data dispatches nothing and still moves the client's
    ``Last-Event-ID`` on: one whose filter lets little pass does not fall behind.
    """
    if not batch:
        return f": ping\nid: {last_id}\n\n".encode()
    return b"".join(
        b"id: %b\nevent: %b\ndata: %b\n\n" % (one.id.encode(), one.kind.encode(), one.wire)
        for one in batch
    )
