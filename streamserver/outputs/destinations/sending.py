"""What happens on a connection that publishes: media goes out in rounds, and is seen to arrive."""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from streamserver.clock import Clock
from streamserver.feeds.body import BodyFeed
from streamserver.hub.feeds import FeedHold
from streamserver.hub.keyframes import STEADY_MS
from streamserver.hub.sources import Sources
from streamserver.hub.stream import Stream, StreamState
from streamserver.media.flv_writer import FOUR_CCS, Dialect, carries
from streamserver.media.track import Track
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.outputs.destinations.destination import Delivery
from streamserver.outputs.destinations.failures import ErrorClass, FarSideError
from streamserver.outputs.destinations.progress import Progress
from streamserver.outputs.destinations.rounds import Rounds
from streamserver.outputs.destinations.seat import Seat
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import (
    ClientEvent,
    ReconnectWith,
    Redirected,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed

__all__ = ["HoldBodies", "PushSettings", "Sending", "choose_dialect", "next_hop"]

HoldBodies = Callable[[Stream, Dialect], FeedHold[BodyFeed]]
"""A share in the bodies of a stream in a dialect; who reads them pumps."""

_HURRY_S: Final = 0.1
"""Between two looks while something is about to change: it begins or it ends."""

_WRITES: Final = 20
"""In one round, where the kernel takes them all: 2.5 megabytes, which are 80 Mbit/s."""

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Bounds of one destination."""

    max_lag_ms: int = 8_000
    """Media that may wait for a slow far side; beyond it, the newest keyframe comes next."""

    max_join_ms: int = 250
    """How long what came may wait, so that it goes out in one write. Longer than for viewers: the
    players behind a far side buffer seconds, and each write costs as much as its bytes."""

    max_unsent_bytes: int = 128 * 1024
    """What may wait in the transport, to within one message. Little: what is there can no longer
    be passed over, and a slow far side would get it many seconds late."""

    stall_after_ns: int = 5 * _SECOND
    """From the last byte that arrived to ``stalled``."""

    give_up_after_ns: int = 20 * _SECOND
    """And from there to the end of the attempt."""

    look_every_ns: int = _SECOND
    """How often the kernel is asked what arrived, once it is live."""

    drain_ns: int = 3 * _SECOND
    """How long the rest of a stream that ended may take."""


class Sending:
    """One stream on one connection."""

    def __init__(
        self,
        settings: PushSettings,
        clock: Clock,
        rounds: Rounds,
        connection: FarConnection,
        sock: socket.socket,
        delivery: Delivery,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rounds = rounds
        self._connection = connection
        self._sock = sock
        self._delivery = delivery
        self._progress = Progress(stall_after_ns=settings.stall_after_ns)
        self._acked = 0
        self._looked_ns = 0
        self._dropped = 0
        self._resets = 0

    async def run(
        self, stream: Stream, hold: HoldBodies, sources: Sources
    ) -> ClientSettings | None:
        """Sends until the stream is over (None), or the far side wants us elsewhere."""
        connection = self._connection
        session = connection.session
        share = hold(stream, choose_dialect(sources.tracks(stream), session))
        max_lag_ms, runs = self._settings.max_lag_ms, self._rounds.runs_of(share.feed)
        sender = Sender(share.feed.log, session, max_lag_ms=max_lag_ms, runs=runs)
        unwish = stream.keyframes.want(STEADY_MS)
        failed: list[Exception] = []
        rounds, progress, look_every_ns = self._rounds, self._progress, self._settings.look_every_ns
        tracks = stream.tracks

        def write() -> None:
            nonlocal tracks
            try:
                if runs.round != rounds.number:
                    runs.next_round(rounds.number, share.pump)
                # What this round brings has not left before the end of the turn.
                if progress.confirmed and rounds.now_ns - self._looked_ns >= look_every_ns:
                    seat.settle()
                    self._look(sender, rounds.now_ns)
                if seat.follow(runs.line, rounds.ready):
                    return
                self._write(sender, session)
                if stream.tracks is not tracks:
                    tracks = stream.tracks
                    choose_dialect(sources.tracks(stream), session)
            except Exception as error:  # It belongs to this destination, not to the round.
                failed.append(error)
            if failed or sender.done:
                end()

        def end() -> None:
            rounds.leave(write)
            connection.on_room = None
            connection.stir()

        def fail(error: Exception) -> None:
            failed.append(error)
            end()

        def go_on() -> None:
            if sender.behind and not seat.taken:
                write()

        seat = Seat(sender, session, connection, progress, connection.own_socket(), fail)
        connection.on_held = seat.leave
        try:
            self._acked = connection.look(self._sock).acked_bytes
            self._progress.begin(self._acked, self._clock.monotonic_ns())
            share.pump()
            write()
            if not sender.done:
                rounds.join(write)
                connection.on_room = go_on
            return await self._watch(stream, share.feed, sender, failed)
        finally:
            rounds.leave(write)
            connection.on_room = connection.on_held = None
            seat.close()
            unwish()
            share.release()

    async def _watch(
        self, stream: Stream, feed: BodyFeed, sender: Sender, failed: list[Exception]
    ) -> ClientSettings | None:
        """Waits for what the far side says, and for the end. Between them the rounds look: a task
        that wakes costs more than a look."""
        over_ns: int | None = None
        while True:
            following = next_hop(self._connection.session.events(), self._connection)
            if following is not None:
                return following
            if failed:
                raise failed[0]
            hurried = sender.done or not self._progress.confirmed
            if hurried:
                now_ns = self._clock.monotonic_ns()
                pending = self._look(sender, now_ns)
                if sender.done:
                    over_ns = over_ns or now_ns
                    if not pending or now_ns - over_ns > self._settings.drain_ns:
                        _check_whole(stream, feed)
                        return None
            await self._connection.stirred(_HURRY_S if hurried else None)

    def _write(self, sender: Sender, session: ClientSession) -> None:
        connection = self._connection
        for _ in range(_WRITES):
            if not sender.pump(self._settings.max_unsent_bytes - connection.unsent_bytes):
                break
            connection.flush()
            self._progress.wrote(session.bytes_sent, sender.sent_ms)
            if not sender.behind:
                break
        if sender.resets != self._resets or sender.dropped != self._dropped:
            stats = self._delivery.stats
            stats.dropped_frames += sender.dropped - self._dropped
            stats.resets += sender.resets - self._resets
            self._dropped, self._resets = sender.dropped, sender.resets

    def _look(self, sender: Sender, now_ns: int) -> int:
        """Asks the kernel, and tells what follows; answers the bytes that have not arrived.

        Raises `FarSideError` when nothing has arrived for too long.
        """
        self._looked_ns = now_ns
        progress, delivery = self._progress, self._delivery
        total = self._connection.session.bytes_sent
        info = self._connection.look(self._sock)
        pending = self._connection.unsent_bytes + info.unacked_bytes
        progress.look(
            acked_bytes=info.acked_bytes, pending_bytes=pending, total_bytes=total, now_ns=now_ns
        )
        stats = delivery.stats
        stats.arrived(max(0, info.acked_bytes - self._acked), now_ns)
        self._acked = info.acked_bytes
        stats.rtt_us = info.rtt_us
        stats.queued_ms = progress.queued_ms(total, pending, sender.newest_ms)
        stalled_ns = progress.stalled_ns(now_ns)
        if stalled_ns >= self._settings.stall_after_ns + self._settings.give_up_after_ns:
            raise FarSideError(
                ErrorClass.STALLED,
                f"connected, but the far side took nothing for {stalled_ns // _SECOND} s",
            )
        if stalled_ns:
            delivery.is_stalled()
        elif progress.confirmed:
            delivery.is_live()
        return pending


def choose_dialect(tracks: Iterable[Track], session: ClientSession) -> Dialect:
    """The dialect that carries these tracks to a far side.

    Enhanced RTMP v2: a client sends a codec beyond the old ones only to who offers to take it.
    Raises `FarSideError` for a codec that the far side does not offer.
    """
    dialect = Dialect.LEGACY
    for track in tracks:
        if carries(track, Dialect.LEGACY):
            continue
        if not session.peer_takes(FOUR_CCS[track.codec]):
            raise FarSideError(
                ErrorClass.REJECTED,
                f"the far side does not offer to take {track.codec} (enhanced RTMP)",
            )
        dialect = Dialect.ENHANCED
    return dialect


def next_hop(events: list[ClientEvent], connection: FarConnection) -> ClientSettings | None:
    """Where the far side sends us. Raises what it refuses, and its end."""
    for event in events:
        match event:
            case ReconnectWith() | Redirected():
                return event.settings
            case Rejected():
                kind = ErrorClass.REJECTED
                if event.retry_hint is RetryHint.AUTH:
                    kind = ErrorClass.AUTH
                code = f" ({event.code})" if event.code else ""
                raise FarSideError(kind, f"{event.description}{code}")
            case Closed():
                during = f" during {connection.lost_in}" if connection.lost_in else ""
                words = f"{event.reason}{during}"
                raise connection.fault or FarSideError(ErrorClass.PEER_CLOSED, words)
    return None


def _check_whole(stream: Stream, feed: BodyFeed) -> None:
    """A feed that broke ends before its stream does, and that is no end of the stream."""
    if stream.state is not StreamState.ENDED:
        raise FarSideError(ErrorClass.REJECTED, feed.log.closed or "the stream cannot be sent on")
