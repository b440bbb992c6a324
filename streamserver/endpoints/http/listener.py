"""A listener is a value; `HttpEndpoint` opens one and serves its mounts until it is closed."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from streamserver.clock import Clock
from streamserver.endpoints.http.app import AppSettings, InnerHandler, Mount, build_app
from streamserver.endpoints.http.connections import Connections, FrontSettings, FrontStats
from streamserver.errors import ConfigError, UnavailableError
from streamserver.net.sockets import BACKLOG, bind
from streamserver.net.tls_listener import TlsListener

__all__ = ["HttpEndpoint", "Listener", "Mount"]

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
    bound per address does not concern, ``is_banned`` those that are turned away at the door.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        clock: Clock,
        app_settings: AppSettings | None = None,
        front_settings: FrontSettings | None = None,
        exempt: Callable[[str], bool] | None = None,
        is_banned: Callable[[str], bool] | None = None,
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
            is_banned=is_banned,
        )
        self._servers: list[asyncio.Server | TlsListener] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def stats(self) -> FrontStats:
        """The counters of the front."""
        return self._connections.stats

    @property
    def front_settings(self) -> FrontSettings:
        """The bounds of the front; may be exchanged while running."""
        return self._connections.settings

    @front_settings.setter
    def front_settings(self, settings: FrontSettings) -> None:
        self._connections.settings = settings

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def tls(self) -> list[TlsListener]:
        """Its ports that speak TLS."""
        return [server for server in self._servers if isinstance(server, TlsListener)]

    async def start(self) -> tuple[tuple[str, int], ...]:
        """Binds and serves; answers what is bound.

        Raises `UnavailableError` when the port is not to be had, `ConfigError` for a host that is
        not an address.
        """
        listener = self.listener
        sockets = bind(listener.name, listener.host, listener.port)
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

    async def _serve(self, sock: socket.socket) -> asyncio.Server | TlsListener:
        context, connections = self.listener.tls, self._connections
        if context is not None:
            return TlsListener(sock, connections, context, may_come=connections.may_come)
        loop = asyncio.get_running_loop()
        return await loop.create_server(connections, sock=sock, backlog=BACKLOG)

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
