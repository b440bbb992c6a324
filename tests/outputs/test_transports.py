import asyncio
import os
import resource
import socket
import ssl

import pytest

from streamserver.outputs.transports import make_live, own_socket


class Fake(asyncio.WriteTransport):
    """A transport with a socket of one's choice."""

    def __init__(self, sock: socket.socket | None, sslcontext: ssl.SSLContext | None) -> None:
        super().__init__({"socket": sock, "sslcontext": sslcontext})
        self.high: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high


def test_a_transport_of_live_media_writes_at_once():
    with socket.socket() as sock:
        transport = Fake(sock, None)
        make_live(transport)
        assert transport.high == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 128 * 1024
    make_live(Fake(None, None))


def test_a_socket_of_its_own_outlives_that_of_its_transport():
    ours, peer = socket.socketpair()
    with peer:
        own = own_socket(Fake(ours, None))
        assert own is not None
        assert own.fileno() != ours.fileno()
        ours.close()
        own.send(b"media")
        assert peer.recv(100) == b"media"
        own.close()
        assert peer.recv(100) == b""


def test_a_socket_of_its_own_never_waits():
    ours, peer = socket.socketpair()
    with ours, peer:
        own = own_socket(Fake(ours, None))
        assert own is not None
        with own:
            while own.send(bytes(100_000)) == 100_000:
                pass
            with pytest.raises(BlockingIOError):
                own.send(bytes(100_000))


def test_there_is_none_of_its_own_under_tls_nor_without_a_socket():
    with socket.socket() as sock:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert own_socket(Fake(sock, context)) is None
    assert own_socket(Fake(None, None)) is None


def test_where_there_are_no_more_numbers_there_is_none_of_its_own(monkeypatch: pytest.MonkeyPatch):
    def none_left(number: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", none_left)
    with socket.socket() as sock:
        assert own_socket(Fake(sock, None)) is None


def test_where_half_of_the_numbers_are_in_use_the_rest_is_for_connections(
    monkeypatch: pytest.MonkeyPatch,
):
    with socket.socket() as sock:
        own = own_socket(Fake(sock, None))
        assert own is not None
        with own:
            limits = (2 * own.fileno(), 1 << 20)
            monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
            assert own_socket(Fake(sock, None)) is None
