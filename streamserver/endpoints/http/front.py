"""One connection of the HTTP port, kept for its whole life.

Every request is looked at: prebuilt objects are answered here, blocking reloads wait here, and
any other request is lent to aiohttp (`exchange`), after whose answer the connection is ours again.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from streamserver.endpoints.http.answers import describe_bytes, problem_wire
from streamserver.endpoints.http.exchange import Exchange
from streamserver.endpoints.http.requests import (
    BadRequestError,
    HeadScanner,
    Parked,
    RequestHead,
    parse_request_head,
)

if TYPE_CHECKING:
    from streamserver.endpoints.http.connections import Connections

__all__ = ["Front"]

logger = logging.getLogger(__name__)

_AWAIT: Final = 0  # a request may begin
_PARKED: Final = 1  # a blocking reload waits for its answer
_QUEUED: Final = 2  # a request waits for an exchange
_LENT: Final = 3  # an exchange has the request
_SWITCHED: Final = 4  # an exchange has the connection: 101
_CLOSING: Final = 5  # the last answer goes out
_LOST: Final = 6

_NEVER: Final = 1 << 62
_MAX_KNOWN_HEADERS: Final = 2048
_MAX_DISCARDED: Final = 256 * 1024


class Front(asyncio.Protocol):
    """The protocol of one connection."""

    __slots__ = (
        "_deadline", "_discarded", "_exchange", "_gzip", "_in_head", "_inner_holds",
        "_known_headers", "_least_unsent", "_mode", "_parked", "_pending", "_read_paused",
        "_server", "_spoke", "_stalled_at", "_taken", "_transport", "_write_paused", "peer",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, server: "Connections") -> None:
        self._server = server
        self._mode = _AWAIT
        self._deadline = server.idle_deadline
        self._known_headers = b""
        self._gzip = False
        self._pending: HeadScanner | None = None
        self._parked: Parked | None = None
        self._exchange: Exchange | None = None
        self._in_head = False
        self._inner_holds = False
        self._read_paused = False
        self._write_paused = False
        self._spoke = False
        self._taken = False
        self._discarded = 0
        self._least_unsent = 0
        self._stalled_at = 0
        self.peer = ""
        """The address at the other end, unmapped; empty on a Unix socket."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or refuses it when a bound is reached."""
        # No instance of it under uvloop.
        self._transport = transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            host: str = name[0]
            self.peer = host[7:] if host.startswith("::ffff:") and "." in host else host
        refusal = self._server.admit(self)
        if self._server.is_banned(self):
            # Without a word and a line: it costs us as little as can be.
            self._server.stats.refused += 1
            self.abort()
        elif refusal is not None:
            self._refuse("limit", refusal, 503)

    def data_received(self, data: bytes) -> None:
        """The hot path: a whole request whose header lines this connection has sent before."""
        if self._mode == _AWAIT and self._pending is None and not self._write_paused:
            space = data.find(b" ", 4)
            if data[space:] == self._known_headers and data.startswith(b"GET /"):
                target = data[4:space]
                if b"\n" not in target:
                    if not self._answer_fast(target, self._gzip):
                        self._read_head(data, asked=True)
                    return
        self._on_bytes(data)

    def eof_received(self) -> None:
        """The peer is done sending: like most servers, we take it for gone (the socket closes)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets everything go that waited for this connection."""
        self._mode = _LOST
        self._server.forget(self)
        self._pending = None
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost(exc)

    def pause_writing(self) -> None:
        """The peer reads slowly: no further answer is begun."""
        self._write_paused = True
        if not self._taken:
            self._least_unsent = self._transport.get_write_buffer_size()
            self._stalled_at = self._server.now_ms
            self._server.stalled.add(self)
        if self._exchange is not None:
            self._exchange.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up: the next answer may begin."""
        self._write_paused = False
        self._server.stalled.discard(self)
        if self._exchange is not None:
            self._exchange.resume_writing()
        elif self._pending is not None:
            self._advance()

    # What the sweep and the end of the server ask.

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._mode == _AWAIT and not self._in_head

    @property
    def deadline_ms(self) -> int:
        """When `expire` is due, on the server's clock."""
        return self._deadline

    def expire(self) -> None:
        """Ends a connection whose deadline has passed."""
        if self._mode == _CLOSING:
            if self._transport.get_write_buffer_size():
                self.abort()
            else:
                self._transport.abort()  # it has all of our answer; nothing is cut short
        elif self._in_head:
            self._refuse("slow head", "The request's head did not come in time.", 408)
        elif self._mode == _LENT:
            self._server.say("slow body", self.peer, "the request's body stopped coming")
            self.abort()
        else:
            if not self._spoke:
                self._server.say("silent", self.peer, "the connection never said anything")
            self.finish()

    def check_stall(self, now_ms: int) -> None:
        """Aborts a connection whose unsent bytes do not become fewer."""
        unsent = self._transport.get_write_buffer_size()
        settings = self._server.settings
        large = unsent > settings.max_unsent_bytes
        if unsent < self._least_unsent:
            self._least_unsent, self._stalled_at = unsent, now_ms
        elif now_ms - self._stalled_at >= (
            settings.stall_timeout_ms if large else settings.idle_timeout_ms
        ):
            self._server.say("slow reader", self.peer, f"{unsent} bytes were not read in time")
            self.abort()

    def finish(self) -> None:
        """Closes once what is written has gone out, within the stall deadline."""
        if self._mode < _CLOSING:
            self._mode = _CLOSING
            self._deadline = self._server.now_ms + self._server.settings.stall_timeout_ms
            self._drop_pending()
            self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._mode != _LOST:
            self._mode = _CLOSING
            self._deadline = self._server.idle_deadline  # connection_lost comes within this turn
            self._server.stats.aborted += 1
            self._transport.abort()

    # Reading requests.

    def _on_bytes(self, data: bytes) -> None:
        if not self._spoke:
            self._spoke = True
            strange = describe_bytes(data, port=self._server.port)
            if strange is not None:
                self._server.say("not http", self.peer, strange)
                self._server.stats.refused += 1
                self._mode = _CLOSING
                self._transport.abort()
                return
        if self._mode == _CLOSING:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.abort()
            return
        if self._exchange is not None and self._pending is None and self._exchange.wants_body:
            data = self._lend(self._exchange, data)
        if data and self._mode < _CLOSING:
            if self._pending is None:
                self._pending = HeadScanner(self._server.settings.max_head_bytes)
            self._pending.feed(data)
            self._advance()

    def _advance(self) -> None:
        """Begins requests from what is buffered until one of them takes time."""
        while (
            (pending := self._pending) is not None
            and self._mode == _AWAIT
            and not self._write_paused
        ):
            try:
                head = pending.next_head()
            except BadRequestError as error:
                self._refuse("bad request", str(error), error.status)
                return
            if head is None:
                if not len(pending):
                    self._pending = None
                    self._in_head = False
                elif not self._in_head:
                    self._in_head = True
                    timeout = self._server.settings.head_timeout_ms
                    self._deadline = self._server.now_ms + timeout
                break
            if not len(pending):
                self._pending = None
            self._in_head = False
            self._deadline = self._server.idle_deadline
            self._read_head(head)
        self._update_reading()

    def _read_head(self, head: bytes, *, asked: bool = False) -> None:
        try:
            request = parse_request_head(head)
        except BadRequestError as error:
            self._refuse("bad request", str(error), error.status)
            return
        if request.plain and not asked:
            headers = head[len(b"GET ") + len(request.target) :]
            if len(headers) <= _MAX_KNOWN_HEADERS:
                self._known_headers = headers
                self._gzip = request.gzip
            if self._answer_fast(request.target, request.gzip):
                return
        self._begin_exchange(head, request)

    def _answer_fast(self, target: bytes, gzip: bool) -> bool:
        # One function for all of it: calls are what a request costs here.
        server = self._server
        stats = server.stats
        for prefix, skip, handler in server.fast:
            if not target.startswith(prefix):
                continue
            try:
                answer = handler(target[skip:] if skip else target, gzip)
            except Exception:  # a fault of ours; aiohttp has the same routes
                logger.exception("the fast path failed at %r", target[:200])
                return False
            break
        else:
            return False
        if answer is None:
            stats.missed += 1
            return False
        stats.fast += 1
        if isinstance(answer, bytes):
            self._deadline = server.idle_deadline
            self._transport.write(answer)
            if server.draining:
                self.finish()
            return True
        stats.parked += 1
        self._mode = _PARKED
        self._deadline = _NEVER  # whoever parks decides how long
        self._parked = answer
        answer.park(partial(self._resume, answer))
        return True

    def _resume(self, parked: Parked, wire: bytes) -> None:
        if self._parked is not parked:
            return  # resumed twice, or after its connection was lost
        self._parked = None
        self._mode = _AWAIT
        self._deadline = self._server.idle_deadline
        # uvloop raises where asyncio only warns; connection_lost is on its way.
        if self._transport.is_closing():
            return
        self._transport.write(wire)
        if self._server.draining:
            self.finish()
        elif self._pending is not None:
            # Not from here: the caller is waking many.
            asyncio.get_running_loop().call_soon(self._advance)

    # Lending requests (ExchangeOwner).

    def _begin_exchange(self, head: bytes, request: RequestHead) -> None:
        self._server.stats.foreign += 1
        self._mode = _QUEUED
        self._deadline = _NEVER  # it is us who make it wait
        self._server.turns.take(partial(self._lend_request, head, request))

    def _lend_request(self, head: bytes, request: RequestHead) -> None:
        if self._mode != _QUEUED:
            return
        self._mode = _LENT
        exchange = Exchange(self, self._transport, self._server.new_inner(), request)
        self._exchange = exchange
        self._deadline = self._server.idle_deadline if exchange.wants_body else _NEVER
        exchange.begin(head)
        pending = self._pending
        if pending is not None and exchange.wants_body:
            self._pending = None
            rest = self._lend(exchange, pending.take_all())
            if rest and self._mode < _CLOSING:
                self._pending = pending
                pending.feed(rest)
        self._update_reading()

    def _lend(self, exchange: Exchange, data: bytes) -> bytes:
        try:
            rest = exchange.feed(data)
        except BadRequestError as error:
            if exchange.answering:
                self._server.say("bad request", self.peer, str(error))
                self.abort()
            else:
                self._refuse("bad request", str(error), error.status)
            return b""
        if self._mode == _LENT:
            self._set_body_deadline(exchange)
        return rest

    def _set_body_deadline(self, exchange: Exchange) -> None:
        waits = exchange.wants_body and not self._inner_holds
        self._deadline = self._server.idle_deadline if waits else _NEVER

    def exchange_ended(self, keep_alive: bool) -> None:
        """See `ExchangeOwner`."""
        self._exchange = None
        self._inner_holds = False
        if not keep_alive or self._server.draining:
            self.finish()
            return
        self._mode = _AWAIT
        self._deadline = self._server.idle_deadline
        if self._pending is not None:
            # Not from here: the handler is in the middle of its last write.
            asyncio.get_running_loop().call_soon(self._advance)
        self._update_reading()

    def exchange_switched(self) -> None:
        """See `ExchangeOwner`."""
        self._mode = _SWITCHED
        self._deadline = _NEVER
        if self._pending is not None:
            asyncio.get_running_loop().call_soon(self._flush_switched)

    def exchange_taken(self) -> None:
        """See `ExchangeOwner`."""
        self._taken = True
        self._server.stalled.discard(self)

    def _flush_switched(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and self._exchange is not None:
            self._exchange.feed(pending.take_all())
            self._update_reading()

    def exchange_closed(self) -> None:
        """See `ExchangeOwner`."""
        self.finish()

    def exchange_failed(self) -> None:
        """See `ExchangeOwner`."""
        self.abort()

    def exchange_holds(self, hold: bool) -> None:
        """See `ExchangeOwner`."""
        self._inner_holds = hold
        if self._exchange is not None and self._mode == _LENT:
            self._set_body_deadline(self._exchange)
        self._update_reading()

    # Ending and holding.

    def _refuse(self, kind: str, detail: str, status: int) -> None:
        """Answers an error and closes so that the peer can read it.

        Closing a socket with unread input resets it and may take the answer along (RFC 9112 9.6):
        only our direction is closed first, and what still comes is thrown away for a moment.
        """
        server = self._server
        server.stats.refused += 1
        server.say(kind, self.peer, detail)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost(None)
        self._mode = _CLOSING
        self._in_head = False
        self._inner_holds = False
        self._deadline = server.now_ms + server.settings.linger_ms
        self._drop_pending()
        if self._transport.is_closing():
            return
        self._transport.write(problem_wire(status, detail))
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._update_reading()
        else:
            self._transport.close()

    def _drop_pending(self) -> None:
        self._pending = None
        self._in_head = False

    def _update_reading(self) -> None:
        """Reads on unless a buffer that cannot be emptied now is full."""
        pending = self._pending
        hold = (
            pending is not None
            and (self._mode != _AWAIT or self._write_paused)
            and len(pending) >= self._server.settings.max_pipelined_bytes
        ) or (
            # With its request whole, a handler's wish is moot, and a hang-up should be noticed.
            self._inner_holds and self._exchange is not None and self._exchange.wants_body
        )
        if hold != self._read_paused and not self._transport.is_closing():
            self._read_paused = hold
            if hold:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
