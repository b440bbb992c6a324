"""The UDP sockets of the one port: buffers, and the address that was asked."""

import errno
import ipaddress
import socket
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from streamserver.errors import ConfigError, UnavailableError
from streamserver.net import sockets as tcp_sockets
from streamserver.webrtc.paths import MuxStats, UdpPath

if TYPE_CHECKING:
    from streamserver.webrtc.peer import Peer

__all__ = ["ANCILLARY_BYTES", "Ancillary", "UdpSocket", "open_sockets"]

ANCILLARY_BYTES: Final = 96
"""Room for what comes along with a datagram."""

# linux/in.h, linux/in6.h, asm-generic/socket.h, linux/udp.h; Python names few of them.
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SO_RXQ_OVFL: Final = 40
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103

_INFO4: Final = Struct("=i4s4s")
_INFO6: Final = Struct("=16si")
_COUNT: Final = Struct("=I")
_TRIES: Final = 16

Ancillary = list[tuple[int, int, bytes]]


class UdpSocket:
    """A bound socket, and the peers by the addresses that they come from."""

    def __init__(self, host: str, port: int, buffer_bytes: int) -> None:
        """Raises `OSError` when the address is not to be had."""
        address = ipaddress.ip_address(host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self.host = host
        """The address that it is bound to."""
        self.peers: dict[tuple[Any, ...], Peer] = {}
        """Remote address as the kernel writes it, to the peer that has validated it."""
        self._dropped = 0
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self._is_v6 = address.version == 6
        self._everywhere = address.is_unspecified
        try:
            self._prepare(buffer_bytes)
            self.sock.bind((host, port))
        except BaseException:
            self.sock.close()
            raise
        self.port = int(self.sock.getsockname()[1])
        """The port that it really has."""
        self._segmented = self._can_segment()

    def path(self, remote: tuple[Any, ...], ancillary: Ancillary, stats: MuxStats) -> UdpPath:
        """The path that a datagram came over: answers leave from the address that was asked.

        Otherwise a host with several addresses answers from another one than the peer's NAT, and
        the peer itself, wait for.
        """
        local, control = self.host, []
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _INFO4.size:
                _, ours, _ = _INFO4.unpack_from(data)
                local = socket.inet_ntop(socket.AF_INET, ours)
                control = [(level, kind, _INFO4.pack(0, ours, bytes(4)))]
            elif level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(data) >= 20:
                ours, index = _INFO6.unpack_from(data)
                local = socket.inet_ntop(socket.AF_INET6, ours)
                # Only a link-local address needs to be told its link.
                link = index if ipaddress.IPv6Address(ours).is_link_local else 0
                control = [(level, kind, _INFO6.pack(ours, link))]
        return UdpPath(
            self.sock, remote, (local, self.port), control, stats, segmented=self._segmented
        )

    def note_overflow(self, ancillary: Ancillary, stats: MuxStats) -> None:
        """Notes what the kernel says it has dropped so far, if it says so."""
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL and len(data) >= 4:
                dropped = _COUNT.unpack_from(data)[0]
                stats.receive_overflow += (dropped - self._dropped) & 0xFFFFFFFF
                self._dropped = dropped

    def _prepare(self, buffer_bytes: int) -> None:
        sock = self.sock
        sock.setblocking(False)
        for force, plain in (
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            # The first is for privileged processes, the second ends at net.core.[rw]mem_max.
            if not self._set(socket.SOL_SOCKET, force, buffer_bytes):
                self._set(socket.SOL_SOCKET, plain, buffer_bytes)
        self._set(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        if self._is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self._everywhere:
            if self._is_v6:
                self._set(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            else:
                self._set(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def _set(self, level: int, option: int, value: int) -> bool:
        try:
            self.sock.setsockopt(level, option, value)
        except OSError:
            return False
        return True

    def _can_segment(self) -> bool:
        try:
            self.sock.getsockopt(_SOL_UDP, _UDP_SEGMENT)
        except OSError:
            return False
        return True


def open_sockets(
    host: str, port: int, *, tcp: bool, buffer_bytes: int
) -> tuple[list[UdpSocket], list[socket.socket]]:
    """UDP sockets for all families of a host, and listening TCP ones, on one port.

    ``host`` is an address, ``localhost``, or empty for all. Port 0 takes one that is free in all
    of them. Raises `UnavailableError` and `ConfigError` as `net.sockets.bind` does.
    """
    for _ in range(_TRIES - 1 if port == 0 else 0):
        try:
            return _open(host, port, tcp, buffer_bytes)
        except UnavailableError:
            continue  # free for the first family, taken for another
    return _open(host, port, tcp, buffer_bytes)


def _open(
    host: str, port: int, tcp: bool, buffer_bytes: int
) -> tuple[list[UdpSocket], list[socket.socket]]:
    udp = _open_udp(host, port, buffer_bytes)
    if not tcp:
        return udp, []
    try:
        return udp, tcp_sockets.bind("webrtc", host, udp[0].port)
    except BaseException:
        for one in udp:
            one.sock.close()
        raise


def _open_udp(host: str, port: int, buffer_bytes: int) -> list[UdpSocket]:
    opened: list[UdpSocket] = []
    for name in {"": ["0.0.0.0", "::"], "localhost": ["127.0.0.1", "::1"]}.get(host, [host]):
        try:
            opened.append(UdpSocket(name, opened[0].port if opened else port, buffer_bytes))
        except ValueError:
            raise ConfigError(
                f"webrtc: {host!r} is no address; give an IP address, localhost, or nothing"
            ) from None
        except OSError as error:
            if opened and error.errno != errno.EADDRINUSE:
                continue  # a host without IPv6
            for one in opened:
                one.sock.close()
            raise UnavailableError(_explain(host, port, error)) from error
    return opened


def _explain(host: str, port: int, error: OSError) -> str:
    where = f"webrtc port {port}/udp"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken: `ss -lunp 'sport = :{port}'` shows by whom; "
            "or choose another one with --set webrtc.port=…"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: {host} is not an address of this host"
    return f"{where} cannot be opened: {error.strerror}"
