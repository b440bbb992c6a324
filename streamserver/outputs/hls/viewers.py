"""HLS viewers: who has a session and asked for a playlist lately, or waits for one now."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from streamserver.errors import AccessDeniedError, LimitError
from streamserver.hub.limits import Limits
from streamserver.hub.sessions import Action, Protocol, Session, SessionTable
from streamserver.names import StreamKey
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.tokens import VerifiedId
from streamserver.outputs.hls.waiters import Counted

__all__ = ["ClientInfo", "HlsViewers", "Supply", "Viewer", "presence_ns"]

_MAX_KICKED: Final = 10_000
"""Sessions remembered as kicked; the oldest is forgotten, which only lets it in again."""

_MAX_USER_AGENT: Final = 256
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SWEEPS_PER_ROUND: Final = 4
"""Ticks in which every viewer is looked at once: with four ticks a second, once a second."""


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who sends a request."""

    ip: str
    """Its address, as trusted proxies tell it."""

    user_agent: str = ""
    """What it calls itself."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Its header fields, for whoever decides about access."""


class Viewer(Counted):
    """One player. ``parked`` counts its waiting requests."""

    __slots__ = ("bytes_before", "expires_s", "last_seen_ns", "paths", "session")

    def __init__(self, session: Session, expires_s: int, now_ns: int) -> None:
        super().__init__()
        self.session = session
        self.expires_s = expires_s
        self.last_seen_ns = now_ns
        self.bytes_before = 0
        self.paths: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Supply:
    """What a stream has sent to each of its viewers."""

    total_bytes: int
    """Bytes of media of the broadcast until now."""

    bit_rate: int
    """Bits per second of the newest segment."""

    target_duration_s: int
    """How often players come back, at least."""


def presence_ns(target_duration_s: int) -> int:
    """How long after its last playlist request a viewer is still one, in nanoseconds.

    ``max(10 s, 1.5 x target duration + 2 s)``: players reload at most 1.5 target durations apart.
    """
    return max(10_000_000_000, 1_500_000_000 * target_duration_s + 2_000_000_000)


def _nobody(reason: str) -> None:
    """Closes a session that is over."""


