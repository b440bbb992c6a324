"""Ways to a peer: a pair of addresses over UDP; the one over TCP is in `tcp`."""

import errno
import socket
import struct
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

__all__ = ["MuxStats", "Path", "UdpPath"]

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_MAX_SEGMENTS: Final = 64
"""What the kernel splits one message into at most (UDP_MAX_SEGMENTS, include/linux/udp.h)."""

_MAX_MESSAGE_BYTES: Final = 65_000
_SEGMENT_SIZE: Final = struct.Struct("=H")

# Not supported here, no checksum offload on the way out, or a segment above the path's MTU.
_NOT_SEGMENTED: Final = frozenset(
    (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
)


@dataclass(slots=True)
class MuxStats:
    """What a listener has seen."""

    received: int = 0
    """Datagrams (and frames over TCP) that arrived."""

    unknown: int = 0
    """Of them, those of addresses that no peer has validated, and of no protocol of ours."""

    stun_unknown: int = 0
    """Binding requests for nobody here."""

    stun_bad: int = 0
    """Binding requests with a wrong signature, or malformed."""

    stun_answered: int = 0
    """Binding requests that were answered."""

    early: int = 0
    """DTLS before the peer is described, media before the handshake is done."""

    refused: int = 0
    """Media packets that were forged or repeated."""

    receive_overflow: int = 0
    """Datagrams that the kernel dropped since we did not read them in time."""

    overflow: int = 0
    """Packets that were not sent: the kernel's buffer, or a TCP connection's, was full."""

    send_failed: int = 0
    """Packets that were not sent since there is no way to the address any more."""

    unsegmented: int = 0
    """Paths on which the kernel does not split messages (UDP_SEGMENT), so that we do."""

    tcp_refused: int = 0
    """TCP connections that were closed: too many, too slow to prove themselves, or not STUN."""

    handshakes: int = 0
    """Peers that got connected."""

    handshakes_failed: int = 0
    """Peers whose handshake failed or did not end in time."""

    expired: int = 0
    """Peers that were given up since their consent ran out."""

    def as_dict(self) -> dict[str, int]:
        """Name and value of each."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Path(Protocol):
    """One way to a peer."""

    @property
    def protocol(self) -> str:
        """``udp`` or ``tcp``."""

    @property
    def local(self) -> tuple[str, int]:
        """Our address, as far as it is known."""

    @property
    def remote(self) -> tuple[str, int]:
        """The peer's address as we see it."""

    def rtt_ms(self) -> int | None:
        """The round trip as the transport knows it."""

    def send(self, data: bytes | memoryview) -> bool:
        """Sends one packet; False when it is lost here (counted)."""

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        """Sends packets that lie back to back, all of ``segment_bytes`` but the last.

        The memory is the caller's again when this returns.
        """


class UdpPath:
    """A remote address, and the local one from which it expects us to answer."""

    __slots__ = ("_control", "_remote", "_segmented", "_sock", "_stats", "local", "remote")

    protocol = "udp"

    def __init__(
        self,
        sock: socket.socket,
        remote: tuple[Any, ...],
        local: tuple[str, int],
        control: list[tuple[int, int, bytes]],
        stats: MuxStats,
        *,
        segmented: bool,
    ) -> None:
        """``control`` is the ancillary data that fixes the source address; empty without need."""
        self._sock = sock
        self._remote = remote
        self._control = control
        self._segmented = segmented
        self._stats = stats
        self.local = local
        self.remote = (str(remote[0]), int(remote[1]))

    @property
    def key(self) -> tuple[Any, ...]:
        """The remote address as the socket writes it."""
        return self._remote

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, UdpPath)
            and self._remote == other._remote
            and self.local == other.local
            and self._sock is other._sock
        )

    def __hash__(self) -> int:
        return hash((self._remote, self.local))

    def rtt_ms(self) -> int | None:
        """UDP knows none: RTCP has it."""
        return None

    def send(self, data: bytes | memoryview) -> bool:
        """See `Path`."""
        try:
            self._sock.sendmsg((data,), self._control, 0, self._remote)
        except OSError as error:
            return self._failed(error)
        return True

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        """See `Path`. One system call for up to 64 packets, where the kernel can."""
        size = len(view)
        if size <= segment_bytes:
            return self.send(view)
        if not self._segmented:
            return self._send_each(view, segment_bytes)
        control = [*self._control, (_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(segment_bytes))]
        step = min(_MAX_SEGMENTS, max(1, _MAX_MESSAGE_BYTES // segment_bytes)) * segment_bytes
        for at in range(0, size, step):
            try:
                self._sock.sendmsg((view[at : at + step],), control, 0, self._remote)
            except OSError as error:
                if error.errno in _NOT_SEGMENTED:
                    # A matter of this path's device and MTU, so of this path only.
                    self._segmented = False
                    self._stats.unsegmented += 1
                    return self._send_each(view[at:], segment_bytes)
                return self._failed(error, -(-(size - at) // segment_bytes))
        return True

    def _send_each(self, view: memoryview, segment_bytes: int) -> bool:
        for at in range(0, len(view), segment_bytes):
            try:
                self._sock.sendmsg((view[at : at + segment_bytes],), self._control, 0, self._remote)
            except OSError as error:
                return self._failed(error, -(-(len(view) - at) // segment_bytes))
        return True

    def _failed(self, error: OSError, packets: int = 1) -> bool:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
            self._stats.overflow += packets
        else:
            self._stats.send_failed += packets
        return False
