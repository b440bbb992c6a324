"""One request in the hands of aiohttp: a handler of its own, on a transport that we frame.

Each request gets a fresh ``RequestHandler``, which dies with its answer: no parser state survives
from one request to the next, an idle connection holds nothing of aiohttp, and its keep-alive is
never asked. That the answer has ended is read from the bytes that it writes (its framing), so
nothing private of aiohttp is used, and an answer that breaks its own framing cannot be taken for
the next one.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from streamserver.endpoints.http.framing import AnswerScanner, body_scanner
from streamserver.endpoints.http.requests import RequestHead
from streamserver.errors import LocalProtocolError

if TYPE_CHECKING:
    from asyncio.transports import WriteTransport

__all__ = ["Exchange", "ExchangeOwner", "take_transport"]

logger = logging.getLogger(__name__)


class ExchangeOwner(Protocol):
    """Who lent the connection, and is told what becomes of it."""

    def exchange_ended(self, keep_alive: bool) -> None:
        """Request and answer went by; the connection is the owner's again."""

    def exchange_switched(self) -> None:
        """The answer was 101: what comes from now on belongs to the exchange."""

    def exchange_taken(self) -> None:
        """The handler has taken the transport, and looks itself whether its peer reads."""

    def exchange_closed(self) -> None:
        """The handler closed the connection; what is written still goes out."""

    def exchange_failed(self) -> None:
        """The connection is of no use any more."""

    def exchange_holds(self, hold: bool) -> None:
        """The handler wants no more bytes for now, or wants them again."""


class Exchange(asyncio.Transport):
    """The transport of one inner handler, for one request and its answer."""

    __slots__ = ("_answer", "_body", "_closed", "_inner", "_keep_alive", "_owner", "_transport")

    def __init__(
        self,
        owner: ExchangeOwner,
        transport: asyncio.Transport,
        inner: web.RequestHandler,
        request: RequestHead,
    ) -> None:
        # Not super().__init__(): it would make a dictionary of extra information per request.
        self._owner = owner
        self._transport = transport
        self._inner = inner
        self._body = body_scanner(request.body_bytes)
        self._answer = AnswerScanner(to_head=request.method == b"HEAD")
        self._keep_alive = request.keep_alive
        self._closed = False

    # The owner's side.

    @property
    def wants_body(self) -> bool:
        """Whether bytes that come from the peer belong to this request."""
        return self._answer.tunnel or not self._body.ended

    @property
    def answering(self) -> bool:
        """Whether the head of the answer has gone out."""
        return self._answer.status != 0

    def begin(self, head: bytes) -> None:
        """Hands the request's head to the handler."""
        self._inner.connection_made(self)
        self._inner.data_received(head)

    def feed(self, data: bytes) -> bytes:
        """Takes what belongs to this request from the peer's bytes and answers the rest.

        Raises `BadRequestError` where the body breaks its framing.
        """
        if self._answer.tunnel:
            self._inner.data_received(data)
            return b""
        stop = self._body.feed(data)
        self._inner.data_received(data if stop == len(data) else data[:stop])
        self._end_if_complete()
        return data[stop:]

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        if not self._closed:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if not self._closed:
            self._inner.resume_writing()

    def lost(self, exc: Exception | None) -> None:
        """The connection is gone, or taken away from the handler."""
        self._let_go(exc)

    def take(self) -> asyncio.Transport:
        """Gives the real transport to a handler that writes until the connection ends.

        To be called once the answer's head, one without a length, is written: what goes out
        afterwards is not looked at. Raises `LocalProtocolError` for any other answer.
        """
        if not self._answer.endless:
            raise LocalProtocolError("only an answer without an end can take the transport")
        self._owner.exchange_taken()
        return self._transport

    # The handler's side: what asyncio.Transport promises.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends a piece of the answer, and notices its end."""
        if self._closed or self._transport.is_closing():
            return  # a handler that outlives its answer has nobody to talk to
        if self._answer.endless:
            self._transport.write(data)
            return
        piece = data if isinstance(data, bytes) else bytes(data)
        try:
            self._answer.feed(piece)
        except LocalProtocolError as error:
            logger.error("closing a connection: %s", error)
            self._owner.exchange_failed()
            return
        self._transport.write(piece)
        if self._answer.tunnel:
            self._owner.exchange_switched()
        else:
            self._end_if_complete()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Sends several pieces as one."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Ends the connection after what is written, unless the owner has it back already."""
        if not self._closed:
            self._owner.exchange_closed()

    def abort(self) -> None:
        """Ends the connection at once, unless the owner has it back already."""
        if not self._closed:
            self._owner.exchange_failed()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closed or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the real transport knows, ``peername`` and ``sslcontext`` above all.

        Not ``socket``: aiohttp would set options on it for each request that were set long ago.
        """
        if name == "socket":
            return default
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Holds the peer's bytes back."""
        if not self._closed:
            self._owner.exchange_holds(True)

    def resume_reading(self) -> None:
        """Lets the peer's bytes come again."""
        if not self._closed:
            self._owner.exchange_holds(False)

    def is_reading(self) -> bool:
        """Whether the peer's bytes come."""
        return not self._closed and self._transport.is_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark of the real transport."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Sets the marks of the real transport; they stay for its later answers."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Never: the connection outlives the answer."""
        return False

    @property
    def _sendfile_compatible(self) -> Any:
        # asyncio looks here before it sends a file past the transport. aiohttp takes this error
        # for "send it in pieces", where asyncio's own refusal would be a RuntimeError to it.
        raise NotImplementedError

    def _end_if_complete(self) -> None:
        if not self._closed and self._answer.ended and self._body.ended:
            self._inner.close()
            self._let_go(None)
            self._owner.exchange_ended(self._keep_alive and self._answer.keep_alive)

    def _let_go(self, exc: Exception | None) -> None:
        self._closed = True
        # Not from here: the handler may be in the middle of its last write, and aiohttp's task
        # does not bear a connection that is lost before its first step.
        asyncio.get_running_loop().call_soon(self._inner.connection_lost, exc)


def take_transport(request: web.BaseRequest) -> "WriteTransport | None":
    """The real transport under a request's answer, for a fan-out that writes to many.

    The answer's head must be written and have no length, so that it lasts until the connection
    ends. None when the connection is gone.
    """
    transport = request.transport
    if not isinstance(transport, Exchange):
        return transport
    # Of a connection that was lost in this turn the handler has not heard; its head went nowhere.
    return None if transport.is_closing() else transport.take()
