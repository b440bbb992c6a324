"""Who watched a broadcast: joins, leaves, the peak and the time, counted as they happen."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streamserver.hub.sessions import Protocol, Session
from streamserver.names import StreamKey

__all__ = ["Audience", "Audiences"]


@dataclass(slots=True, eq=False)
class _Seat:
    """One viewer of one broadcast."""

    session: Session
    joined_ns: int
    bytes_before: int


@dataclass(slots=True, eq=False)
class Audience:
    """The viewers of one broadcast, over all protocols."""

    joins: Counter[Protocol] = field(default_factory=Counter)
    """Viewers that came; whoever was there at its beginning came then."""

    leaves: Counter[Protocol] = field(default_factory=Counter)
    """Viewers that left before its end."""

    peak: int = 0
    """The most at once."""

    watched_ns: int = 0
    """Time that those who left have watched, summed up."""

    sent_bytes: int = 0
    """Bytes of media handed to those who left."""

    seats: dict[str, _Seat] = field(default_factory=dict)
    """Who is there, by session id."""

    def joined(self, session: Session, now_ns: int) -> None:
        """A viewer came."""
        self.seats[session.id] = _Seat(session, now_ns, session.bytes_sent)
        self.joins[session.protocol] += 1
        self.peak = max(self.peak, len(self.seats))

    def left(self, session: Session, now_ns: int) -> None:
        """A viewer left; one that was never there is ignored."""
        seat = self.seats.pop(session.id, None)
        if seat is not None:
            self.leaves[session.protocol] += 1
            self.watched_ns += now_ns - seat.joined_ns
            self.sent_bytes += session.bytes_sent - seat.bytes_before

    def summary(self, now_ns: int) -> dict[str, Any]:
        """All figures at a monotonic time, those who are there included, as JSON values."""
        seats = self.seats.values()
        watched_ns = self.watched_ns + sum(now_ns - seat.joined_ns for seat in seats)
        sent = self.sent_bytes + sum(seat.session.bytes_sent - seat.bytes_before for seat in seats)
        return {
            "bytes_sent": sent,
            "viewers": {
                "peak": self.peak,
                "watch_time_ms": watched_ns // 1_000_000,
                "joins": _by_protocol(self.joins),
                "leaves": _by_protocol(self.leaves),
            },
        }


class Audiences:
    """The audiences of all broadcasts that are on, by stream."""

    def __init__(self) -> None:
        self._by_stream: dict[StreamKey, Audience] = {}

    def get(self, key: StreamKey) -> Audience | None:
        """The audience of a stream's broadcast."""
        return self._by_stream.get(key)

    def peak(self, key: StreamKey) -> int:
        """The most viewers at once of a stream's broadcast."""
        audience = self._by_stream.get(key)
        return 0 if audience is None else audience.peak

    def began(self, key: StreamKey, present: Iterable[Session], now_ns: int) -> Audience:
        """A broadcast began; whoever is present watches it from now on."""
        audience = self._by_stream[key] = Audience()
        for session in present:
            audience.joined(session, now_ns)
        return audience

    def ended(self, key: StreamKey) -> Audience:
        """A broadcast is over: takes its audience out."""
        return self._by_stream.pop(key, None) or Audience()


def _by_protocol(counts: Counter[Protocol]) -> dict[str, Any]:
    of_viewers = (Protocol.HLS, Protocol.WHEP, Protocol.RTMP, Protocol.FLV)
    return {
        "total": counts.total(),
        "by_protocol": {protocol.value: counts[protocol] for protocol in of_viewers},
    }
