"""Who is connected: every publisher and every viewer, of every protocol."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from streamserver.names import StreamKey

__all__ = ["Action", "Link", "Protocol", "Session", "SessionTable", "Tally"]


class Action(StrEnum):
    """What a session does."""

    PUBLISH = "publish"
    PLAY = "play"


class Protocol(StrEnum):
    """How a session is carried."""

    RTMP = "rtmp"
    WHIP = "whip"
    HLS = "hls"
    WHEP = "whep"
    FLV = "flv"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a connection that loses packets fares. Counts are since its beginning."""

    protocol: str
    """What carries it: ``udp`` or ``tcp``; empty before it is connected."""

    local: str
    """Our address and port."""

    remote: str
    """The client's address and port, as we see it."""

    rtt_ms: float | None
    """Round trip; None before it is known."""

    jitter_ms: float
    """Variation of the transit time of media."""

    packets: int
    """Packets of media, in the direction of the session."""

    lost: int
    """Of them, those that did not arrive at the first try."""

    recovered: int
    """Packets that were sent again."""

    nacks: int
    """Packets that were asked for again."""

    plis: int
    """Keyframes that were asked for."""


class Tally:
    """Bytes that several sessions are handed alike, counted once for all of them."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


@dataclass(slots=True, eq=False)
class Session:
    """One publisher or viewer, from acceptance to close. Counters are plain integers."""

    id: str
    """Opaque, unguessable, unique in the process."""

    action: Action
    """Publisher or viewer."""

    protocol: Protocol
    """How it is connected."""

    stream: StreamKey
    """What it publishes or plays."""

    remote_ip: str
    """Its address, as trusted proxies tell it, without port."""

    user_agent: str
    """What it calls itself; cleaned of control characters, at most 256 characters."""

    joined_at: datetime
    """When it was accepted, UTC."""

    close: Callable[[str], None]
    """Ends it, with a reason for people; safe to call twice."""

    expires_s: int | None = None
    """Unix time at which what let it in ends, and it with that; None: never."""

    credential: str = ""
    """The tag of the credential that let it in; when that is taken back it ends. Empty: none."""

    bytes_received: int = 0
    """Bytes of media that came from it."""

    sent_alone: int = 0
    """What of `bytes_sent` no tally counts; less than 0 where the tally is older."""

    dropped_frames: int = 0
    """Frames that it lost because it lagged."""

    lag_ms: int = 0
    """How far behind the newest packet it reads."""

    bit_rate: int = 0
    """Bits per second over the last few seconds."""

    link: Callable[[], Link] | None = None
    """Tells how its packets fare, where they can be lost: WebRTC."""

    tally: Tally | None = None
    """Where the bytes are counted that it is handed together with others: see `count_with`."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of media handed to it."""
        tally = self.tally
        return self.sent_alone if tally is None else self.sent_alone + tally.bytes

    @bytes_sent.setter
    def bytes_sent(self, size: int) -> None:
        self.sent_alone += size - self.bytes_sent

    def count_with(self, tally: Tally | None) -> None:
        """From now on it is handed what a tally counts; with None only what is its own."""
        sent = self.bytes_sent
        self.tally = tally
        self.bytes_sent = sent


@dataclass(slots=True, eq=False)
class _StreamSessions:
    viewers: dict[str, Session] = field(default_factory=dict)
    publishers: dict[str, Session] = field(default_factory=dict)
    peak: int = 0


class SessionTable:
    """All sessions of the process, by id and by stream."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_stream: dict[StreamKey, _StreamSessions] = {}
        self._listeners: list[Callable[[Session, bool], None]] = []

    def on_change(self, listener: Callable[[Session, bool], None]) -> None:
        """Calls ``listener(session, joined)`` after each join and each leave."""
        self._listeners.append(listener)

    def add(self, session: Session) -> None:
        """Enters a session."""
        self._by_id[session.id] = session
        of_stream = self._by_stream.setdefault(session.stream, _StreamSessions())
        if session.action is Action.PLAY:
            of_stream.viewers[session.id] = session
            of_stream.peak = max(of_stream.peak, len(of_stream.viewers))
        else:
            of_stream.publishers[session.id] = session
        for listener in self._listeners:
            listener(session, True)

    def remove(self, session: Session) -> None:
        """Takes a session out; one that is not in the table is ignored."""
        if self._by_id.pop(session.id, None) is None:
            return
        of_stream = self._by_stream[session.stream]
        of_stream.viewers.pop(session.id, None)
        of_stream.publishers.pop(session.id, None)
        if not of_stream.viewers and not of_stream.publishers:
            del self._by_stream[session.stream]
        for listener in self._listeners:
            listener(session, False)

    def get(self, session_id: str) -> Session | None:
        """The session with an id."""
        return self._by_id.get(session_id)

    def all(self) -> Iterator[Session]:
        """Every session, oldest first."""
        return iter(list(self._by_id.values()))

    def viewers(self, stream: StreamKey) -> list[Session]:
        """The viewers of one stream, oldest first."""
        of_stream = self._by_stream.get(stream)
        return list(of_stream.viewers.values()) if of_stream else []

    def viewer_count(self, stream: StreamKey) -> int:
        """How many watch one stream, over any protocol."""
        of_stream = self._by_stream.get(stream)
        return len(of_stream.viewers) if of_stream else 0

    def publishers(self) -> list[Session]:
        """Every publisher."""
        return [one for some in self._by_stream.values() for one in some.publishers.values()]

    def peak(self, stream: StreamKey) -> int:
        """The most viewers at once since somebody was last connected to the stream."""
        of_stream = self._by_stream.get(stream)
        return of_stream.peak if of_stream else 0

    def count(self, stream: StreamKey | None = None) -> dict[Protocol, int]:
        """Viewers by protocol, of one stream or of all."""
        counts = {Protocol.HLS: 0, Protocol.WHEP: 0, Protocol.RTMP: 0, Protocol.FLV: 0}
        sessions = self.viewers(stream) if stream else self._by_id.values()
        for session in sessions:
            if session.action is Action.PLAY:
                counts[session.protocol] = counts.get(session.protocol, 0) + 1
        return counts
