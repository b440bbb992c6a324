"""One port for all WebRTC peers: UDP over IPv4 and IPv6, and TCP for those whom UDP does not reach.

The first byte of a packet tells its protocol (RFC 7983), its source the peer. A stranger becomes
a peer's path by a STUN request that is signed with that peer's password, and by nothing else.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamserver.clock import Clock
from streamserver.errors import LimitError, LocalProtocolError, UnavailableError
from streamserver.net.resolver import DnsResolver, Resolver
from streamserver.webrtc import stun
from streamserver.webrtc.candidates import AUTO, candidates, public_addresses
from streamserver.webrtc.ice import Outcome
from streamserver.webrtc.paths import MuxStats, Path, UdpPath
from streamserver.webrtc.peer import Peer, PeerHandler
from streamserver.webrtc.sockets import ANCILLARY_BYTES, Ancillary, UdpSocket, open_sockets
from streamserver.webrtc.srtp import Arena
from streamserver.webrtc.tcp import TcpPath

if TYPE_CHECKING:
    from streamserver.webrtc.channels import ChannelOpened
    from streamserver.webrtc.private import Certificate

__all__ = ["Mux", "MuxSettings"]

_BATCH: Final = 64
"""Datagrams that are read before the loop may do something else."""

_DTLS_BATCH: Final = 8
"""The same of DTLS, where a datagram may cost a signature: half a millisecond and more."""

_DATAGRAM_BYTES: Final = 2048
"""Larger datagrams hold nothing that WebRTC sends; they are cut, and then fail their checks."""

_CERTIFICATE_NS: Final = 7 * 24 * 3600 * 1_000_000_000
"""A certificate is valid for 30 days; newcomers get one that is younger than a week."""

_ADDRESS_NS: Final = 5_000_000_000
"""An address that a peer was heard from so recently cannot be taken over by another peer."""

_TCP_PROOF_NS: Final = 10_000_000_000
"""How long a connection may take until its first authentic check."""

_MAX_STRANGERS: Final = 256
"""Connections that have not proved themselves; the oldest makes room."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MuxSettings:
    """Where a `Mux` listens, and what it tells of itself."""

    host: str = ""
    """Address to bind to; ``localhost``, or empty for all."""

    port: int = 8189
    """UDP and TCP port; 0 takes a free one."""

    tcp: bool = True
    """Whether the port is open over TCP as well."""

    public_addresses: tuple[str, ...] = (AUTO,)
    """Addresses and host names under which peers reach the port; ``auto``: the interfaces'."""

    buffer_bytes: int = 4 * 1024 * 1024
    """The kernel's buffers, in each direction and for each family."""

    max_peers: int = 20_000
    """Peers at once, those that are not yet connected included."""


