"""One name on air: the broadcast that is shown, and those that were and can still be fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamserver.hub.slicer import Slicer
from streamserver.names import StreamKey
from streamserver.outputs.hls.delivery import NOT_FOUND, HlsDelivery
from streamserver.outputs.hls.paths import Form
from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.ts import TS_OVERHEAD_PERCENT, Remux, Supports, TsFeed
from streamserver.outputs.hls.viewers import Viewer
from streamserver.outputs.hls.waiters import Parking, Waiter

__all__ = ["Channel", "PlaylistEntry", "TsMaker"]


_MAX_PAST: Final = 2
"""Broadcasts that linger: a publisher that comes and goes shall not fill the memory."""


@dataclass(frozen=True, slots=True)
class TsMaker:
    """How MPEG-TS is made."""

    remux: Remux
    """Makes one segment."""

    supports: Supports
    """Says why it cannot."""


@dataclass(slots=True, eq=False)
class _Broadcast:
    delivery: HlsDelivery
    ts: TsFeed | None = None
    gone_at_ns: int | None = None

    def tick(self, now_ns: int) -> None:
        if self.delivery.somebody_waits:
            self.delivery.tick(now_ns)
        if self.ts is not None and not self.ts.tick(now_ns):
            self.ts.close()
            self.ts = None

    def clear(self) -> None:
        if self.ts is not None:
            self.ts.close()
        self.delivery.clear()


class Channel:
    """Answers for a name, whichever broadcast it shows.

    A new broadcast replaces the one before at once. The media of one that is over can be fetched
    until its playlist, as last seen, and three target durations more have passed.
    """

    def __init__(
        self,
        stream: StreamKey,
        *,
        settings: HlsSettings,
        parking: Parking,
        slicer: Slicer,
        ts: TsMaker,
    ) -> None:
        self.stream = stream
        self.next_msn = 0
        self.viewers = 0
        self._settings = settings
        self._parking = parking
        self._slicer = slicer
        self._ts_maker = ts
        self.shown: _Broadcast | None = None
        """The broadcast that is shown, with what belongs to it."""
        self._past: list[_Broadcast] = []

    @property
    def delivery(self) -> HlsDelivery | None:
        """The broadcast that is shown."""
        return self.shown.delivery if self.shown else None

    def is_idle(self, wall_s: int) -> bool:
        """Whether nothing is lost with it.

        A publisher that changed its tracks all the time may have used up more numbers than
        seconds; the next broadcast must begin above them (``wall_s`` is Unix time).
        """
        used = self.shown is not None or self._past or self.viewers
        return not used and self.next_msn <= wall_s

    @property
    def held_bytes(self) -> int:
        """Bytes of media in memory."""
        return sum(
            broadcast.delivery.window.held_bytes + (broadcast.ts.held_bytes if broadcast.ts else 0)
            for broadcast in self._broadcasts()
        )

    def show(self, delivery: HlsDelivery) -> None:
        """A new broadcast is shown; what was shown before must have retired."""
        assert self.shown is None
        self.shown = _Broadcast(delivery)

    def retire(self, now_ns: int) -> None:
        """What is shown is not shown any more; its media lingers."""
        if self.shown is not None:
            self._mark_over(self.shown, now_ns)
            self._past.append(self.shown)
            self.shown = None
        while len(self._past) > _MAX_PAST:
            self._past.pop(0).clear()

    def over(self, delivery: HlsDelivery, now_ns: int) -> None:
        """A broadcast has ended; it stays until something new comes, or for its linger."""
        if self.shown is not None and self.shown.delivery is delivery:
            self._mark_over(self.shown, now_ns)
            self.poke(delivery)

    def poke(self, delivery: HlsDelivery) -> None:
        """The window of a delivery moved: MPEG-TS follows."""
        shown = self.shown
        if shown is not None and shown.delivery is delivery and shown.ts is not None:
            shown.ts.poke()

    def ask(self, form: Form, query: bytes, owner: Viewer | None, now_ns: int) -> Reply | Waiter:
        """The media playlist, now or when there is what is asked for."""
        shown = self.shown
        if shown is None:
            return NOT_FOUND
        if form is Form.LOW_LATENCY:
            return shown.delivery.ask_playlist(query, owner, now_ns)
        if form is Form.NEAR:
            return shown.delivery.when_ready(shown.delivery.near_playlist, owner, now_ns)
        return self._ts(shown, now_ns).ask(owner, now_ns)

    def ask_multivariant(self, form: Form, uri: str, now_ns: int) -> Reply | Waiter:
        """The multivariant playlist that points to ``uri``, once it can be made."""
        shown = self.shown
        if shown is None:
            return NOT_FOUND
        delivery = shown.delivery
        if form is Form.LOW_LATENCY:
            return delivery.when_ready(lambda: delivery.multivariant(uri), None, now_ns)
        # Begun now, so that the segments are there when the media playlist is asked for.
        ts = self._ts(shown, now_ns)

        def make() -> Reply:
            return ts.refusal() or delivery.multivariant(
                uri, version=3, overhead_percent=TS_OVERHEAD_PERCENT
            )

        return delivery.when_ready(make, None, now_ns)

    def expel(self, viewer: Viewer, reply: Reply) -> None:
        """A viewer was kicked: it gets no more names of media, and its requests are answered."""
        if self.shown is not None:
            self.shown.delivery.window.rotate_token()
            self.shown.delivery.expel(viewer, reply)
            if self.shown.ts is not None:
                self.shown.ts.expel(viewer, reply)

    def tick(self, now_ns: int) -> None:
        """Lets go of what waited or lingered long enough."""
        shown = self.shown
        for broadcast in self._past:
            broadcast.tick(now_ns)
        if shown is not None:
            shown.tick(now_ns)
            if shown.gone_at_ns is not None and _is_gone(shown, now_ns):
                self.retire(now_ns)
        if self._past:
            for broadcast in [past for past in self._past if _is_gone(past, now_ns)]:
                self._past.remove(broadcast)
                broadcast.clear()

    def clear(self) -> None:
        """Takes everything away, at shutdown."""
        for broadcast in self._broadcasts():
            broadcast.delivery.end()
            broadcast.clear()
        self._past.clear()
        self.shown = None

    def _broadcasts(self) -> list[_Broadcast]:
        return [*self._past, self.shown] if self.shown is not None else list(self._past)

    def _mark_over(self, broadcast: _Broadcast, now_ns: int) -> None:
        window = broadcast.delivery.window
        self.next_msn = max(self.next_msn, window.next_msn)
        if broadcast.gone_at_ns is None:
            linger_ms = 3000 * window.target_duration_s + self._settings.window_ms
            broadcast.gone_at_ns = now_ns + linger_ms * 1_000_000

    def _ts(self, broadcast: _Broadcast, now_ns: int) -> TsFeed:
        if broadcast.ts is None:
            broadcast.ts = TsFeed(
                broadcast.delivery,
                self._ts_maker.remux,
                self._ts_maker.supports,
                settings=self._settings,
                parking=self._parking,
                slicer=self._slicer,
                now_ns=now_ns,
            )
            broadcast.ts.poke()
        return broadcast.ts


def _is_gone(broadcast: _Broadcast, now_ns: int) -> bool:
    return broadcast.gone_at_ns is not None and now_ns >= broadcast.gone_at_ns


class PlaylistEntry:
    """Stands under the path of a media playlist: of one viewer, or of everybody."""

    __slots__ = ("_channel", "_form", "_now_ns", "_stats", "_viewer")

    def __init__(
        self,
        channel: Channel,
        form: Form,
        viewer: Viewer | None,
        stats: HlsStats,
        now_ns: Callable[[], int],
    ) -> None:
        self._channel = channel
        self._form = form
        self._viewer = viewer
        self._stats = stats
        self._now_ns = now_ns

    def ask(self, query: bytes) -> Reply | Waiter:
        """The playlist; asking makes a viewer present."""
        self._stats.playlists += 1
        now_ns = self._now_ns()
        viewer = self._viewer
        if viewer is not None:
            viewer.last_seen_ns = now_ns
        if self._form is Form.LOW_LATENCY and (shown := self._channel.shown) is not None:
            # By far the most; a call less.
            return shown.delivery.ask_playlist(query, viewer, now_ns)
        return self._channel.ask(self._form, query, viewer, now_ns)
