"""A UDP relay between clients and a server that loses packets, or all of them, when it is told."""

import random
import selectors
import socket
import threading
from types import TracebackType
from typing import Final, Self

__all__ = ["UdpRelay"]

_TURN_S: Final = 0.1
_BUFFER_BYTES: Final = 1 << 20


class UdpRelay:
    """Passes datagrams on, in a thread of its own; every client gets a port towards the server.

    `loss` is the share that is lost each way, `blocked` loses everything. A context manager.
    """

    def __init__(self, to_port: int, *, loss: float = 0.0, seed: int = 1) -> None:
        self.loss = loss
        self.blocked = False
        self.passed = 0
        """Datagrams passed on, both ways."""
        self.lost = 0
        """Datagrams lost, both ways."""
        self._chance = random.Random(seed)
        self._to = ("127.0.0.1", to_port)
        self._front = _udp()
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        """Where clients send to, on 127.0.0.1."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="udp relay")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending = True
        self._thread.join()
        for each in (self._front, *self._backs.values()):
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(_TURN_S):
                try:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]  # sockets only
                except OSError:
                    continue  # nothing to read after all, or the far side is gone

    def _pass_on(self, sock: socket.socket, client: tuple[str, int] | None) -> None:
        for _ in range(64):
            data, remote = sock.recvfrom(65536)
            if self.blocked or self._chance.random() < self.loss:
                self.lost += 1
                continue
            self.passed += 1
            if client is None:
                self._back(remote).send(data)
            else:
                self._front.sendto(data, client)

    def _back(self, client: tuple[str, int]) -> socket.socket:
        back = self._backs.get(client)
        if back is None:
            back = self._backs[client] = _udp()
            back.connect(self._to)
            self._selector.register(back, selectors.EVENT_READ, client)
        return back


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    return sock
