"""One attempt of a destination over RTMP: connect, ask for leave to publish, and send."""

import socket
from typing import Final

from streamserver.clock import Clock
from streamserver.hub.sources import OwnPackets, Sources
from streamserver.hub.stream import Stream
from streamserver.net.dial import DialSettings, dial
from streamserver.net.guard import OutgoingGuard
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.outputs.destinations.destination import Delivery
from streamserver.outputs.destinations.failures import ErrorClass, FarSideError
from streamserver.outputs.destinations.rounds import Rounds
from streamserver.outputs.destinations.sending import HoldBodies, PushSettings, Sending, next_hop
from streamserver.rtmp.client_events import PublishAccepted
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed
from streamserver.rtmp.target import PublishTarget

__all__ = ["HoldBodies", "PushSettings", "RtmpPush"]

_LOOK_S: Final = 0.5
"""How often the deadlines of a silent far side are looked at."""

_MAX_HOPS: Final = 6
"""Connections that one attempt may make: authentication takes three, redirects the rest."""


class RtmpPush:
    """Makes attempts, which write in common rounds."""

    def __init__(
        self,
        *,
        guard: OutgoingGuard,
        dialing: DialSettings,
        hold: HoldBodies,
        clock: Clock,
        settings: PushSettings | None = None,
        sources: Sources | None = None,
    ) -> None:
        """``sources`` are those that ``hold`` takes from; None: the publishers' own packets."""
        self._guard = guard
        self._dialing = dialing
        self._hold = hold
        self._clock = clock
        self._settings = settings or PushSettings()
        self._sources = sources or OwnPackets()
        self._rounds = Rounds(self._settings.max_join_ms, clock)

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
                session = Sending(
                    self._settings, self._clock, self._rounds, connection, sock, delivery
                )
                following = await session.run(stream, self._hold, self._sources)
            return following
        finally:
            connection.leave("the stream is over")

    async def _ask(self, connection: FarConnection) -> ClientSettings | None:
        """Waits for leave to publish; answers where to ask instead."""
        while True:
            await connection.stirred(_LOOK_S)
            now_ns = self._clock.monotonic_ns()
            due_ns = connection.session.next_timeout_ns
            connection.session.handle_timeout(now_ns)
            timed_out = due_ns is not None and now_ns >= due_ns
            events = connection.session.events()
            if any(isinstance(event, PublishAccepted) for event in events):
                # What else came is the business of whoever sends.
                return next_hop(events, connection)
            if timed_out:
                for event in events:
                    if isinstance(event, Closed):
                        raise FarSideError(ErrorClass.TIMEOUT, event.reason)
            following = next_hop(events, connection)
            if following is not None:
                return following


def _ends(sock: socket.socket) -> tuple[str, str]:
    """Both addresses of a connection. Raises `ConnectionResetError` when it is over already."""
    try:
        return sock.getsockname()[0], sock.getpeername()[0]
    except OSError as error:
        raise ConnectionResetError from error
