"""One connection of a sink: reads, answers, counts, and does wrong where it was told to."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.events import (
    Closed,
    ConnectReceived,
    DataReceived,
    Event,
    MediaRun,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    RequestRefused,
)
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.settings import SessionSettings
from streamserver.sink.misbehavior import Fault, Misbehavior
from streamserver.sink.publication import SinkPublication

__all__ = ["SinkConnection", "SinkHost"]

_READ_BYTES: Final = 64 * 1024
_SLOW_READS_PER_S: Final = 20
_CLOSE_AFTER_S: Final = 0.5
"""How long a refused publisher has to read why."""

_STALL_LOOK_S: Final = 0.2
"""How often a connection that is not read is looked at: nothing else tells that its peer left."""

_SECOND: Final = 1_000_000_000
_TCP_ESTABLISHED: Final = 1

_GARBAGE: Final = bytes(range(255, 0, -1)) * 16
"""More than a handshake: ffmpeg does not look at it before it is complete."""
_WEB_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 24\r\n"
    b"Connection: close\r\n\r\n<h1>400 Bad Request</h1>"
)

_SESSION: Final = SessionSettings(
    # A publisher whose own source is interrupted keeps its connection.
    idle_timeout_ns=3600 * _SECOND
)


class SinkHost(Protocol):
    """What a connection tells its sink."""

    def now_ns(self) -> int:
        """The monotonic clock."""

    def publication_began(self, publication: SinkPublication) -> None:
        """A publisher was accepted."""

    def publication_grew(self) -> None:
        """Media or data came."""


class _EndError(Exception):
    """Ends the connection; the text says why."""


class SinkConnection:
    """One connection, from accept to close."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        number: int,
        misbehavior: Misbehavior,
        host: SinkHost,
        make_publication: Callable[[ConnectReceived | None, PublishRequested], SinkPublication],
    ) -> None:
        """``number``: which connection of the sink it is, from 1."""
        self.publication: SinkPublication | None = None
        """What it publishes, or published."""
        self._reader = reader
        self._writer = writer
        self._misbehavior = misbehavior
        self._host = host
        self._make_publication = make_publication
        self._session = ServerSession(_SESSION, now_ns=host.now_ns())
        self._connect: ConnectReceived | None = None
        self._messages_left = _messages(misbehavior, number)
        self._drop_ns: int | None = None
        self._read_again_s = 0.0
        self._stalled = False
        self._over = ""

    async def run(self) -> str:
        """Serves until the end, closes, and answers why."""
        reason = "the sink was closed"
        try:
            reason = await self._serve()
        except _EndError as end:
            reason = str(end)
        except RemoteProtocolError as error:
            reason = f"it broke the protocol: {error}"
        except OSError as error:
            reason = f"the connection was lost ({error.strerror or error})"
        finally:
            self._writer.close()
            if self.publication is not None:
                self.publication.ended = reason
        return reason

    def abort(self) -> None:
        """Cuts the connection."""
        self._writer.transport.abort()

    # ---- reading ----------------------------------------------------------------------------

    async def _serve(self) -> str:
        fault = self._misbehavior.fault
        if fault is Fault.REFUSE:
            reset(self._writer)
            return "reset, as it was told to"
        while True:
            data = await self._read()
            if data == b"":
                return "the publisher closed the connection"
            if fault is Fault.GARBAGE:
                self._writer.write(_GARBAGE)
            elif fault is Fault.WEB:
                self._writer.write(_WEB_ANSWER)
                return "answered as a web server"
            elif fault is not Fault.SILENT:
                await self._talk(data)
            await self._writer.drain()

    async def _read(self) -> bytes | None:
        """What came; nothing at the end; None when a deadline of the session came first."""
        if self._stalled:
            await self._stall()
        size = await self._pace()
        due_ns = self._due_ns()
        left_s = None if due_ns is None else max(due_ns - self._host.now_ns(), 0) / _SECOND
        data: bytes | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                data = await self._reader.read(size)
        if self._drop_ns is not None and self._host.now_ns() >= self._drop_ns:
            raise _EndError(f"dropped after {self._misbehavior.after_s:g} s, as it was told to")
        return data

    def _due_ns(self) -> int | None:
        if self._misbehavior.below_rtmp:
            return None
        dues = [due for due in (self._session.next_timeout_ns, self._drop_ns) if due is not None]
        return min(dues, default=None)

    async def _pace(self) -> int:
        """Waits until the rate allows to read; answers how many bytes."""
        bits_per_s = self._misbehavior.bits_per_s
        if not bits_per_s:
            return _READ_BYTES
        size = max(bits_per_s // 8 // _SLOW_READS_PER_S, 1)
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(self._read_again_s - now_s)
        # What was not read while nothing came is not made up for.
        self._read_again_s = max(self._read_again_s, now_s) + size * 8 / bits_per_s
        return size

    async def _stall(self) -> None:
        """Never reads again; ends when the peer does."""
        cast(asyncio.Transport, self._writer.transport).pause_reading()
        sock = self._writer.get_extra_info("socket")
        # Nobody is told of the end of a connection that he does not read.
        while _is_established(sock):  # noqa: ASYNC110
            await asyncio.sleep(_STALL_LOOK_S)
        raise _EndError("the publisher left while it was not read")

    # ---- talking ----------------------------------------------------------------------------

    async def _talk(self, data: bytes | None) -> None:
        session, now_ns = self._session, self._host.now_ns()
        fault: RemoteProtocolError | None = None
        if data is None:
            session.handle_timeout(now_ns)
        else:
            try:
                session.receive(data, now_ns)
            except RemoteProtocolError as error:
                fault = error
        # Accepting a publisher brings the events that waited for it.
        while events := session.events():
            for event in events:
                self._handle(event, now_ns)
        self._writer.write(session.bytes_to_send())
        if fault is not None:
            raise fault
        if session.close_after_flush:
            await self._writer.drain()
            await asyncio.sleep(_CLOSE_AFTER_S)
        if self._over:
            raise _EndError(self._over)

    def _handle(self, event: Event, now_ns: int) -> None:
        if isinstance(event, MediaRun):
            for message in event.messages:
                self._count_down()
                if self.publication is not None:
                    self.publication.take(message, now_ns)
                    self._host.publication_grew()
            return
        if not isinstance(event, PublishEnded | Closed):
            self._count_down()
        match event:
            case DataReceived():
                if self.publication is not None:
                    self.publication.take_data(event)
                    self._host.publication_grew()
            case ConnectReceived():
                self._connect = event
            case PublishRequested():
                self._decide(event, now_ns)
            case PlayRequested():
                self._over = "it wanted to play"
                self._session.reject_play(event, "this is a sink: it plays nothing")
            case PublishEnded(reason=reason) if self.publication is not None:
                self._over = reason
            case RequestRefused(reason=reason) | Closed(reason=reason):
                self._over = reason

    def _decide(self, request: PublishRequested, now_ns: int) -> None:
        fault = self._misbehavior.fault
        if fault is Fault.REJECT:
            self._over = "refused, as it was told to"
            self._session.reject_publish(request, self._misbehavior.sentence)
            return
        self._session.accept_publish(request, now_ns)
        self.publication = self._make_publication(self._connect, request)
        self._host.publication_began(self.publication)
        self._stalled = fault is Fault.STALL
        if fault is Fault.DROP:
            self._drop_ns = now_ns + round(self._misbehavior.after_s * _SECOND)

    def _count_down(self) -> None:
        if self._messages_left is None:
            return
        self._messages_left -= 1
        if not self._messages_left:
            raise _EndError("closed at this message, as it was told to")


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset in the place of an end."""
    sock = writer.get_extra_info("socket")
    # Lingering for no time at all: unsent bytes are dropped and the far side is told so.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _messages(misbehavior: Misbehavior, number: int) -> int | None:
    if misbehavior.fault is not Fault.CLOSE_EACH:
        return None
    return misbehavior.message or number


def _is_established(sock: socket.socket) -> bool:
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return True
    # The first byte of tcp_info is the state; a peer that closed leaves CLOSE-WAIT.
    return sock.getsockopt(socket.IPPROTO_TCP, option, 1)[0] == _TCP_ESTABLISHED
