"""What the kernel knows about a TCP connection: what arrived at the far side, and how far it is."""

import array
import fcntl
import socket
import struct
import sys
import termios
from dataclasses import dataclass
from typing import Final

__all__ = ["TcpInfo", "limit_unsent", "tcp_info"]

_RTT: Final = struct.Struct("=I")
_RTT_AT: Final = 68
_ACKED: Final = struct.Struct("=Q")
_ACKED_AT: Final = 120
"""Offsets in ``struct tcp_info`` (linux/tcp.h); fields are only ever appended to it."""

_SIZE: Final = 192


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """One look at a connection."""

    acked_bytes: int
    """Bytes that the far kernel has acknowledged since the connection began."""

    unacked_bytes: int
    """Bytes in our kernel that it has not: on their way, or waiting for its window."""

    rtt_us: int
    """Smoothed round trip in microseconds; 0 before the first measurement."""


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Looks at a connected socket; None when it is closed, and where the system does not tell."""
    if not sys.platform.startswith("linux") or sock.fileno() < 0:
        return None
    waiting = array.array("i", [0])
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
        # SIOCOUTQ (tcp(7)), by the name that terminals use.
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, waiting)
    except OSError:
        return None
    if len(raw) < _ACKED_AT + _ACKED.size:
        return None
    return TcpInfo(
        acked_bytes=_ACKED.unpack_from(raw, _ACKED_AT)[0],
        unacked_bytes=max(0, waiting[0]),
        rtt_us=_RTT.unpack_from(raw, _RTT_AT)[0],
    )


def limit_unsent(sock: socket.socket, size: int) -> None:
    """Lets the kernel take no more than about ``size`` bytes beyond what it has sent.

    Without it, megabytes of old media hide in the kernel where no reader can skip them.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, size)
