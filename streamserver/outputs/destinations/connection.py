"""One connection to a far side: the pump between a transport and a client session."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from streamserver.clock import Clock
from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.net.tcp_info import TcpInfo, tcp_info
from streamserver.outputs.transports import own_socket
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.client_states import ENDED, ClientState

__all__ = ["FarConnection"]

_FAREWELL_S: Final = 3
"""How long what is written before the end may take to leave; a stalled far side never takes it."""


class FarConnection(asyncio.Protocol):
    """Bytes from the transport into the session and back. Tells by `stirred` that it happened."""

    def __init__(self, settings: ClientSettings, clock: Clock, max_unsent_bytes: int) -> None:
        """``max_unsent_bytes``: see `PushSettings`."""
        self.fault: Exception | None = None
        """Why it ended, where its end was an error."""
        self.lost_in = ""
        """What the far side owed us when it closed the connection; empty when it was live."""
        self.on_room: Callable[[], None] | None = None
        """Called when the transport takes more again."""
        self.on_held: Callable[[], None] | None = None
        """Called when something of ours is left in the transport."""
        self._max_unsent_bytes = max_unsent_bytes
        self._settings = settings
        self._clock = clock
        self._session: ClientSession | None = None
        self._transport: asyncio.Transport | None = None
        self._stirred = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def session(self) -> ClientSession:
        """The session, from the moment of the connection on."""
        if self._session is None:
            raise LocalProtocolError("there is no connection yet")
        return self._session

    @property
    def unsent_bytes(self) -> int:
        """What waits in the transport."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def own_socket(self) -> socket.socket | None:
        """See `outputs.transports`."""
        return own_socket(self._transport) if self._transport else None

    def look(self, sock: socket.socket) -> TcpInfo:
        """What of the written bytes arrived.

        Where the kernel does not tell, what has left the transport counts as arrived.
        """
        info = tcp_info(sock)
        if info is not None:
            return info
        return TcpInfo(max(0, self.session.bytes_sent - self.unsent_bytes), 0, 0)

    # ---- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake begins."""
        # uvloop's transports are no asyncio.Transport instances, only shaped like them.
        self._transport = cast(asyncio.Transport, transport)
        # Half of it gone is the moment to bring more.
        half = self._max_unsent_bytes // 2
        self._transport.set_write_buffer_limits(high=half, low=half)
        self._session = ClientSession(self._settings, now_ns=self._clock.monotonic_ns())
        self.flush()

    def data_received(self, data: bytes) -> None:
        """The far side said something."""
        try:
            self.session.receive(data, self._clock.monotonic_ns())
        except RemoteProtocolError as error:
            self.fault = error
        self.flush()
        # Acknowledgements are news to nobody.
        if self.session.has_events:
            self.stir()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.fault = self.fault or exc
        if self._session is not None:
            state = self._session.state
            if state is not ClientState.LIVE and state not in ENDED:
                self.lost_in = state.value
            self._session.connection_lost()
        self.stir()

    def resume_writing(self) -> None:
        """There is room again."""
        if self.on_room is not None:
            self.on_room()

    # ---- the attempt ------------------------------------------------------------------------

    async def stirred(self, within_s: float | None) -> None:
        """Waits until something came, or for some time; for ever with None.

        A bare future and a timer: an event within a timeout costs three times as much.
        """
        if not self._stirred:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = None if within_s is None else loop.call_later(within_s, self._wake)
            try:
                await self._waiter
            finally:
                if timer is not None:
                    timer.cancel()
                self._waiter = None
        self._stirred = False

    def stir(self) -> None:
        """Ends a wait, or the next one."""
        self._stirred = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def flush(self) -> None:
        """Writes what the session wants written."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            return
        data = session.bytes_to_send()
        # uvloop raises where something is written to a closed transport.
        if data and not transport.is_closing():
            transport.write(data)
            if self.on_held is not None and transport.get_write_buffer_size():
                self.on_held()

    def put(self, data: bytes) -> int:
        """Writes bytes that the session is told of by others; answers how many, which are all."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)
        return len(data)

    def leave(self, reason: str) -> None:
        """Says goodbye as a far side understands it, and lets go. Waits for nothing."""
        transport = self._transport
        if transport is None:
            return
        if not transport.is_closing():
            self.session.finish(reason)
            self.flush()
            transport.close()
        asyncio.get_running_loop().call_later(_FAREWELL_S, transport.abort)
