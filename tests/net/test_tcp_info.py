import socket
import sys
from collections.abc import Iterator

import pytest

from streamserver.net.tcp_info import limit_unsent, tcp_info

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO of Linux")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


def test_bytes_that_the_far_kernel_took_are_acknowledged(pair):
    near, far = pair
    before = tcp_info(near)
    near.sendall(b"x" * 10_000)
    far.recv(10_000, socket.MSG_WAITALL)
    after = tcp_info(near)
    assert before is not None
    assert after is not None
    assert after.acked_bytes - before.acked_bytes == 10_000 - after.unacked_bytes
    assert after.rtt_us > 0


def test_a_far_side_that_does_not_read_leaves_bytes_unacknowledged(pair):
    near, _ = pair
    near.setblocking(False)
    limit_unsent(near, 64 * 1024)
    sent = 0
    try:
        while True:
            sent += near.send(b"x" * 65_536)
    except BlockingIOError:
        pass
    info = tcp_info(near)
    assert info is not None
    assert info.unacked_bytes > 0
    # One more is the SYN, where the kernel counts it.
    assert sent - info.acked_bytes - info.unacked_bytes in (0, -1)


def test_a_closed_socket_tells_nothing(pair):
    near, _ = pair
    near.close()
    assert tcp_info(near) is None
