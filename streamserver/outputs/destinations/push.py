"""One attempt of a destination over RTMP: connect, publish, send, and watch what arrives."""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from streamserver.clock import Clock
from streamserver.feeds.body import BodyFeed
from streamserver.hub.feeds import FeedHold
from streamserver.hub.stream import Stream, StreamState
from streamserver.media.flv_writer import FOUR_CCS, Dialect, carries
from streamserver.media.track import Track
from streamserver.net.guard import OutgoingGuard
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.outputs.destinations.destination import Delivery
from streamserver.outputs.destinations.dial import DialSettings, dial
from streamserver.outputs.destinations.failures import ErrorClass, FarSideError
from streamserver.outputs.destinations.progress import Progress
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import (
    ClientEvent,
    PublishAccepted,
    ReconnectWith,
    Redirected,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed
from streamserver.rtmp.target import PublishTarget

__all__ = ["HoldBodies", "PushSettings", "RtmpPush"]

HoldBodies = Callable[[Stream, Dialect], FeedHold[BodyFeed]]
"""A share in the bodies of a stream in a dialect."""

_JOIN_S: Final = 0.2
"""How long bodies may wait to be written in one piece. Platforms buffer seconds, and each turn
costs as much as writing ten frames."""

_MAX_HOPS: Final = 6
"""Connections that one attempt may make: authentication takes three, redirects the rest."""

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Bounds of one destination."""

    max_lag_ms: int = 8_000
    """Media that may wait for a slow far side; beyond it, the newest keyframe comes next."""

    max_unsent_bytes: int = 128 * 1024
    """What may wait in the transport, to within one message. Little: what is there can no longer
    be passed over, and a slow far side would get it many seconds late."""

    stall_after_ns: int = 5 * _SECOND
    """From the last byte that arrived to ``stalled``."""

    give_up_after_ns: int = 20 * _SECOND
    """And from there to the end of the attempt."""

    look_every_ns: int = _SECOND // 2
    """How often the kernel is asked what arrived, once it is live."""

    drain_ns: int = 3 * _SECOND
    """How long the rest of a stream that ended may take."""


class RtmpPush:
    """Makes attempts; holds nothing between them."""

    def __init__(
        self,
        *,
        guard: OutgoingGuard,
        dialing: DialSettings,
        hold: HoldBodies,
        clock: Clock,
        settings: PushSettings | None = None,
    ) -> None:
        self._guard = guard
        self._dialing = dialing
        self._hold = hold
        self._clock = clock
        self._settings = settings or PushSettings()

    async def __call__(self, stream: Stream, target: PublishTarget, delivery: Delivery) -> None:
        """See `Push`."""
        settings = ClientSettings(target=target)
        for _ in range(_MAX_HOPS):
            following = await self._connection(stream, settings, delivery)
            if following is None:
                return
            settings = following
            delivery.is_connecting()
        raise FarSideError(ErrorClass.REJECTED, "the far side sends us on again and again")

    async def _connection(
        self, stream: Stream, settings: ClientSettings, delivery: Delivery
    ) -> ClientSettings | None:
        """One connection; answers where to go on, None when the stream is over."""
        connection = FarConnection(settings, self._clock, self._settings.max_unsent_bytes)
        _, sock = await dial(settings.target, self._guard, self._dialing, connection)
        try:
            delivery.check_path(*_ends(sock))
            following = await self._ask(connection)
            if following is None:
                session = _Sending(self._settings, self._clock, connection, sock, delivery)
                following = await session.run(stream, self._hold)
            return following
        finally:
            connection.leave("the stream is over")

    async def _ask(self, connection: FarConnection) -> ClientSettings | None:
        """Waits for leave to publish; answers where to ask instead."""
        while True:
            await connection.stirred(_JOIN_S)
            now_ns = self._clock.monotonic_ns()
            due_ns = connection.session.next_timeout_ns
            connection.session.handle_timeout(now_ns)
            timed_out = due_ns is not None and now_ns >= due_ns
            events = connection.session.events()
            if any(isinstance(event, PublishAccepted) for event in events):
                # What else came is the business of whoever sends.
                return _next_hop(events, connection)
            if timed_out:
                for event in events:
                    if isinstance(event, Closed):
                        raise FarSideError(ErrorClass.TIMEOUT, event.reason)
            following = _next_hop(events, connection)
            if following is not None:
                return following


class _Sending:
    """What happens on a connection that publishes."""

    def __init__(
        self,
        settings: PushSettings,
        clock: Clock,
        connection: FarConnection,
        sock: socket.socket,
        delivery: Delivery,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._connection = connection
        self._sock = sock
        self._delivery = delivery
        self._progress = Progress(stall_after_ns=settings.stall_after_ns)
        self._acked = 0
        self._looked_ns = 0
        self._dropped = 0
        self._resets = 0

    async def run(self, stream: Stream, hold: HoldBodies) -> ClientSettings | None:
        """Sends until the stream is over (None), or the far side wants us elsewhere."""
        session = self._connection.session
        tracks = stream.tracks
        share = hold(stream, choose_dialect(tracks, session))
        try:
            sender = Sender(share.feed.log, session, max_lag_ms=self._settings.max_lag_ms)
            self._acked = self._connection.look(self._sock).acked_bytes
            self._progress.begin(self._acked, self._clock.monotonic_ns())
            over_ns: int | None = None
            while True:
                following = _next_hop(session.events(), self._connection)
                if following is not None:
                    return following
                if stream.tracks is not tracks:
                    tracks = stream.tracks
                    choose_dialect(tracks, session)
                self._write(sender)
                pending = self._look(sender)
                if sender.done:
                    now_ns = self._clock.monotonic_ns()
                    over_ns = over_ns or now_ns
                    if not pending or now_ns - over_ns > self._settings.drain_ns:
                        _check_whole(stream, share.feed)
                        return None
                await self._connection.stirred(_JOIN_S)
        finally:
            share.release()

    def _write(self, sender: Sender) -> None:
        connection = self._connection
        room = self._settings.max_unsent_bytes - connection.unsent_bytes
        if sender.pump(room):
            connection.flush()
            self._progress.wrote(connection.session.bytes_sent, sender.sent_ms)
        stats = self._delivery.stats
        stats.dropped_frames += sender.dropped - self._dropped
        stats.resets += sender.resets - self._resets
        self._dropped, self._resets = sender.dropped, sender.resets

    def _look(self, sender: Sender) -> int:
        """Asks the kernel, and tells what follows; answers the bytes that have not arrived.

        Raises `FarSideError` when nothing has arrived for too long.
        """
        now_ns = self._clock.monotonic_ns()
        progress, delivery = self._progress, self._delivery
        hurried = not progress.confirmed or sender.done
        if not hurried and now_ns - self._looked_ns < self._settings.look_every_ns:
            return 1
        self._looked_ns = now_ns
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


def _ends(sock: socket.socket) -> tuple[str, str]:
    """Both addresses of a connection. Raises `ConnectionResetError` when it is over already."""
    try:
        return sock.getsockname()[0], sock.getpeername()[0]
    except OSError as error:
        raise ConnectionResetError from error


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


def _next_hop(events: list[ClientEvent], connection: FarConnection) -> ClientSettings | None:
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
