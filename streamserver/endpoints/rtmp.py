"""The RTMP door: a listener, who may connect to it, and its counters."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from streamserver.auth.bans import BanTable
from streamserver.clock import Clock
from streamserver.control.connecting import Connecting
from streamserver.control.publishing import Publishing
from streamserver.endpoints.rtmp_connection import CLOSE_AFTER_S, RtmpConnection
from streamserver.endpoints.rtmp_watch import PlayDoor
from streamserver.endpoints.strangers import Strangers
from streamserver.hub.limits import Limits
from streamserver.hub.sessions import SessionTable
from streamserver.net.proxies import TrustedProxies
from streamserver.net.sockets import BACKLOG, bind
from streamserver.net.tls_listener import TlsListener, TlsSettings
from streamserver.rtmp.settings import SessionSettings

__all__ = ["RtmpEndpoint", "RtmpSettings", "RtmpStats"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmpSettings:
    """One RTMP listener."""

    host: str = ""
    """The address to listen on; empty: all."""

    port: int = 1935
    """The port; 0 takes a free one."""

    tls: ssl.SSLContext | None = None
    """The certificate's context for RTMPS; None for plain RTMP."""

    tls_handshake_s: float = 10
    """Seconds in which a peer must have finished the handshake of TLS."""

    tls_shutdown_s: float = 2
    """Seconds that a peer has to answer our closing of TLS; many never do."""

    proxy_protocol: bool = False
    """Whether trusted proxies begin their connections with a PROXY protocol header."""

    max_connections: int = 10_000
    """Connections at once."""

    max_connections_per_address: int = 1_000
    """Connections at once from one address that is no trusted proxy."""

    max_bytes_before_auth: int = 2 * 2**20
    """Bytes that a connection may send before it was let in to publish or play."""

    session: SessionSettings = field(default_factory=SessionSettings)
    """Bounds of each session."""

    @property
    def name(self) -> str:
        """What log lines and errors call the listener."""
        return "rtmps" if self.tls else "rtmp"


@dataclass(slots=True)
class RtmpStats:
    """Counters of one listener since the start."""

    accepted: int = 0
    """Connections."""

    probes: int = 0
    """Connections that closed without a byte."""

    bytes_received: int = 0
    """Bytes read from all connections."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Connections by how they ended: ``published``, ``played``, ``refused`` …"""


