import asyncio
import os
import socket
import ssl

from streamserver.outputs.transports import make_live
from streamserver.outputs.viewer import NO_SOCKET


class Fake(asyncio.WriteTransport):
    """A transport with a socket of one's choice."""

    def __init__(self, sock: socket.socket | None, sslcontext: ssl.SSLContext | None) -> None:
        super().__init__({"socket": sock, "sslcontext": sslcontext})
        self.high: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high


def test_a_plain_socket_may_be_written_to_past_its_transport():
    ours, peer = socket.socketpair(socket.AF_UNIX)
    with ours, peer:
        transport = Fake(ours, None)
        os.write(make_live(transport), b"media")
        assert peer.recv(100) == b"media"
        assert transport.high == 0


def test_nothing_is_written_past_tls_nor_without_a_socket():
    with socket.socket() as sock:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert make_live(Fake(sock, context)) == NO_SOCKET
    assert make_live(Fake(None, None)) == NO_SOCKET
