import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamserver.systemd import READY, ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def test_the_manager_is_told_what_happens(manager_socket: socket.socket):
    environ = {"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "30000000"}
    manager = ServiceManager(environ)
    manager.tell(READY)
    manager.alive()
    assert [manager_socket.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
    assert manager.watchdog_s == 15


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0streamserver-test-{os.getpid()}")
        sock.setblocking(False)
        ServiceManager({"NOTIFY_SOCKET": f"@streamserver-test-{os.getpid()}"}).tell(READY)
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"WATCHDOG_USEC": "30000000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"},
    ],
)
def test_without_a_manager_nothing_happens(environ: dict[str, str]):
    manager = ServiceManager(environ)
    manager.tell(READY)
    manager.alive()
    assert manager.watchdog_s is None
