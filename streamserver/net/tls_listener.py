"""A listener for TLS, whose handshakes count as connections and begin a few in each turn.

``create_server`` shakes hands with whoever comes, before any protocol of ours hears of it: two
thousand that come at once hold the loop for a second or more, and they pass every bound. Here a
connection is counted when it is accepted, and costs a file descriptor until the first flight of
its client lies whole in the kernel: then nothing is left that the client could hold back until
all the others are ready, too.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from streamserver.net.addresses import unmap
from streamserver.net.turns import Turns

__all__ = ["Doorkeeper", "TlsListener", "TlsSettings"]

_ACCEPTED_PER_TURN: Final = 64
_AGAIN_S: Final = 0.05
"""When to look again for the rest of a first flight; level-triggered readiness would spin."""

_NO_FILES_S: Final = 1.0
"""How long nobody is accepted after the process ran out of file descriptors."""

_HANDSHAKE_RECORD: Final = 0x16
_PEEKED_BYTES: Final = 4096
"""A first flight of more begins its handshake before it is whole; the largest have 2 KB."""


class Doorkeeper(Protocol):
    """Says whether another may come."""

    def __call__(self, ip: str, *, here: int, total: int) -> bool:
        """``here``: handshakes that this address has open besides; ``total``: all that are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The bounds."""

    handshake_s: float = 10
    """Seconds from the first moment to the end of the handshake."""

    shutdown_s: float = 2
    """Seconds that a peer has to answer our closing of TLS; many never do."""

    per_turn: int = 2
    """Handshakes that begin in one turn of the loop; each costs it about a millisecond."""


@dataclass(slots=True, eq=False)
class _Comer:
    """A connection whose handshake is not over."""

    sock: socket.socket
    ip: str
    deadline_s: float
    shakes: bool = False
    """Whether the loop's transport has the socket."""
    timer: asyncio.TimerHandle | None = None


class TlsListener:
    """Accepts on a socket that listens, and hands out protocols once the handshake is done."""

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        settings: TlsSettings | None = None,
        *,
        may_come: Doorkeeper,
    ) -> None:
        """Begins at once, on the running loop. The socket is ours from now on."""
        self.failed = 0
        """Handshakes that came to nothing."""
        self.refused = 0
        """Connections that ``may_come`` did not want."""
        self._sock = sock
        self._factory = factory
        self._context = context
        self._settings = settings or TlsSettings()
        self._may_come = may_come
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(self._settings.per_turn, self._loop.call_soon)
        self._comers: set[_Comer] = set()
        self._by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop.add_reader(sock.fileno(), self._accept)

    @property
    def deferred(self) -> int:
        """Handshakes that began in a later turn of the loop."""
        return self._turns.deferred

    def __len__(self) -> int:
        """Handshakes that are not over."""
        return len(self._comers)

    def close(self) -> None:
        """Closes the port and drops who has not shaken hands. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for task in self._tasks:
            task.cancel()
        for comer in [one for one in self._comers if not one.shakes]:
            self._drop(comer)

    # ---- accepting

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                # Out of file descriptors, or of memory for them.
                self._loop.remove_reader(self._sock.fileno())
                self._pause = self._loop.call_later(_NO_FILES_S, self._go_on)
                return
            self._enter(sock, unmap(address[0]))

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _enter(self, sock: socket.socket, ip: str) -> None:
        if not self._may_come(ip, here=self._by_address[ip], total=len(self._comers)):
            self.refused += 1
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = self._settings.handshake_s
        comer = _Comer(sock, ip, self._loop.time() + seconds)
        self._comers.add(comer)
        self._by_address[ip] += 1
        self._wait(comer)

    # ---- until the first flight is there

    def _wait(self, comer: _Comer) -> None:
        left_s = comer.deadline_s - self._loop.time()
        comer.timer = self._loop.call_later(max(0, left_s), self._give_up, comer)
        self._loop.add_reader(comer.sock.fileno(), self._look, comer)

    def _look(self, comer: _Comer) -> None:
        try:
            seen = comer.sock.recv(_PEEKED_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            seen = b""
        if not seen:
            self._give_up(comer)
            return
        self._stop_waiting(comer)
        if _is_whole(seen):
            self._turns.take(lambda: self._begin(comer))
        elif self._loop.time() >= comer.deadline_s:
            self._give_up(comer)
        else:
            comer.timer = self._loop.call_later(_AGAIN_S, self._wait, comer)

    def _stop_waiting(self, comer: _Comer) -> None:
        if comer.timer is not None:
            comer.timer.cancel()
            comer.timer = None
        self._loop.remove_reader(comer.sock.fileno())

    def _give_up(self, comer: _Comer) -> None:
        self.failed += 1
        self._drop(comer)

    def _drop(self, comer: _Comer) -> None:
        self._stop_waiting(comer)
        comer.sock.close()
        self._leave(comer)

    def _leave(self, comer: _Comer) -> None:
        if comer not in self._comers:
            return
        self._comers.discard(comer)
        self._by_address[comer.ip] -= 1
        if not self._by_address[comer.ip]:
            del self._by_address[comer.ip]

    # ---- the handshake

    def _begin(self, comer: _Comer) -> None:
        if self._closed:
            return
        if self._loop.time() >= comer.deadline_s:
            self._give_up(comer)
            return
        comer.shakes = True
        task = self._loop.create_task(self._shake(comer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake(self, comer: _Comer) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                comer.sock,
                ssl=self._context,
                ssl_handshake_timeout=max(0.1, comer.deadline_s - self._loop.time()),
                ssl_shutdown_timeout=self._settings.shutdown_s,
            )
        except OSError:  # ssl.SSLError is one, and so are time-outs and resets
            self.failed += 1  # the transport has closed the socket
        finally:
            self._leave(comer)


def _is_whole(seen: bytes) -> bool:
    """Whether the first record of a client has come; what is no handshake fails soon enough."""
    if seen[0] != _HANDSHAKE_RECORD or len(seen) == _PEEKED_BYTES:
        return True
    # RFC 8446, section 5.1: type, version in two bytes, length in two.
    return len(seen) >= 5 and len(seen) >= 5 + int.from_bytes(seen[3:5], "big")
