"""One attempt to fetch a source over RTMP: our client plays, and what comes is published here."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, cast

from streamserver.clock import Clock
from streamserver.errors import (
    LocalProtocolError,
    PeerError,
    RemoteProtocolError,
    StreamServerError,
)
from streamserver.hub.registry import Lease
from streamserver.hub.sessions import Session
from streamserver.ingest.pull import Source
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.names import StreamKey
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import (
    ClientEvent,
    PlayStarted,
    ReconnectWith,
    Redirected,
    Rejected,
)
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed, DataReceived, MediaRun, PlayEnded
from streamserver.rtmp.message import Message
from streamserver.rtmp.target import PublishTarget

__all__ = ["Dial", "OpenPublisher", "Publisher", "PullConnection", "RtmpPull"]

_LOOK_S: Final = 1.0
"""How often the deadlines of a silent far side are looked at."""

_FAREWELL_S: Final = 1.0
_MAX_HOPS: Final = 6
"""Connections that one attempt may make: authentication takes three, redirects the rest."""


class Publisher(Protocol):
    """The right to append that was taken for a source."""

    @property
    def lease(self) -> Lease:
        """Where media goes."""

    @property
    def session(self) -> Session:
        """Counts what came."""

    def close(self, reason: str) -> None:
        """Gives it back."""


OpenPublisher = Callable[[StreamKey, Callable[[str], None]], Awaitable[Publisher]]
"""Takes the right to append to a stream; raises `RefusedError`. The function that it is given ends
the publisher, with a reason."""

Dial = Callable[[PublishTarget, "PullConnection"], Awaitable[object]]
"""Connects a protocol to a far side; raises `StreamServerError` and `OSError`."""


class PullConnection(asyncio.Protocol):
    """The pump between a transport and a client session; what came waits for the attempt."""

    def __init__(self, settings: ClientSettings, clock: Clock) -> None:
        self.fault: RemoteProtocolError | None = None
        """What was wrong with the bytes that came."""
        self._settings = settings
        self._clock = clock
        self._session: ClientSession | None = None
        self._transport: asyncio.Transport | None = None
        self._stirred = asyncio.Event()

    @property
    def session(self) -> ClientSession:
        """The session, from the moment of the connection on."""
        if self._session is None:
            raise LocalProtocolError("there is no connection yet")
        return self._session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        # Its deadlines begin here, not while the connection was made.
        self._session = ClientSession(self._settings, now_ns=self._clock.monotonic_ns())
        # Not an instance of it under uvloop.
        self._transport = cast(asyncio.Transport, transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Takes bytes."""
        try:
            self.session.receive(data, self._clock.monotonic_ns())
        except RemoteProtocolError as fault:
            self.fault = fault
        self.flush()
        self._stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the session."""
        self.session.connection_lost()
        self._stirred.set()

    def stir(self) -> None:
        """Wakes the attempt."""
        self._stirred.set()

    async def events(self) -> list[ClientEvent]:
        """What happened, as soon as something did; now and then nothing, for deadlines."""
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._stirred.wait()
        except TimeoutError:
            self.session.handle_timeout(self._clock.monotonic_ns())
        self._stirred.clear()
        return self.session.events()

    def flush(self) -> None:
        """Writes what the session has to say."""
        data = self.session.bytes_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def leave(self, reason: str) -> None:
        """Says goodbye and closes. Waits for nothing."""
        transport = self._transport
        if transport is None:
            return
        self.session.finish(reason)
        self.flush()
        transport.close()
        asyncio.get_running_loop().call_later(_FAREWELL_S, transport.abort)


class RtmpPull:
    """Makes attempts; holds nothing between them."""

    def __init__(self, *, dial: Dial, open_publisher: OpenPublisher, clock: Clock) -> None:
        self._dial = dial
        self._open = open_publisher
        self._clock = clock

    async def __call__(self, source: Source, began: Callable[[], None]) -> None:
        """See `streamserver.ingest.pull.Attempt`."""
        assert isinstance(source.target, PublishTarget)
        settings = ClientSettings(target=source.target, action="play")
        for _ in range(_MAX_HOPS):
            following = await self._connection(source, settings, began)
            if following is None:
                return
            settings = following
        raise PeerError("the far side sends us on again and again")

    async def _connection(
        self, source: Source, settings: ClientSettings, began: Callable[[], None]
    ) -> ClientSettings | None:
        """One connection; answers where to go on, None when the stream is over."""
        connection = PullConnection(settings, self._clock)
        await self._dial(settings.target, connection)
        playing = _Playing(source.key, connection, self._open, self._clock, began)
        reason = "the server stopped to fetch it"
        try:
            following = await playing.run()
            reason = "the far side's stream ended"
            return following
        except StreamServerError as error:
            reason = settings.target.hide(str(error))
            raise
        finally:
            connection.leave(reason)
            playing.close(reason)


class _Playing:
    """What happens on one connection."""

    def __init__(
        self,
        key: StreamKey,
        connection: PullConnection,
        open_publisher: OpenPublisher,
        clock: Clock,
        began: Callable[[], None],
    ) -> None:
        self._key = key
        self._connection = connection
        self._open = open_publisher
        self._clock = clock
        self._began = began
        self._publisher: Publisher | None = None
        self._ingest: RtmpIngest | None = None
        self._stopped = ""

    async def run(self) -> ClientSettings | None:
        """Until the end (None), or until the far side sends us elsewhere."""
        while True:
            for event in await self._connection.events():
                match event:
                    case MediaRun():
                        self._take(event.messages)
                    case PlayStarted():
                        await self._publish()
                    case DataReceived(name="onMetaData") if self._ingest is not None:
                        self._ingest.metadata(event.values)
                    case PlayEnded():
                        return None
                    case ReconnectWith() | Redirected():
                        return event.settings
                    case Rejected():
                        raise PeerError(f"{event.description} ({event.code})")
                    case Closed(reason=reason):
                        raise self._connection.fault or PeerError(reason)
            if self._stopped:
                raise StreamServerError(self._stopped)

    def close(self, reason: str) -> None:
        """Gives the right to append back."""
        if self._ingest is not None:
            self._ingest.assembler.flush()
        if self._publisher is not None:
            self._publisher.close(reason)

    async def _publish(self) -> None:
        self._publisher = await self._open(self._key, self._stop)
        self._ingest = RtmpIngest(self._publisher.lease)
        self._began()

    def _stop(self, reason: str) -> None:
        self._stopped = reason
        self._connection.stir()

    def _take(self, messages: Sequence[Message]) -> None:
        if self._ingest is None or self._publisher is None or self._stopped:
            return
        self._publisher.session.bytes_received += sum(len(message.body) for message in messages)
        self._ingest.media(messages, self._clock.monotonic_ns())
