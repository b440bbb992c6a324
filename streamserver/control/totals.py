"""Sums that never shrink, although the streams and sessions that they count go away."""

from collections import Counter
from collections.abc import Mapping

from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.sessions import Session, SessionTable
from streamserver.hub.stream import Stream

__all__ = ["Totals"]


class Totals(StreamListener):
    """What has gone, kept, plus what is there, counted when somebody asks.

    It must see every stream and session: make it before the first listener opens.
    """

    def __init__(self, registry: Registry, sessions: SessionTable) -> None:
        self.streams_started = 0
        self.streams_ended = 0
        self.sessions_joined: Counter[tuple[str, ...]] = Counter()
        """Sessions accepted, by action and protocol."""
        self._registry = registry
        self._sessions = sessions
        self._received: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._packets: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._evicted = 0
        registry.add_listener(self)
        sessions.on_change(self._session_changed)

    def received_bytes(self) -> Mapping[str, int]:
        """Bytes of media that came from sessions, by protocol."""
        sums = self._received.copy()
        for session in self._sessions.all():
            sums[session.protocol.value] += session.bytes_received
        return sums

    def sent_bytes(self) -> Mapping[str, int]:
        """Bytes of media handed to sessions, by protocol."""
        sums = self._sent.copy()
        for session in self._sessions.all():
            sums[session.protocol.value] += session.bytes_sent
        return sums

    def dropped_frames(self) -> Mapping[str, int]:
        """Frames that viewers lost because they lagged, by protocol."""
        sums = self._dropped.copy()
        for session in self._sessions.all():
            sums[session.protocol.value] += session.dropped_frames
        return sums

    def packets(self) -> Mapping[str, int]:
        """Packets appended to logs, by kind of track."""
        sums = self._packets.copy()
        for stream in self._registry.streams():
            _add_packets(sums, stream)
        return sums

    def notes(self) -> Mapping[str, int]:
        """Oddities of the media, by name."""
        sums = self._notes.copy()
        for stream in self._registry.streams():
            sums.update(stream.health_notes)
        return sums

    def evicted(self) -> int:
        """Packets that left a log because of its bounds."""
        return self._evicted + sum(stream.packets.evicted for stream in self._registry.streams())

    def stream_started(self, stream: Stream) -> None:
        """Counts it."""
        self.streams_started += 1

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Keeps what it counted; it has left the registry already."""
        self.streams_ended += 1
        self._evicted += stream.packets.evicted
        self._notes.update(stream.health_notes)
        _add_packets(self._packets, stream)

    def _session_changed(self, session: Session, joined: bool) -> None:
        protocol = session.protocol.value
        if joined:
            self.sessions_joined[session.action.value, protocol] += 1
            return
        self._received[protocol] += session.bytes_received
        self._sent[protocol] += session.bytes_sent
        self._dropped[protocol] += session.dropped_frames


def _add_packets(sums: Counter[str], stream: Stream) -> None:
    for kind, stats in stream.stats.items():
        sums[kind] += stats.packets
