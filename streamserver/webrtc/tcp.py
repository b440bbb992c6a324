"""ICE over TCP, passive (RFC 6544), with the framing of RFC 4571."""

import asyncio
import socket
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from streamserver.net.addresses import unmap
from streamserver.net.tcp_info import limit_unsent, tcp_info
from streamserver.webrtc.paths import MuxStats

if TYPE_CHECKING:
    from streamserver.webrtc.peer import Peer

__all__ = ["TcpPath"]

_LENGTH: Final = Struct("!H")
_MAX_FRAME_BYTES: Final = 2048
"""Larger ones hold nothing that WebRTC sends."""

_MAX_UNSENT_BYTES: Final = 256 * 1024
"""Beyond it packets are dropped, as they would be on a slow UDP path."""

_KERNEL_UNSENT_BYTES: Final = 64 * 1024


class TcpPath(asyncio.Protocol):
    """A connection that somebody opened; a path of a peer once a check came over it."""

    protocol = "tcp"

    def __init__(
        self,
        stats: MuxStats,
        received: Callable[["TcpPath", bytes], None],
        opened: Callable[["TcpPath"], None],
        lost: Callable[["TcpPath"], None],
    ) -> None:
        self.peer: Peer | None = None
        """Whose path it is."""
        self.local: tuple[str, int] = ("", 0)
        self.remote: tuple[str, int] = ("", 0)
        self._stats = stats
        self._received = received
        self._opened = opened
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's are no subclass
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limit_unsent(sock, _KERNEL_UNSENT_BYTES)
        self.local = _address(transport.get_extra_info("sockname"))
        self.remote = _address(transport.get_extra_info("peername"))
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: frames of two bytes of length and a packet (RFC 4571, section 2)."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 2 and not self._is_closing():
            size = _LENGTH.unpack_from(buffer, at)[0]
            if size > _MAX_FRAME_BYTES:
                self._stats.tcp_refused += 1
                self.close()
                return
            if len(buffer) - at < 2 + size:
                break
            frame = bytes(buffer[at + 2 : at + 2 + size])
            at += 2 + size
            if frame:
                self._received(self, frame)
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has gone."""
        self._transport = None
        self._buffer.clear()
        self._lost(self)

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def rtt_ms(self) -> int | None:
        """The round trip that the kernel measured."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        info = None if sock is None else tcp_info(sock)
        return None if info is None or not info.rtt_us else info.rtt_us // 1000

    def send(self, data: bytes | memoryview) -> bool:
        """See `Path`."""
        return self._write([data])

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        """See `Path`. The bytes are copied: the transport keeps what the kernel does not take."""
        return self._write(
            [view[at : at + segment_bytes] for at in range(0, len(view), segment_bytes)]
        )

    def close(self) -> None:
        """Closes the connection at once; what the kernel has taken still goes out."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            transport.abort()  # nobody reads it
        else:
            transport.close()

    def _write(self, packets: "list[bytes | memoryview] | list[memoryview]") -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._stats.send_failed += len(packets)
            return False
        if transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._stats.overflow += len(packets)
            return False
        parts: list[bytes | memoryview] = []
        for packet in packets:
            parts += (_LENGTH.pack(len(packet)), packet)
        transport.write(b"".join(parts))
        return True


def _address(name: object) -> tuple[str, int]:
    if isinstance(name, tuple) and len(name) >= 2:
        return unmap(str(name[0])), int(name[1])
    return "", 0
