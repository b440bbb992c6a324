"""One peer: connectivity, handshake, and protected packets in both directions."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from streamserver.clock import Clock
from streamserver.errors import LocalProtocolError, PeerError, RemoteProtocolError
from streamserver.webrtc.ice import IceLite, Outcome
from streamserver.webrtc.paths import MuxStats, Path, UdpPath
from streamserver.webrtc.srtp import RTCP_TRAILER_BYTES, Arena, SrtpIn, SrtpOut

if TYPE_CHECKING:
    from streamserver.webrtc.channels import ChannelOpened, DataChannels
    from streamserver.webrtc.dtls import DtlsLink
    from streamserver.webrtc.private import Certificate

__all__ = ["Pair", "Peer", "PeerHandler", "PeerHome"]

_CONNECT_NS: Final = 30_000_000_000
"""How long a peer may take from `Mux.open` until it is connected."""

_LOST_NS: Final = 10_000_000_000
"""How long a peer whose last path broke may take to come back over another one."""

_MAX_CANDIDATES: Final = 64
_MIN_TIMER_S: Final = 0.01

logger = logging.getLogger(__name__)


class PeerHandler(Protocol):
    """What is done with a peer: a publisher's ingest, or a viewer."""

    def connected(self) -> None:
        """ICE is validated, DTLS done, and the fingerprint right: media may flow."""

    def rtp(self, packet: bytes, now_ns: int) -> None:
        """An RTP packet, decrypted; only version and minimal length are checked."""

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        """A compound RTCP packet, decrypted."""

    def closed(self, reason: str) -> None:
        """It is over: called once, whatever the cause."""


class PeerHome(Protocol):
    """What a peer needs of the listener that it lives on."""

    clock: Clock
    stats: MuxStats
    received: Arena
    """Where packets lie when they come."""
    scratch: Arena
    """Where single packets are protected."""
    loop: asyncio.AbstractEventLoop

    @property
    def candidates(self) -> list[str]:
        """Values of ``a=candidate:`` lines."""

    def renamed(self, peer: "Peer") -> None:
        """A peer goes by other names."""

    def released(self, peer: "Peer", path: Path) -> None:
        """A peer uses a path no more."""

    def left(self, peer: "Peer") -> None:
        """A peer is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The candidate pair in use."""

    protocol: str
    """``udp`` or ``tcp``."""

    local: tuple[str, int]
    """Our address and port."""

    remote: tuple[str, int]
    """The peer's, as we see it."""

    rtt_ms: int | None
    """Round trip as the transport measures it; None over UDP."""