class HlsViewers:
    """All HLS viewers of the server, by session id.

    A viewer that stays present keeps its session beyond the expiry of its id: a screen that
    plays for days is not interrupted. One that left must have a valid id to come back.

    Media is shared and carries no session, so ``bytes_sent`` is an estimate: the media that the
    stream made while the viewer was present. A kicked id is remembered until it expires.
    """

    def __init__(
        self,
        table: SessionTable,
        settings: HlsSettings,
        stats: HlsStats,
        *,
        supply: Callable[[StreamKey], Supply | None],
        left: Callable[[Viewer, str | None], None],
        wall_ns: Callable[[], int],
        limits: Limits | None = None,
    ) -> None:
        """``left(viewer, reason)`` is told who went; the reason is None without a kick."""
        self._table = table
        self._limits = limits or Limits(table)
        self.settings = settings
        """The bounds; may be exchanged while running."""
        self._stats = stats
        self._supply = supply
        self._left = left
        self._wall_ns = wall_ns
        self._viewers: dict[str, Viewer] = {}
        self._per_address: dict[str, int] = {}
        self._kicked: dict[str, int] = {}
        self._round: Iterator[Viewer] = iter(())

    def __len__(self) -> int:
        return len(self._viewers)

    def enter(
        self, stream: StreamKey, verified: VerifiedId, client: ClientInfo, now_ns: int
    ) -> Viewer:
        """The viewer of a session id; joins at its first request.

        Raises `AccessDeniedError` when it was kicked, `LimitError` at a bound.
        """
        if verified.id in self._kicked:
            raise AccessDeniedError("this viewer was disconnected by the operator")
        viewer = self._viewers.get(verified.id)
        if viewer is None:
            viewer = self._join(stream, verified, client, now_ns)
        viewer.last_seen_ns = now_ns
        return viewer

    def kick(self, viewer: Viewer, reason: str) -> None:
        """Ends a session at once, and refuses its id until it expires."""
        if self._viewers.get(viewer.session.id) is not viewer:
            return
        if len(self._kicked) >= _MAX_KICKED:
            del self._kicked[next(iter(self._kicked))]
        self._kicked[viewer.session.id] = viewer.expires_s
        self._leave(viewer, reason)

    def tick(self, now_ns: int) -> None:
        """Lets those go who did not come back, a share of them each time."""
        share = len(self._viewers) // _SWEEPS_PER_ROUND + 1
        supplies: dict[StreamKey, Supply | None] = {}
        for looked, viewer in enumerate(self._round, 1):
            self._look(viewer, now_ns, supplies)
            if looked == share:
                return
        # The round is over: the next begins with the next tick, on whoever is there then.
        self._round = iter(list(self._viewers.values()))
        self._forget_kicks()

    def _join(
        self, stream: StreamKey, verified: VerifiedId, client: ClientInfo, now_ns: int
    ) -> Viewer:
        self._check_bounds(stream, client.ip)
        session = Session(
            id=verified.id,
            action=Action.PLAY,
            protocol=Protocol.HLS,
            stream=stream,
            remote_ip=client.ip,
            user_agent=_CONTROL.sub("", client.user_agent)[:_MAX_USER_AGENT],
            joined_at=datetime.fromtimestamp(self._wall_ns() // 1_000_000_000, UTC),
            close=lambda reason: self.kick(viewer, reason),
            expires_s=verified.expires_s if verified.ends else None,
            credential=verified.credential,
        )
        viewer = Viewer(session, verified.expires_s, now_ns)
        supply = self._supply(stream)
        viewer.bytes_before = supply.total_bytes if supply else 0
        self._viewers[session.id] = viewer
        self._per_address[client.ip] = self._per_address.get(client.ip, 0) + 1
        self._table.add(session)
        return viewer

    def _check_bounds(self, stream: StreamKey, ip: str) -> None:
        settings = self.settings
        self._limits.check_viewer(stream)
        if len(self._viewers) >= settings.max_sessions:
            self._stats.refused += 1
            raise LimitError(f"{settings.max_sessions} viewers watch already")
        if self._per_address.get(ip, 0) >= settings.max_sessions_per_address:
            self._stats.refused += 1
            raise LimitError(
                f"{settings.max_sessions_per_address} viewers watch already from this address"
            )

    def _look(self, viewer: Viewer, now_ns: int, supplies: dict[StreamKey, Supply | None]) -> None:
        session = viewer.session
        if self._viewers.get(session.id) is not viewer:
            return
        stream = session.stream
        if stream not in supplies:
            supplies[stream] = self._supply(stream)
        supply = supplies[stream]
        if supply is not None:
            # A new broadcast of the name counts from zero.
            news = supply.total_bytes - viewer.bytes_before
            session.bytes_sent += news if news >= 0 else supply.total_bytes
            viewer.bytes_before = supply.total_bytes
            session.bit_rate = supply.bit_rate
        window_ns = presence_ns(supply.target_duration_s if supply else 0)
        if not viewer.parked and now_ns - viewer.last_seen_ns > window_ns:
            self._leave(viewer, None)

    def _leave(self, viewer: Viewer, reason: str | None) -> None:
        session = viewer.session
        del self._viewers[session.id]
        ip = session.remote_ip
        self._per_address[ip] -= 1
        if not self._per_address[ip]:
            del self._per_address[ip]
        self._left(viewer, reason)
        self._table.remove(session)
        # It leads to the viewer, who has the session: nothing else would take them apart.
        session.close = _nobody

    def _forget_kicks(self) -> None:
        now_s = self._wall_ns() // 1_000_000_000
        for session_id in [key for key, expiry in self._kicked.items() if expiry <= now_s]:
            del self._kicked[session_id]
