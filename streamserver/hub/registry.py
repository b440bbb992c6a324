"""Who may append to which stream: claims, leases, takeover and the reconnect window.

Asynchronous from the first day, because a cluster will answer some of these questions; without
one, nothing here waits.
"""

import secrets
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

from streamserver.clock import Clock
from streamserver.config import Takeover
from streamserver.errors import LimitError, LocalProtocolError, ShuttingDownError, StreamBusyError
from streamserver.hub.sessions import Session
from streamserver.hub.stream import LogBounds, Schedule, Stream, StreamState
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track
from streamserver.names import StreamKey

__all__ = ["Lease", "Registry", "RegistrySettings", "StreamListener", "Supplier"]

_GHOST_AFTER_NS: Final = 2_000_000_000
"""A publisher without media for this long gives way to a newcomer (takeover ``silent``)."""

Supplier = Callable[[StreamKey], Awaitable[bool]]
"""Tries to make a stream live when somebody wants it; True when it did."""


class StreamListener:
    """Told about the life of streams. Override what is of interest."""

    def stream_started(self, stream: Stream) -> None:
        """The first media is about to be appended; tracks are known."""

    def stream_interrupted(self, stream: Stream) -> None:
        """The publisher is gone; it may come back."""

    def stream_resumed(self, stream: Stream) -> None:
        """A publisher came back, in a new epoch of the same broadcast."""

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Nothing more will be appended."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Bounds and windows of the registry."""

    bounds: LogBounds
    """Of every stream's packet log."""

    reconnect_window_ms: int = 15_000
    """How long a stream waits for its publisher to return."""

    max_publishers: int = 100
    """Streams that may be published at once."""

    takeover: Takeover = Takeover.SILENT
    """When a newcomer takes the place of a stream's publisher."""


class Lease:
    """The right to append to a stream, until it is released or taken over."""

    __slots__ = (
        "_registry", "claimed_ns", "generation", "publisher", "revoked", "stream", "suspended",
    )  # fmt: skip

    def __init__(self, registry: "Registry", stream: Stream, publisher: Session) -> None:
        self._registry = registry
        self.stream = stream
        self.publisher = publisher
        self.claimed_ns = registry.now_ns()
        self.generation = stream.generation
        self.revoked: str | None = None
        self.suspended = False
        """Whether its publisher has gone silent, and has not been heard again."""

    @property
    def is_current(self) -> bool:
        """Whether appending is still allowed."""
        return self.revoked is None and self.stream.generation == self.generation

    def begin_epoch(self, tracks: tuple[Track, ...]) -> None:
        """Declares tracks: makes the stream live, resumes it, or marks a discontinuity.

        A broadcast continued with other kinds or codecs is ended, and a new one begins; `stream`
        is then another object. Track epochs are numbered from ``stream.epoch + 1``, so read
        `next_epoch` first.
        """
        self._registry.begin_epoch(self, tracks)

    def next_epoch(self, tracks: tuple[Track, ...]) -> int:
        """The epoch number that these tracks must carry; may begin a new broadcast for them."""
        return self._registry.next_epoch(self, tracks)

    def anchor(self, log_ms: int, received_ns: int) -> None:
        """Says that log time ``log_ms`` was received at a monotonic time: dates follow from it.

        Counts before the broadcast's first epoch only; dates never step within a broadcast.
        """
        self._registry.anchor(self.stream, log_ms, received_ns)

    def append(self, packet: Packet) -> None:
        """Appends, or drops the packet when the lease is no longer current."""
        stream = self.stream
        # `is_current`, without the call: once for every packet.
        if self.revoked is None and stream.generation == self.generation:
            stream.append(packet)

    def extend(self, packets: Sequence[Packet]) -> None:
        """Appends a run of packets of the current epoch, or drops it likewise."""
        stream = self.stream
        if self.revoked is None and stream.generation == self.generation:
            stream.extend(packets)

    def suspend(self, reason: str) -> bool:
        """Says that the publisher has gone silent, on a connection that may come to life again.

        For everybody else it has left: the stream waits for a return, and any newcomer takes the
        place. `begin_epoch` resumes; when the reconnect window passes before, the publisher is
        disconnected. False when it cannot wait: release it then.
        """
        return self._registry.suspend(self, reason)

    def release(self, reason: str, *, final: bool = False) -> None:
        """Gives the right back. ``final`` ends the broadcast without waiting for a return."""
        self._registry.release(self, reason, final=final)