class Mux:
    """The listener. `open` makes peers; `tick` lets time pass for them."""

    def __init__(
        self, clock: Clock, settings: MuxSettings | None = None, *, resolver: Resolver | None = None
    ) -> None:
        self.clock = clock
        self.settings = settings or MuxSettings()
        self.loop = asyncio.get_running_loop()
        self.stats = MuxStats()
        self.received = Arena(_DATAGRAM_BYTES)
        self.scratch = Arena(_DATAGRAM_BYTES)
        self.port = 0
        """The port that it really has; 0 before `start`."""
        self._resolver: Resolver = resolver or DnsResolver()
        self._udp: list[UdpSocket] = []
        self._tcp: list[asyncio.Server] = []
        self._addresses: list[str] = []
        self._by_ufrag: dict[bytes, Peer] = {}
        self._peers: dict[Peer, tuple[bytes, ...]] = {}
        self._strangers: dict[TcpPath, int] = {}
        self._certificate: Certificate | None = None
        self._certificate_ns = 0
        self._buffers = [self.received.view]

    # ---- life

    async def start(self) -> None:
        """Opens the port and gets ready for peers. Raises `UnavailableError` as both do."""
        await self.listen()
        await self.prepare()

    async def listen(self) -> None:
        """Opens the port, and no more. Raises `UnavailableError` when it is not to be had."""
        settings = self.settings
        self._udp, listening = open_sockets(
            settings.host, settings.port, tcp=settings.tcp, buffer_bytes=settings.buffer_bytes
        )
        self.port = self._udp[0].port
        for udp in self._udp:
            self.loop.add_reader(udp.sock.fileno(), self._read, udp)
        for sock in listening:
            self._tcp.append(await self.loop.create_server(self._new_connection, sock=sock))

    async def prepare(self) -> None:
        """What the first peer needs and an open port does not: loads the libraries, tries them,
        makes a certificate, looks the public addresses up.

        Takes most of a second, next to nothing of it on the loop. Raises `UnavailableError`.
        """
        self._certificate = await asyncio.to_thread(_first_certificate)
        self._certificate_ns = self.clock.monotonic_ns()
        await self.learn_addresses()

    async def learn_addresses(self) -> None:
        """Looks the public addresses up; call it again when they may have changed."""
        found, failures = await public_addresses(
            self.settings.public_addresses, [udp.host for udp in self._udp], self._resolver
        )
        for failure in failures:
            logger.warning("webrtc.public_addresses: %s", failure)
        if found or not self._addresses:
            self._addresses = found

    async def close(self) -> None:
        """Closes every peer and the port."""
        for peer in tuple(self._peers):
            peer.close("the server is stopping")
        for stranger in tuple(self._strangers):
            stranger.close()
        for server in self._tcp:
            server.close()
        for udp in self._udp:
            self.loop.remove_reader(udp.sock.fileno())
            udp.sock.close()
        for server in self._tcp:
            await server.wait_closed()
        self._udp, self._tcp = [], []

    # ---- peers

    @property
    def candidates(self) -> list[str]:
        """Values of ``a=candidate:`` lines, best first."""
        return candidates(self._addresses, self.port, tcp=bool(self._tcp))

    @property
    def peers(self) -> int:
        """How many peers there are, connected or not."""
        return len(self._peers)

    def open(self, handler: PeerHandler, *, on_data_channel: "ChannelOpened | None" = None) -> Peer:
        """A new peer, to be described and printed. Raises `LimitError` when there are too many.

        ``on_data_channel`` is told of the data channels that it opens; without it they are closed.
        """
        if not self._udp:
            raise LocalProtocolError("the port is not open")
        if len(self._peers) >= self.settings.max_peers:
            raise LimitError("there are too many WebRTC connections")
        peer = Peer(self, handler, self._fresh_certificate(), on_data_channel)
        self._peers[peer] = ()
        self.renamed(peer)
        return peer

    def tick(self, now_ns: int) -> None:
        """Lets time pass; to be called a few times a second."""
        for peer in tuple(self._peers):
            peer.tick(now_ns)
        for stranger, since_ns in tuple(self._strangers.items()):
            if now_ns - since_ns < _TCP_PROOF_NS:
                break  # they are in the order in which they came
            self._turn_away(stranger)

    def renamed(self, peer: Peer) -> None:
        """A peer goes by other names."""
        for ufrag in self._peers[peer]:
            del self._by_ufrag[ufrag]
        names = tuple(ufrag.encode() for ufrag in peer.ufrags)
        self._peers[peer] = names
        self._by_ufrag.update(dict.fromkeys(names, peer))

    def left(self, peer: Peer) -> None:
        """A peer is over."""
        for ufrag in self._peers.pop(peer, ()):
            del self._by_ufrag[ufrag]

    def released(self, peer: Peer, path: Path) -> None:
        """A peer uses a path no more."""
        if isinstance(path, TcpPath):
            path.peer = None
            path.close()
        elif isinstance(path, UdpPath) and not peer.comes_from(path):
            for udp in self._udp:
                if udp.peers.get(path.key) is peer:
                    del udp.peers[path.key]

    def _fresh_certificate(self) -> "Certificate":
        now_ns = self.clock.monotonic_ns()
        if self._certificate is None or now_ns - self._certificate_ns >= _CERTIFICATE_NS:
            # Late, see `private`.
            from streamserver.webrtc.private import Certificate

            self._certificate = Certificate()
            self._certificate_ns = now_ns
        return self._certificate

    # ---- UDP

    def _read(self, udp: UdpSocket) -> None:
        receive, buffers, arena = udp.sock.recvmsg_into, self._buffers, self.received
        stats, peers, now = self.stats, udp.peers, self.clock.monotonic_ns
        dtls_left = _DTLS_BATCH
        for _ in range(_BATCH):
            try:
                size, ancillary, _flags, remote = receive(buffers, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of something that was sent; ICE notices by itself
            stats.received += 1
            if len(ancillary) > 1:
                udp.note_overflow(ancillary, stats)
            if not size:
                continue
            # RFC 7983, section 7.
            first = arena.data[0]
            if 127 < first < 192:
                peer = peers.get(remote)
                if peer is None:
                    stats.unknown += 1
                else:
                    peer.on_media(size, now())
            elif first < 4:
                self._on_udp_stun(udp, bytes(arena.view[:size]), remote, ancillary)
            elif 19 < first < 64 and (peer := peers.get(remote)) is not None:
                peer.on_dtls(bytes(arena.view[:size]), now())
                dtls_left -= 1
                if not dtls_left:
                    return  # what is left makes the socket readable in the next turn, too
            else:
                stats.unknown += 1

    def _on_udp_stun(
        self, udp: UdpSocket, data: bytes, remote: tuple[object, ...], ancillary: Ancillary
    ) -> None:
        peer = self._named(data)
        if peer is None:
            return
        now_ns = self.clock.monotonic_ns()
        holder = udp.peers.get(remote)
        if holder not in (None, peer) and now_ns - holder.heard_ns < _ADDRESS_NS:
            # Whoever can forge source addresses could take a living peer's packets away.
            self.stats.unknown += 1
            return
        path = udp.path(remote, ancillary, self.stats)
        outcome = self._answer(peer, path, data, now_ns)
        if outcome.valid:
            udp.peers[remote] = peer
            peer.on_path(outcome)

    # ---- STUN, over whatever it came

    def _named(self, data: bytes) -> Peer | None:
        name = stun.username_of(data)
        if name is None:
            self.stats.stun_bad += 1
            return None
        peer = self._by_ufrag.get(name.partition(b":")[0])
        if peer is None:
            self.stats.stun_unknown += 1
        return peer

    def _answer(self, peer: Peer, path: Path, data: bytes, now_ns: int) -> Outcome[Path]:
        outcome = peer.on_stun(data, path, path.remote, now_ns)
        if not outcome.authentic:
            self.stats.stun_bad += 1
        if outcome.answer is not None:
            self.stats.stun_answered += 1
            path.send(outcome.answer)
        return outcome

    # ---- TCP

    def _new_connection(self) -> TcpPath:
        return TcpPath(self.stats, self._on_frame, self._on_opened, self._on_lost)

    def _on_opened(self, path: TcpPath) -> None:
        if len(self._strangers) >= _MAX_STRANGERS:
            self._turn_away(next(iter(self._strangers)))
        self._strangers[path] = self.clock.monotonic_ns()

    def _on_lost(self, path: TcpPath) -> None:
        self._strangers.pop(path, None)
        if path.peer is not None:
            path.peer.on_path_lost(path)

    def _turn_away(self, stranger: TcpPath) -> None:
        self._strangers.pop(stranger, None)
        self.stats.tcp_refused += 1
        stranger.close()

    def _on_frame(self, path: TcpPath, data: bytes) -> None:
        self.stats.received += 1
        first, peer = data[0], path.peer
        if first < 4:
            self._on_tcp_stun(path, data)
        elif peer is None:
            # Nothing but a check can be the first thing on a connection (RFC 6544, section 7).
            self._turn_away(path)
        elif 127 < first < 192:
            size = len(data)
            self.received.data[:size] = data
            peer.on_media(size, self.clock.monotonic_ns())
        elif 19 < first < 64:
            peer.on_dtls(data, self.clock.monotonic_ns())
        else:
            self.stats.unknown += 1

    def _on_tcp_stun(self, path: TcpPath, data: bytes) -> None:
        peer = self._named(data)
        if peer is None or path.peer not in (None, peer):
            if path.peer is None:
                self._turn_away(path)
            return
        outcome = self._answer(peer, path, data, self.clock.monotonic_ns())
        if outcome.valid:
            self._strangers.pop(path, None)
            path.peer = peer
            peer.on_path(outcome)


def _first_certificate() -> "Certificate":
    try:
        from streamserver.webrtc.private import Certificate
        from streamserver.webrtc.self_test import self_test
    except Exception as error:  # a library that is missing or broken can show in any way
        raise UnavailableError(f"WebRTC's libraries cannot be loaded: {error!r}") from error
    self_test()
    return Certificate()
