"""The sink itself: a port, its connections, and what came."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streamserver.clock import Clock, SystemClock
from streamserver.net.addresses import unmap, url_host
from streamserver.net.sockets import bind, keep_little
from streamserver.rtmp.events import ConnectReceived, PublishRequested
from streamserver.sink.certificates import SinkCertificate
from streamserver.sink.connection import SinkConnection
from streamserver.sink.events import SinkEvent, Totals, ended, progress, published
from streamserver.sink.misbehavior import Fault, Misbehavior
from streamserver.sink.publication import SinkPublication

__all__ = ["Sink", "SinkSettings"]

_READ_LIMIT: Final = 64 * 1024
_KEPT_PUBLICATIONS: Final = 1_000
_TLS_HANDSHAKE_S: Final = 10
_TLS_SHUTDOWN_S: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """One sink."""

    host: str = "localhost"
    """The address to listen on; empty: all."""

    port: int = 0
    """The port; 0 takes a free one."""

    misbehavior: Misbehavior = field(default_factory=Misbehavior)
    """What is wrong with it."""

    tls: bool = False
    """Whether to speak RTMPS, with a certificate that signs itself."""

    keep_messages: int = 0
    """Media messages that each publication keeps, the newest ones."""

    report_s: float = 1.0
    """Seconds between two events ``progress`` of a publication."""

    max_connections: int = 1_000
    """Connections at once; more are closed."""


class Sink:
    """A destination in this loop. ``async with Sink() as sink`` opens and closes it.

    Entering raises `UnavailableError` when the port is not to be had.
    """

    def __init__(
        self,
        settings: SinkSettings | None = None,
        *,
        clock: Clock | None = None,
        tell: Callable[[SinkEvent], None] | None = None,
    ) -> None:
        """``tell`` is called with what happens, for people or programs that look on."""
        self.settings = settings or SinkSettings()
        self.publications: deque[SinkPublication] = deque(maxlen=_KEPT_PUBLICATIONS)
        """Publishers that were accepted, oldest first; also those that are over."""
        self.connections = 0
        """Connections so far."""
        self.port = 0
        """The port; known once it is open."""
        self.certificate: SinkCertificate | None = None
        """With TLS: what clients must trust; known once it is open."""
        self._tell = tell or (lambda event: None)
        self._clock = clock or SystemClock()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[SinkConnection] = set()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    # ---- what tests await -------------------------------------------------------------------

    @property
    def uses_tls(self) -> bool:
        """Whether clients must speak TLS."""
        return self.settings.tls or self.settings.misbehavior.fault is Fault.TLS_BAD

    @property
    def url(self) -> str:
        """Where to publish to, without the key; known once it is open."""
        scheme = "rtmps" if self.uses_tls else "rtmp"
        return f"{scheme}://{url_host(self.settings.host or 'localhost')}:{self.port}/live"

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._open)

    async def published(self, count: int = 1, *, within_s: float = 10) -> SinkPublication:
        """Waits for so many publishers to be accepted; answers the newest one.

        Raises `TimeoutError`, as the others do that wait.
        """
        await self.until(lambda: len(self.publications) >= count, within_s=within_s)
        return self.publications[-1]

    async def received(self, frames: int, *, within_s: float = 10) -> None:
        """Waits until all publications together have so many coded frames."""
        await self.until(
            lambda: sum(one.frames for one in self.publications) >= frames, within_s=within_s
        )

    async def connected(self, count: int = 1, *, within_s: float = 10) -> None:
        """Waits for so many connections, counted from the start."""
        await self.until(lambda: self.connections >= count, within_s=within_s)

    async def emptied(self, *, within_s: float = 10) -> None:
        """Waits until no connection is open."""
        await self.until(lambda: not self._open, within_s=within_s)

    async def until(self, condition: Callable[[], bool], *, within_s: float = 10) -> None:
        """Waits until a condition on this sink holds; it is looked at when something happened."""
        if condition():
            return
        waiter = (condition, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(within_s):
                await waiter[1]
        finally:
            self._waiters.remove(waiter)

    # ---- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> "Sink":
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Opens the port. Raises `UnavailableError` when it is not to be had."""
        settings = self.settings
        context: ssl.SSLContext | None = None
        if self.uses_tls:
            self.certificate = await asyncio.to_thread(SinkCertificate.make, settings.misbehavior)
            context = await asyncio.to_thread(self.certificate.context)
        if settings.misbehavior.below_tls:
            context = None
        sockets = bind("sink", settings.host, settings.port)
        self.port = sockets[0].getsockname()[1]
        for sock in sockets:
            if settings.misbehavior.keeps_little:
                keep_little(sock)
            server = await asyncio.start_server(
                self._accept,
                sock=sock,
                limit=_READ_LIMIT,
                ssl=context,
                ssl_handshake_timeout=_TLS_HANDSHAKE_S if context else None,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_S if context else None,
            )
            self._servers.append(server)
        self._tell(SinkEvent("listening", {"url": self.url, "port": self.port}))

    async def close(self) -> None:
        """Closes the port and cuts all connections. Safe twice."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- connections ------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= self.settings.max_connections:
            writer.transport.abort()
            return
        self.connections += 1
        host, port = (writer.get_extra_info("peername") or ("", 0))[:2]
        remote = f"{url_host(unmap(host))}:{port}"

        def make(connect: ConnectReceived | None, request: PublishRequested) -> SinkPublication:
            return SinkPublication(
                remote=remote,
                app=request.raw_app,
                key=request.raw_key,
                tc_url=connect.tc_url if connect else "",
                encoder=connect.flash_ver if connect else "",
                four_ccs=connect.four_ccs if connect else (),
                accepted_ns=self.now_ns(),
                messages=deque(maxlen=self.settings.keep_messages),
            )

        connection = SinkConnection(
            reader,
            writer,
            number=self.connections,
            misbehavior=self.settings.misbehavior,
            host=self,
            make_publication=make,
        )
        self._open.add(connection)
        task = asyncio.get_running_loop().create_task(self._run(connection, remote))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._tell(SinkEvent("connected", {"remote": remote}))
        self._look()

    async def _run(self, connection: SinkConnection, remote: str) -> None:
        reports = asyncio.create_task(self._report(connection))
        reason = "the sink was closed"
        try:
            reason = await connection.run()
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            reports.cancel()
            self._tell(ended(remote, reason, connection.publication))
            self._open.discard(connection)
            self._look()

    async def _report(self, connection: SinkConnection) -> None:
        before = Totals(self.now_ns())
        while True:
            await asyncio.sleep(self.settings.report_s)
            publication = connection.publication
            if publication is not None:
                now = Totals.of(publication, self.now_ns())
                self._tell(progress(publication, before, now))
                before = now

    # ---- what connections tell --------------------------------------------------------------

    def now_ns(self) -> int:
        """The monotonic clock."""
        return self._clock.monotonic_ns()

    def publication_began(self, publication: SinkPublication) -> None:
        """Keeps and tells it."""
        self.publications.append(publication)
        self._tell(published(publication))
        self._look()

    def publication_grew(self) -> None:
        """Media or data came."""
        if self._waiters:
            self._look()

    def _look(self) -> None:
        for condition, future in self._waiters:
            if not future.done() and condition():
                future.set_result(None)