class RtmpEndpoint:
    """One RTMP or RTMPS listener."""

    def __init__(
        self,
        settings: RtmpSettings,
        *,
        publishing: Publishing,
        proxies: TrustedProxies,
        clock: Clock,
        play: PlayDoor | None = None,
        connecting: Connecting | None = None,
        bans: BanTable | None = None,
        limits: Limits | None = None,
        complain: Callable[..., object] = logger.info,
    ) -> None:
        """``play`` lets players in; without it the listener only takes publishers. ``complain``
        writes a log line about a peer's fault; rate-limited by its owner. ``connecting`` decides
        about each connect, and wants ``settings.session.decide_connect``; ``bans`` names those who
        are turned away at the door."""
        self.settings = settings
        self.connecting = connecting
        self._bans = bans
        self.limits = limits or Limits(SessionTable())
        self.publishing = publishing
        self.play = play
        self.complain = complain
        self.stats = RtmpStats()
        self.addresses: tuple[tuple[str, int], ...] = ()
        self.now_ns = clock.monotonic_ns
        self.strangers = Strangers(clock.monotonic_ns, _next_turn)
        self._proxies = proxies
        self._connections: set[RtmpConnection] = set()
        self._timed: set[RtmpConnection] = set()
        """Those that have a deadline. A thousand players have none."""
        self._by_address: Counter[str] = Counter()
        self._servers: list[asyncio.Server | TlsListener] = []
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def has_proxies(self) -> bool:
        """Whether any proxy is trusted."""
        return bool(self._proxies)

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def tls(self) -> list[TlsListener]:
        """Its ports that speak TLS."""
        return [server for server in self._servers if isinstance(server, TlsListener)]

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts, on sockets that listen already or on new ones.

        Raises `UnavailableError` when the port is not to be had.
        """
        settings = self.settings
        loop = asyncio.get_running_loop()
        if sockets is None:
            sockets = bind(settings.name, settings.host, settings.port)
        self.addresses = tuple(sock.getsockname()[:2] for sock in sockets)
        for sock in sockets:
            if settings.tls is None:
                server = await loop.create_server(self._connect, sock=sock, backlog=BACKLOG)
                self._servers.append(server)
                continue
            times = TlsSettings(
                handshake_s=settings.tls_handshake_s, shutdown_s=settings.tls_shutdown_s
            )
            self._servers.append(
                TlsListener(sock, self._connect, settings.tls, times, may_come=self._may_come)
            )

    def tick(self, now_ns: int) -> None:
        """Applies the deadlines of all connections."""
        for connection in list(self._timed):
            if not connection.tick(now_ns):
                self._timed.discard(connection)

    def look_after(self, connection: RtmpConnection) -> None:
        """Applies the deadlines of a connection that had none."""
        if connection in self._connections:
            self._timed.add(connection)

    def ask_to_reconnect(self, reason: str) -> set[str]:
        """Asks every publisher that understands it to come again; answers their sessions."""
        asked = {connection.ask_to_reconnect(reason) for connection in self._connections}
        return {session_id for session_id in asked if session_id is not None}

    def stop_accepting(self) -> None:
        """Closes the port; connections stay."""
        for server in self._servers:
            server.close()

    async def close(self, reason: str) -> None:
        """Ends everything."""
        self.stop_accepting()
        for connection in list(self._connections):
            connection.kick(reason)
        # Each connection closes by its own timer once the peer had time to read why.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_AFTER_S):
                await self._empty.wait()
        for connection in list(self._connections):
            connection.abort()

    def admit(self, connection: RtmpConnection) -> str | None:
        """Counts a connection in; answers why it is refused, or None."""
        self.stats.accepted += 1
        self._connections.add(connection)
        self._timed.add(connection)
        self._empty.clear()
        address = connection.peer_ip
        self._by_address[address] += 1
        settings = self.settings
        if len(self._connections) > settings.max_connections:
            return f"{settings.max_connections} connections are open (limits.max_connections)"
        many = self._by_address[address] > settings.max_connections_per_address
        if many and not self._proxies.trusts(address):
            return "too many connections from this address (limits.connections_per_address)"
        return None

    def _connect(self) -> RtmpConnection:
        return RtmpConnection(self)

    def _may_come(self, ip: str, *, here: int, total: int) -> bool:
        """Whether another handshake of TLS may begin: it counts as the connection it will be."""
        if self.is_banned(ip):
            self.stats.outcomes["banned"] += 1
            return False
        settings = self.settings
        few = here + self._by_address[ip] < settings.max_connections_per_address
        room = len(self._connections) + total < settings.max_connections
        if room and (few or self._proxies.trusts(ip)):
            return True
        self.stats.outcomes["refused"] += 1
        key = "connections_per_address" if room else "max_connections"
        self.complain("%s refused before its handshake of TLS (limits.%s)", ip, key)
        return False

    def is_banned(self, ip: str) -> bool:
        """Whether an address failed too often lately."""
        return self._bans is not None and self._bans.is_banned(ip)

    def expects_proxy_header(self, peer_ip: str) -> bool:
        """Whether a connection from this address begins with a PROXY protocol header."""
        return self.settings.proxy_protocol and self._proxies.trusts(peer_ip)

    def forget(self, connection: RtmpConnection, outcome: str) -> None:
        """Counts a connection out."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._timed.discard(connection)
        self._by_address[connection.peer_ip] -= 1
        if not self._by_address[connection.peer_ip]:
            del self._by_address[connection.peer_ip]
        if not self._connections:
            self._empty.set()
        if outcome == "probe":
            self.stats.probes += 1
        self.stats.outcomes[outcome] += 1


def _next_turn(function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(function)
