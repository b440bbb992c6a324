"""What the server says about itself; the composition root fills it in as things open."""

from dataclasses import dataclass, field
from typing import Final

__all__ = ["LAG_BUCKETS_US", "ListenerFacts", "LoopLag", "ServerFacts"]

LAG_BUCKETS_US: Final = (1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
"""Upper bounds of the histogram of lags, in microseconds; longer ones come last."""


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """One open port."""

    name: str
    """What it speaks: ``http``, ``https``, ``rtmp``, ``rtmps``."""

    host: str
    """The configured address; empty for all of them."""

    port: int
    """The port that was really bound."""

    tls: bool = False
    """Whether it speaks TLS."""


@dataclass(slots=True, kw_only=True)
class ServerFacts:
    """The server as a whole. Changed only by the composition root."""

    version: str
    """Of this package."""

    started_wall_ns: int
    """Unix time of the start, for people."""

    started_ns: int
    """Monotonic time of the start, for the uptime."""

    listeners: list[ListenerFacts] = field(default_factory=list)
    """Ports that are open now."""

    is_listening: bool = False
    """Whether every configured listener is open."""

    is_draining: bool = False
    """Whether the server takes nothing new and will end."""

    def rtmp_ports(self) -> frozenset[int]:
        """Where this server takes RTMP, with TLS or without."""
        return frozenset(one.port for one in self.listeners if one.name in ("rtmp", "rtmps"))

    def closed(self) -> None:
        """Nothing is open any more."""
        self.is_listening = False
        self.listeners.clear()


class LoopLag:
    """How late the event loop comes to what was due. Give `tick` to ``Driver.add_ticker``."""

    __slots__ = ("_due_ns", "_interval_ns", "histogram", "last_ns", "longest_ns", "total_ns")

    def __init__(self, interval_ns: int = 250_000_000) -> None:
        """``interval_ns`` is the distance of two ticks of a loop that is never late."""
        self.last_ns = 0
        self.longest_ns = 0
        self.total_ns = 0
        self.histogram = [0] * (len(LAG_BUCKETS_US) + 1)
        self._interval_ns = interval_ns
        self._due_ns: int | None = None

    def tick(self, now_ns: int) -> None:
        """Notes that the loop came round, at a monotonic time."""
        due_ns, self._due_ns = self._due_ns, now_ns + self._interval_ns
        if due_ns is None:
            return
        self.last_ns = lag_ns = max(0, now_ns - due_ns)
        self.longest_ns = max(self.longest_ns, lag_ns)
        self.total_ns += lag_ns
        for index, bound_us in enumerate(LAG_BUCKETS_US):
            if lag_ns <= bound_us * 1000:
                self.histogram[index] += 1
                return
        self.histogram[-1] += 1
