"""What the connections of one listener share: mounts, bounds, counters, and one timer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from streamserver.clock import Clock, next_beat
from streamserver.endpoints.http.answers import PeerLog
from streamserver.endpoints.http.front import Front
from streamserver.endpoints.http.requests import MAX_HEAD_BYTES, FastHandler
from streamserver.net.turns import Turns

__all__ = ["Connections", "FrontSettings", "FrontStats"]

logger = logging.getLogger(__name__)

_SWEEP_S = 1.0
_REFUSED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """The bounds of one listener."""

    head_timeout_ms: int = 10_000
    """From the first byte of a request to the end of its head."""

    idle_timeout_ms: int = 75_000
    """Between requests, between pieces of a body, and for a reader that takes nothing at all."""

    stall_timeout_ms: int = 20_000
    """For a reader over ``max_unsent_bytes`` that takes nothing, and for a last answer."""

    linger_ms: int = 2_000
    """How long the peer may read a refusal before its connection is cut."""

    max_head_bytes: int = MAX_HEAD_BYTES
    """The longest request head."""

    max_pipelined_bytes: int = 16 * 1024
    """Held of further requests while one is answered; beyond it nothing is read."""

    max_unsent_bytes: int = 4 * 1024 * 1024
    """What a slow reader may leave unread before ``stall_timeout_ms`` counts."""

    requests_per_turn: int = 8
    """Requests that go to aiohttp in one turn of the loop; the next ones wait for the next."""

    max_connections: int = 20_000
    """Open connections of the listener."""

    max_connections_per_address: int = 2_048
    """Open connections from one address that is not exempt."""


@dataclass(slots=True)
class FrontStats:
    """Counters since the start."""

    fast: int = 0
    """Requests answered from prebuilt bytes, at once or after waiting."""

    parked: int = 0
    """Those of ``fast`` that waited."""

    missed: int = 0
    """Requests that a fast handler was asked and left to aiohttp."""

    foreign: int = 0
    """Requests lent to aiohttp, ``missed`` included."""

    aborted: int = 0
    """Connections cut by a deadline or a broken answer."""

    refused: int = 0
    """Connections and requests that were answered with an error here, or were not HTTP."""


class Connections:
    """The protocol factory of a listener.

    ``fast`` pairs a path prefix with its handler; ``base_path`` stands before each prefix and is
    removed from the targets that handlers see. ``exempt`` tells addresses (of trusted proxies)
    that the bound per address does not concern.
    """

    def __init__(
        self,
        *,
        fast: Sequence[tuple[str, FastHandler]],
        new_inner: Callable[[], web.RequestHandler],
        clock: Clock,
        settings: FrontSettings | None = None,
        base_path: str = "",
        port: int = 0,
        exempt: Callable[[str], bool] | None = None,
        is_banned: Callable[[str], bool] | None = None,
    ) -> None:
        base = base_path.encode()
        self.fast = tuple((base + prefix.encode(), len(base), handler) for prefix, handler in fast)
        self.new_inner = new_inner
        self.settings = settings or FrontSettings()
        self.stats = FrontStats()
        self.port = port
        """The port, for log lines; known once the listener is bound."""
        self.draining = False
        """Whether each connection closes after its present answer."""
        self.stalled: set[Front] = set()
        """Connections whose write buffer is over its high mark."""
        self.now_ms = 0
        """The time of the last sweep: exact enough for deadlines, and free on the hot path."""
        self.idle_deadline = 0
        """``now_ms`` plus the idle timeout."""
        self.turns = Turns(self.settings.requests_per_turn, _next_turn)
        """When requests for aiohttp begin."""
        self._clock = clock
        self._exempt = exempt
        self._is_banned = is_banned
        self._fronts: set[Front] = set()
        self._by_address: dict[str, int] = {}
        self._peers = PeerLog(logger)
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()
        self._read_clock()

    def __call__(self) -> Front:
        """A protocol for a new connection."""
        return Front(self)

    def __len__(self) -> int:
        return len(self._fronts)

    def start(self) -> None:
        """Begins to sweep once a second."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(next_beat(loop.time(), _SWEEP_S), self._tick)

    def stop(self) -> None:
        """Ends the sweep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def admit(self, front: Front) -> str | None:
        """Counts a connection in; answers why it is refused, or None."""
        self._fronts.add(front)
        self._empty.clear()
        peer, settings = front.peer, self.settings
        here = self._by_address.get(peer, 0) + 1
        self._by_address[peer] = here
        if len(self._fronts) > settings.max_connections:
            if len(self._fronts) > settings.max_connections + _REFUSED_AT_ONCE:
                front.abort()
            return "The server has no room for another connection."
        if (
            here > settings.max_connections_per_address
            and peer
            and not (self._exempt is not None and self._exempt(peer))
        ):
            return "Too many connections are open from this address."
        return None

    def may_come(self, ip: str, *, here: int, total: int) -> bool:
        """Whether another handshake of TLS may begin: it counts as the connection it will be."""
        settings = self.settings
        here += self._by_address.get(ip, 0)
        # Some more are let in, to be told that they are too many.
        room = len(self._fronts) + total < settings.max_connections + _REFUSED_AT_ONCE
        few = here <= settings.max_connections_per_address
        if room and (few or (self._exempt is not None and self._exempt(ip))):
            if self._is_banned is None or not self._is_banned(ip):
                return True
        else:
            self.say("limit", ip, "too many connections are open, and handshakes of TLS with them")
        self.stats.refused += 1
        return False

    def is_banned(self, front: Front) -> bool:
        """Whether the peer failed too often lately; behind a proxy the application asks."""
        return self._is_banned is not None and bool(front.peer) and self._is_banned(front.peer)

    def forget(self, front: Front) -> None:
        """Counts a connection out."""
        if front not in self._fronts:
            return
        self._fronts.discard(front)
        self.stalled.discard(front)
        left = self._by_address[front.peer] - 1
        if left:
            self._by_address[front.peer] = left
        else:
            del self._by_address[front.peer]
        if not self._fronts:
            self._empty.set()

    def say(self, kind: str, peer: str, text: str) -> None:
        """Logs a peer's fault, one line per kind in ten seconds."""
        self._peers.say(kind, peer, text, now_ms=self.now_ms)

    def sweep(self) -> None:
        """Ends what is over its deadline."""
        self._read_clock()
        now = self.now_ms
        for front in [front for front in self._fronts if front.deadline_ms <= now]:
            front.expire()
        for front in list(self.stalled):
            front.check_stall(now)

    def drain(self) -> None:
        """Closes idle connections now and every other one after its present answer."""
        self.draining = True
        for front in list(self._fronts):
            if front.idle:
                front.finish()

    async def wait_empty(self) -> None:
        """Returns once no connection is open."""
        await self._empty.wait()

    def abort_all(self) -> None:
        """Ends every connection at once."""
        for front in list(self._fronts):
            front.abort()

    def _read_clock(self) -> None:
        self.now_ms = self._clock.monotonic_ns() // 1_000_000
        self.idle_deadline = self.now_ms + self.settings.idle_timeout_ms

    def _tick(self) -> None:
        self.start()
        self.sweep()


def _next_turn(function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(function)
