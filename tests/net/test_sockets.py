import socket

import pytest

from streamserver.errors import ConfigError, UnavailableError
from streamserver.net.sockets import bind, keep_little


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_all_addresses_are_one_port_for_both_families():
    sockets = bind("http", "", 0)
    port = sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        pass
    close(sockets)


def test_localhost_is_loopback_of_both_families_on_the_same_port():
    sockets = bind("http", "localhost", 0)
    assert sockets[0].getsockname()[0] == "127.0.0.1"
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    close(sockets)


@pytest.mark.parametrize(
    ("name", "key"),
    [("rtmp", "rtmp.port"), ("https", "http.https_port"), ("rtmps", "rtmp.tls_port")],
)
def test_a_taken_port_says_who_to_look_for_and_what_to_set(name, key):
    taken = bind("first", "127.0.0.1", 0)
    port = taken[0].getsockname()[1]
    with pytest.raises(UnavailableError, match=rf"ss -ltnp.*{port}.*--set {key}"):
        bind(name, "127.0.0.1", port)
    close(taken)


def test_a_host_that_is_no_address_is_a_fault_of_the_configuration():
    with pytest.raises(ConfigError, match="no address"):
        bind("http", "media.example.org", 0)


def test_an_address_of_another_host_cannot_be_had():
    with pytest.raises(UnavailableError, match="not an address of this host"):
        bind("http", "203.0.113.7", 0)


def test_what_is_accepted_inherits_a_small_receive_buffer():
    (listening,) = bind("sink", "127.0.0.1", 0)
    keep_little(listening, 16 * 1024)
    listening.setblocking(True)
    with socket.create_connection(listening.getsockname(), timeout=60):
        accepted, _ = listening.accept()
        # Linux answers twice what was set.
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 32 * 1024
        accepted.close()
    listening.close()