class Registry:
    """All streams of this process, by name."""

    def __init__(self, clock: Clock, schedule: Schedule, settings: RegistrySettings) -> None:
        self._clock = clock
        self._schedule = schedule
        self._settings = settings
        self.settings_of: Callable[[StreamKey], RegistrySettings] = lambda key: settings
        """What holds for a stream now; its bounds count for new streams only."""
        self._streams: dict[StreamKey, Stream] = {}
        self._leases: dict[StreamKey, Lease] = {}
        self._deadlines: dict[StreamKey, int] = {}
        self._generations = 0
        self._listeners: list[StreamListener] = []
        self._suppliers: list[Supplier] = []
        self.draining = False

    def add_listener(self, listener: StreamListener) -> None:
        """Adds somebody who is told about streams."""
        self._listeners.append(listener)

    def add_supplier(self, supplier: Supplier) -> None:
        """Adds somebody who can make a wanted stream live."""
        self._suppliers.append(supplier)

    def get(self, key: StreamKey) -> Stream | None:
        """The stream of a name, once it has media."""
        stream = self._streams.get(key)
        return stream if stream and stream.state is not StreamState.IDLE else None

    def streams(self) -> list[Stream]:
        """Every stream that has media, sorted by name."""
        visible = (s for s in self._streams.values() if s.state is not StreamState.IDLE)
        return sorted(visible, key=lambda stream: stream.key)

    def now_ns(self) -> int:
        """The time on the clock of all leases."""
        return self._clock.monotonic_ns()

    @property
    def publishers(self) -> int:
        """Leases held now."""
        return len(self._leases)

    async def claim(self, key: StreamKey, publisher: Session) -> Lease:
        """Takes the right to append to a name.

        Raises `StreamBusyError` while another publisher sends media, `LimitError` at the bound,
        `ShuttingDownError` while draining.
        """
        if self.draining:
            raise ShuttingDownError("the server is shutting down; try again in a moment")
        holder = self._leases.get(key)
        max_publishers = self.settings_of(key).max_publishers
        if holder is None and len(self._leases) >= max_publishers:
            raise LimitError(
                f"{max_publishers} streams are published already (limits.max_publishers)"
            )
        if holder is not None:
            self._take_over(key, holder)
        stream = self._streams.get(key) or self._new_stream(key)
        self._generations += 1
        stream.generation = self._generations
        stream.publisher = publisher
        lease = Lease(self, stream, publisher)
        self._leases[key] = lease
        return lease

    async def demand(self, key: StreamKey) -> Stream | None:
        """The live stream of a name, after asking the suppliers to make it so."""
        stream = self.get(key)
        if stream is not None:
            return stream
        for supplier in self._suppliers:
            if await supplier(key):
                return self.get(key)
        return None

    def stop(self, key: StreamKey, reason: str) -> bool:
        """Ends a broadcast and disconnects its publisher; False when there is none."""
        stream = self._streams.get(key)
        lease = self._leases.get(key)
        if lease is not None:
            lease.revoked = reason
            self.release(lease, reason, final=True)
            lease.publisher.close(reason)
        elif stream is not None:
            self._end(stream, reason)
        return stream is not None

    def next_epoch(self, lease: Lease, tracks: tuple[Track, ...]) -> int:
        """See `Lease.next_epoch`."""
        stream = lease.stream
        if stream.epoch >= 0 and not _same_shape(stream.tracks, tracks):
            if stream.state is StreamState.INTERRUPTED:
                self._end(stream, "the publisher returned with other tracks")
                self._replace(lease)
            elif _loses_a_track(stream.tracks, tracks):
                self._end(stream, "the publisher changed its tracks")
                self._replace(lease)
        return lease.stream.epoch + 1

    def begin_epoch(self, lease: Lease, tracks: tuple[Track, ...]) -> None:
        """See `Lease.begin_epoch`."""
        if not lease.is_current:
            raise LocalProtocolError("the lease was revoked")
        stream = lease.stream
        before = stream.state
        stream.begin_epoch(tracks)
        stream.state = StreamState.LIVE
        stream.publisher, lease.suspended = lease.publisher, False
        self._deadlines.pop(stream.key, None)
        for listener in self._listeners:
            if before is StreamState.IDLE:
                listener.stream_started(stream)
            elif before is StreamState.INTERRUPTED:
                listener.stream_resumed(stream)

    def anchor(self, stream: Stream, log_ms: int, received_ns: int) -> None:
        """See `Lease.anchor`."""
        if stream.epoch < 0:
            since_ns = self._clock.monotonic_ns() - received_ns
            stream.origin_ns = received_ns - log_ms * 1_000_000
            stream.wall_origin_ns = self._clock.wall_ns() - since_ns - log_ms * 1_000_000

    def release(self, lease: Lease, reason: str, *, final: bool) -> None:
        """See `Lease.release`."""
        key = lease.stream.key
        if self._leases.get(key) is not lease:
            return
        del self._leases[key]
        lease.revoked = lease.revoked or reason
        self._publisher_gone(lease, reason, final=final or self.draining)

    def suspend(self, lease: Lease, reason: str) -> bool:
        """See `Lease.suspend`."""
        stream = lease.stream
        window_ms = self.settings_of(stream.key).reconnect_window_ms
        if self.draining or not lease.is_current or not window_ms:
            return False
        if not lease.suspended and stream.state is StreamState.LIVE:
            self._publisher_gone(lease, reason, final=False)
            lease.suspended = True
        return lease.suspended

    def tick(self, now_ns: int) -> None:
        """Ends the streams whose reconnect window has passed."""
        for key, deadline in list(self._deadlines.items()):
            lease = self._leases.get(key)
            if now_ns >= deadline and (lease is None or lease.suspended):
                self.stop(key, "the publisher did not return")

    def close(self, reason: str, *, spare: Container[str] = ()) -> None:
        """Ends every broadcast, at shutdown; but those that the sessions ``spare`` publish."""
        self.draining = True
        for key in list(self._streams):
            lease = self._leases.get(key)
            if lease is None or lease.publisher.id not in spare:
                self.stop(key, reason)

    def _new_stream(self, key: StreamKey) -> Stream:
        bounds = self._settings.bounds
        log: Log[Packet] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=self._schedule
        )
        stream = Stream(
            key=key,
            session_id=secrets.token_hex(8),
            generation=0,
            packets=log,
            wall_origin_ns=self._clock.wall_ns(),
            origin_ns=self._clock.monotonic_ns(),
        )
        self._streams[key] = stream
        return stream

    def _replace(self, lease: Lease) -> None:
        """Gives a lease a fresh broadcast of the same name, on the time line of the old one."""
        old = lease.stream
        stream = self._new_stream(old.key)
        stream.timeline = old.timeline
        stream.origin_ns, stream.wall_origin_ns = old.origin_ns, old.wall_origin_ns
        stream.generation = lease.generation
        stream.publisher = lease.publisher
        lease.stream = stream

    def _take_over(self, key: StreamKey, holder: Lease) -> None:
        if holder.is_current:
            self._check_takeover(key, holder)
        holder.revoked = "another publisher took over"
        del self._leases[key]
        self._publisher_gone(holder, holder.revoked, final=False)
        holder.publisher.close(holder.revoked)

    def _check_takeover(self, key: StreamKey, holder: Lease) -> None:
        """Raises `StreamBusyError` when a publisher keeps its place."""
        takeover = self.settings_of(key).takeover
        if takeover is Takeover.ALWAYS or holder.suspended:
            return
        if takeover is Takeover.REFUSE:
            raise StreamBusyError(
                f"{key} is being published already from another connection; stop that one first"
            )
        now_ns, last_ns = self.now_ns(), holder.stream.last_packet_ns
        # A publisher that returned is new as well, though its stream has had packets.
        if now_ns - max(last_ns, holder.claimed_ns) >= _GHOST_AFTER_NS:
            return
        if last_ns < holder.claimed_ns:
            raise StreamBusyError(f"another connection is just beginning to publish {key}")
        raise StreamBusyError(
            f"{key} is being published already from another connection; "
            "stop that one, or wait until it has sent nothing for 2 s"
        )

    def _publisher_gone(self, lease: Lease, reason: str, *, final: bool) -> None:
        stream = lease.stream
        stream.publisher = None
        if lease.suspended and not final:
            return  # that was told, and the window runs
        if stream.state is StreamState.IDLE or final:
            self._end(stream, reason)
            return
        stream.state = StreamState.INTERRUPTED
        window_ns = self.settings_of(stream.key).reconnect_window_ms * 1_000_000
        self._deadlines[stream.key] = self._clock.monotonic_ns() + window_ns
        for listener in self._listeners:
            listener.stream_interrupted(stream)
        if not window_ns:
            self._end(stream, reason)

    def _end(self, stream: Stream, reason: str) -> None:
        self._deadlines.pop(stream.key, None)
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]
        was_visible = stream.state is not StreamState.IDLE
        stream.state = StreamState.ENDED
        stream.packets.close(reason)
        if was_visible:
            for listener in self._listeners:
                listener.stream_ended(stream, reason)


def _shape(tracks: tuple[Track, ...]) -> list[str]:
    return [track.codec.value for track in tracks]


def _same_shape(old: tuple[Track, ...], new: tuple[Track, ...]) -> bool:
    """Whether two sets of tracks have the same kinds and codecs."""
    return _shape(old) == _shape(new)


def _loses_a_track(old: tuple[Track, ...], new: tuple[Track, ...]) -> bool:
    """Whether a running publisher changed a codec or took a track away.

    A track that joins later is a discontinuity only: viewers stay.
    """
    return any(codec not in _shape(new) for codec in _shape(old))
