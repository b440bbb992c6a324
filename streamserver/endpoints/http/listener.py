"""A listener is a value; `HttpEndpoint` opens one and serves its mounts until it is closed."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from streamserver.clock import Clock
from streamserver.endpoints.http.app import AppSettings, InnerHandler, Mount, build_app
from streamserver.endpoints.http.connections import Connections, FrontSettings, FrontStats
from streamserver.errors import ConfigError, UnavailableError

__all__ = ["HttpEndpoint", "Listener", "Mount"]

_BACKLOG = 4096
_TLS_HANDSHAKE_S = 10.0
_TLS_SHUTDOWN_S = 2.0
_HANDLER_GRACE_S = 1.0
_LINE_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Listener:
    """One port and what is served on it."""

    name: str
    """For people: ``http``, ``https``."""

    host: str
    """An address to bind, ``localhost``, or ``""`` for all addresses, IPv6 and IPv4."""

    port: int
    """0 takes a free one."""

    mounts: tuple[Mount, ...]
    """What is served."""

    tls: ssl.SSLContext | None = None
    """The certificate's context, or None for plain HTTP."""

    base_path: str = ""
    """What stands before every path, such as ``/media``; empty also behind a proxy that strips."""

    def __post_init__(self) -> None:
        base = self.base_path
        if base and (not base.startswith("/") or base.endswith("/") or "//" in base):
            raise ConfigError(f"the base path {base!r} must look like /prefix")


class HttpEndpoint:
    """One open listener.

    ``app_settings`` and ``front_settings`` are the bounds; ``exempt`` names addresses that the
    bound per address does not concern.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        clock: Clock,
        app_settings: AppSettings | None = None,
        front_settings: FrontSettings | None = None,
        exempt: Callable[[str], bool] | None = None,
    ) -> None:
        self.listener = listener
        self.addresses: tuple[tuple[str, int], ...] = ()
        """What is bound, as (address, port)."""
        self._app = build_app(
            listener.mounts, app_settings or AppSettings(), base_path=listener.base_path
        )
        self._runner = web.AppRunner(
            self._app, access_log=None, shutdown_timeout=_HANDLER_GRACE_S, handle_signals=False
        )
        self._connections = Connections(
            # The longest prefix decides, as it does for the routes.
            fast=sorted(
                ((mount.prefix, mount.fast) for mount in listener.mounts if mount.fast is not None),
                key=lambda pair: len(pair[0]),
                reverse=True,
            ),
            new_inner=self._new_inner,
            clock=clock,
            settings=front_settings,
            base_path=listener.base_path,
            exempt=exempt,
        )
        self._servers: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def stats(self) -> FrontStats:
        """The counters of the front."""
        return self._connections.stats

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def start(self) -> tuple[tuple[str, int], ...]:
        """Binds and serves; answers what is bound.

        Raises `UnavailableError` when the port is not to be had, `ConfigError` for a host that is
        not an address.
        """
        listener = self.listener
        sockets = _bind(listener)
        try:
            self._loop = asyncio.get_running_loop()
            await self._runner.setup()
            self.addresses = tuple(sock.getsockname()[:2] for sock in sockets)
            self._connections.port = self.addresses[0][1]
            while sockets:
                self._servers.append(await self._serve(sockets[0]))
                del sockets[0]
        except BaseException:
            for sock in sockets:
                sock.close()
            await self.close(0)
            raise
        self._connections.start()
        return self.addresses

    def stop_accepting(self) -> None:
        """Closes the port; idle connections end, others after their present answer."""
        for server in self._servers:
            server.close()
        self._connections.drain()

    async def close(self, deadline_s: float) -> None:
        """Stops accepting, lets answers end for at most ``deadline_s``, then ends everything.

        Handlers that still run get another moment of about a second. A second call does nothing.
        """
        self.stop_accepting()
        # Streamed answers and WebSockets end when their source does, or now.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connections.wait_empty(), deadline_s)
        await self._runner.cleanup()
        self._connections.abort_all()
        self._connections.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connections.wait_empty(), 1.0)
        self._servers.clear()

    async def _serve(self, sock: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if self.listener.tls is None:
            return await loop.create_server(self._connections, sock=sock, backlog=_BACKLOG)
        return await loop.create_server(
            self._connections,
            sock=sock,
            backlog=_BACKLOG,
            ssl=self.listener.tls,
            ssl_handshake_timeout=_TLS_HANDSHAKE_S,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
        )

    def _new_inner(self) -> web.RequestHandler:
        manager, loop = self._runner.server, self._loop
        if manager is None or loop is None:
            raise UnavailableError("the listener is closed")
        return InnerHandler(
            manager,
            loop=loop,
            # One request each: this only ends a handler to whom our framing gave no whole request.
            keepalive_timeout=30,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own documentation says None
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            lingering_time=5,
        )


def _bind(listener: Listener) -> list[socket.socket]:
    hosts = {"": ["::"], "localhost": ["127.0.0.1", "::1"]}.get(listener.host, [listener.host])
    sockets: list[socket.socket] = []
    port = listener.port
    try:
        for host in hosts:
            try:
                sock = _bind_one(listener, host, port)
            except OSError as error:
                if sockets and error.errno != errno.EADDRINUSE:
                    continue  # localhost on a host without IPv6
                if listener.host == "" and error.errno != errno.EADDRINUSE:
                    sock = _bind_one(listener, "0.0.0.0", port)  # no IPv6 here
                else:
                    raise
            sockets.append(sock)
            port = sock.getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise UnavailableError(_explain(listener, error)) from error
    return sockets


def _bind_one(listener: Listener, host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(
            f"{listener.name}: {host!r} is no address; give an IP address, localhost, or nothing"
        ) from None
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: a peer that vanished is noticed in the end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if address.version == 6:
            # "::" serves IPv4 as well, so that one socket is the port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        sock.setblocking(False)
        sock.bind((host, port))
        # Here and not in the loop: with SO_REUSEADDR a taken port may show only now.
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(listener: Listener, error: OSError) -> str:
    where = f"{listener.name} port {listener.port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken: `ss -ltnp 'sport = :{listener.port}'` shows by whom; "
            f"or choose another one"
        )
    if error.errno == errno.EACCES:
        return f"{where} may not be opened by this user: ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: {listener.host} is not an address of this host"
    return f"{where} cannot be opened: {error.strerror}"