class Peer:
    """Made by `Mux.open`, gone with `close`."""

    __slots__ = (
        "__weakref__",
        "_certificate",
        "_channel_opened",
        "_channels",
        "_closed",
        "_created_ns",
        "_described",
        "_fingerprints",
        "_handler",
        "_home",
        "_ice",
        "_link",
        "_lost_ns",
        "_srtp_in",
        "_timer",
        "bytes_in",
        "bytes_out",
        "candidates_noted",
        "setup",
        "srtp",
    )  # fmt: skip

    def __init__(
        self,
        home: PeerHome,
        handler: PeerHandler,
        certificate: "Certificate",
        on_data_channel: "ChannelOpened | None",
    ) -> None:
        self.setup = "passive"
        """``passive`` or ``active``: our side of the handshake, as `describe` settled it."""
        self.srtp: SrtpOut | None = None
        """Protection of what is sent; there once connected."""
        self.bytes_in = 0
        """Bytes of packets that came, STUN and DTLS included."""
        self.bytes_out = 0
        """Bytes of packets that were sent."""
        self.candidates_noted = 0
        """Candidates that the peer has told of."""
        self._home = home
        self._handler: PeerHandler | None = handler
        self._certificate = certificate
        self._channel_opened = on_data_channel
        self._created_ns = home.clock.monotonic_ns()
        self._lost_ns: int | None = None
        self._ice: IceLite[Path] = IceLite(self._created_ns)
        self._link: DtlsLink | None = None
        self._srtp_in: SrtpIn | None = None
        self._channels: DataChannels | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fingerprints: tuple[tuple[str, str], ...] = ()
        self._described = False
        self._closed = False

    # ---- what the description says

    @property
    def ufrag(self) -> str:
        """Our user name fragment (``a=ice-ufrag``)."""
        return self._ice.credentials.ufrag

    @property
    def password(self) -> str:
        """Our password (``a=ice-pwd``)."""
        return self._ice.credentials.password

    @property
    def ufrags(self) -> tuple[str, ...]:
        """Every fragment by which requests may name this peer now."""
        previous = self._ice.previous
        return (self.ufrag,) if previous is None else (self.ufrag, previous.ufrag)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of our certificate (``a=fingerprint:sha-256``)."""
        return self._certificate.fingerprint

    @property
    def candidates(self) -> list[str]:
        """Values of ``a=candidate:`` lines."""
        return self._home.candidates

    def describe(
        self, *, ufrag: str, password: str, fingerprints: Sequence[tuple[str, str]], setup: str
    ) -> None:
        """Takes the peer's description: its credentials, certificates and side of the handshake.

        ``fingerprints`` are pairs of hash and value. A lite agent sends no checks, so the
        credentials are of no use to it. Raises `RemoteProtocolError` when there is no fingerprint,
        for an unknown ``setup``, and when a later description changes certificate or side.
        """
        # RFC 8842, section 5: the offerer may leave the choice to us; passive lets us choose GCM.
        ours = {"actpass": "passive", "active": "passive", "passive": "active"}.get(setup)
        if ours is None:
            raise RemoteProtocolError(
                f"a=setup:{setup[:16]} is nothing that a handshake begins with"
            )
        if not fingerprints:
            raise RemoteProtocolError("the description has no a=fingerprint")
        named = tuple((algorithm.lower(), value.upper()) for algorithm, value in fingerprints)
        if self._link is not None:
            same_side = setup == "actpass" or ours == self.setup
            if not same_side or not set(named) & set(self._fingerprints):
                raise RemoteProtocolError("certificate or setup changed after the handshake began")
            return
        self.setup = ours
        self._fingerprints = named
        self._described = True
        self._begin()

    def add_candidate(self, value: str) -> None:
        """Notes a candidate. A lite agent sends no checks: addresses come from the peer's own.

        Beyond 64 they are ignored.
        """
        if value and self.candidates_noted < _MAX_CANDIDATES:
            self.candidates_noted += 1

    def restart(self) -> None:
        """New credentials; media goes on over the old path until they are used."""
        self._ice.restart()
        self._home.renamed(self)

    # ---- state

    @property
    def connected(self) -> bool:
        """Whether media may flow."""
        return self.srtp is not None

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._closed

    @property
    def pair(self) -> Pair | None:
        """The pair of addresses in use; None before there is one."""
        path = self._ice.selected
        if path is None:
            return None
        return Pair(
            protocol=path.protocol, local=path.local, remote=path.remote, rtt_ms=path.rtt_ms()
        )

    @property
    def refused(self) -> int:
        """Media packets that came forged or repeated."""
        return 0 if self._srtp_in is None else self._srtp_in.refused

    # ---- sending

    def send_rtcp(self, packet: bytes) -> None:
        """Protects and sends one compound RTCP packet; nothing happens without a connection."""
        srtp, scratch = self.srtp, self._home.scratch
        size = len(packet)
        if srtp is None:
            return
        if size + RTCP_TRAILER_BYTES > scratch.size:
            raise LocalProtocolError("the RTCP packet is larger than any path takes")
        scratch.data[:size] = packet
        self._send(scratch.view[: srtp.protect_rtcp(scratch, size)])

    def send_rtp(self, packet: bytes) -> bool:
        """Protects and sends one RTP packet: for what is sent to this peer alone."""
        srtp, scratch = self.srtp, self._home.scratch
        size = len(packet)
        if srtp is None:
            return False
        if size + srtp.overhead > scratch.size:
            raise LocalProtocolError("the RTP packet is larger than any path takes")
        scratch.data[:size] = packet
        return self._send(scratch.view[: srtp.protect(scratch, 0, size)])

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        """Sends protected packets that lie back to back, all of ``segment_bytes`` but the last.

        False: some or all are lost here, since the kernel's buffer is full or there is no path.
        """
        path = self._ice.selected
        if path is None or not path.send_segments(view, segment_bytes):
            return False
        self.bytes_out += len(view)
        return True

    def _send(self, packet: bytes | memoryview) -> bool:
        path = self._ice.selected
        if path is None or not len(packet) or not path.send(packet):
            return False
        self.bytes_out += len(packet)
        return True

    # ---- what the listener hands over

    def on_stun(
        self, data: bytes, path: Path, source: tuple[str, int], now_ns: int
    ) -> Outcome[Path]:
        """A check came over a path."""
        self.bytes_in += len(data)
        outcome = self._ice.receive(data, path, source, now_ns)
        if outcome.valid:
            self._lost_ns = None
        return outcome

    def on_path(self, outcome: Outcome[Path]) -> None:
        """The check is answered; now its consequences."""
        if outcome.dropped is not None:
            self._home.released(self, outcome.dropped)
        if outcome.selected:
            self._begin()

    def comes_from(self, path: UdpPath) -> bool:
        """Whether another path of this peer has the same remote address."""
        return any(
            isinstance(other, UdpPath) and other.key == path.key for other in self._ice.paths
        )

    def on_path_lost(self, path: Path) -> None:
        """A connection has gone."""
        self._ice.forget(path)
        if self._ice.selected is None and self._lost_ns is None:
            self._lost_ns = self._home.clock.monotonic_ns()

    def on_dtls(self, datagram: bytes, now_ns: int) -> None:
        """A DTLS datagram came from a validated address."""
        self.bytes_in += len(datagram)
        if not self._described:
            self._home.stats.early += 1  # the client will repeat it
            return
        link = self._link
        if link is None:
            link = self._link = self._new_link()
        self._drive(link, lambda: link.receive(datagram))
        if link.data and not self._closed:
            self._take_data(link, now_ns)
        if link.closed:
            self.close("the peer closed the connection")

    def on_media(self, length: int, now_ns: int) -> None:
        """SRTP or SRTCP of so many bytes lies in the listener's arena."""
        self.bytes_in += length
        srtp, handler, arena = self._srtp_in, self._handler, self._home.received
        if srtp is None or handler is None:
            self._home.stats.early += 1
            return
        # RFC 5761, section 4: the second byte tells RTCP from RTP.
        is_rtcp = 192 <= arena.data[1] <= 223
        packet = srtp.unprotect_rtcp(arena, length) if is_rtcp else srtp.unprotect(arena, length)
        if packet is None:
            self._home.stats.refused += 1
            return
        try:
            if is_rtcp:
                handler.rtcp(packet, now_ns)
            else:
                handler.rtp(packet, now_ns)
        except Exception as error:
            self._failed(error)

    def tick(self, now_ns: int) -> None:
        """Lets time pass: ends a peer that did not connect, or whose consent ran out."""
        stats = self._home.stats
        if not self.connected and now_ns - self._created_ns >= _CONNECT_NS:
            stats.handshakes_failed += 1
            self.close("not connected within 30 s")
        elif self._ice.expired(now_ns):
            stats.expired += 1
            self.close("no sign of life for 30 s")
        elif self._lost_ns is not None and now_ns - self._lost_ns >= _LOST_NS:
            stats.expired += 1
            self.close("the connection broke, and the peer did not come back")

    @property
    def heard_ns(self) -> int:
        """When the last authentic check came."""
        return self._ice.consent_ns

    # ---- the end

    def close(self, reason: str) -> None:
        """Says goodbye, frees everything at once, and tells the handler. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._stop_timer()
        if self._channels is not None:
            self._channels.close()
        if self._link is not None:
            for datagram in self._link.close():
                self._send(datagram)
        self._home.left(self)
        paths = tuple(self._ice.paths)
        self._ice.paths.clear()
        for path in paths:
            self._home.released(self, path)
        handler, self._handler = self._handler, None
        self._link = self._channels = self.srtp = self._srtp_in = self._channel_opened = None
        if handler is not None:
            try:
                handler.closed(reason)
            except Exception:
                logger.exception("the handler of a peer failed while it closed")

    # ---- handshake

    def _begin(self) -> None:
        """Sends the first flight, as soon as we may and where it is ours to send."""
        if self.setup != "active" or not self._described or self._link is not None:
            return
        if self._ice.selected is None or self._closed:
            return
        link = self._link = self._new_link()
        self._drive(link, link.start)

    def _new_link(self) -> "DtlsLink":
        # Late, see `private`; with the first peer it is there (`Mux.prepare`).
        from streamserver.webrtc.dtls import DtlsLink

        return DtlsLink(
            self._certificate, server=self.setup == "passive", fingerprints=self._fingerprints
        )

    def _drive(self, link: "DtlsLink", step: Callable[[], list[bytes]]) -> None:
        """Takes one step of the handshake: sends what it wrote, and minds its timer."""
        fresh = link.keys is None
        try:
            datagrams = step()
        except PeerError as error:
            self._home.stats.handshakes_failed += 1
            self.close(str(error))
            return
        for datagram in datagrams:
            self._send(datagram)
        if not fresh:
            return
        self._stop_timer()
        if link.keys is not None:
            self._connected(link)
            return
        timeout_s = link.timeout_s()
        if timeout_s is not None:
            delay_s = max(timeout_s, _MIN_TIMER_S)
            self._timer = self._home.loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        link = self._link
        if link is not None:
            self._drive(link, link.on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _connected(self, link: "DtlsLink") -> None:
        if link.keys is None or self._handler is None:
            return
        self.srtp = SrtpOut(link.keys)
        self._srtp_in = SrtpIn(link.keys)
        self._home.stats.handshakes += 1
        try:
            self._handler.connected()
        except Exception as error:
            self._failed(error)

    def _take_data(self, link: "DtlsLink", now_ns: int) -> None:
        packets, link.data = link.data, []
        if self._channels is None:
            from streamserver.webrtc.channels import DataChannels

            self._channels = DataChannels(self._send_data, self._channel_opened, server=link.server)
        for packet in packets:
            self._channels.receive(packet, now_ns)

    def _send_data(self, data: bytes) -> None:
        if self._link is not None:
            for datagram in self._link.send(data):
                self._send(datagram)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, PeerError):
            self.close(str(error))
        else:
            logger.error("the handler of a peer failed: %s", error, exc_info=error)
            self.close("an error in the server")
