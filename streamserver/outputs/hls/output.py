"""HLS of the whole server: one channel per name, fed from the packets of its broadcasts."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from streamserver.clock import Clock
from streamserver.errors import AccessDeniedError, LocalProtocolError, NotFoundError
from streamserver.feeds.items import CmafItem
from streamserver.hub.keyframes import STEADY_MS
from streamserver.hub.limits import Limits
from streamserver.hub.registry import StreamListener
from streamserver.hub.sessions import SessionTable
from streamserver.hub.slicer import Slicer
from streamserver.hub.sources import OwnPackets, SourceHold, Sources
from streamserver.hub.stream import Stream, StreamState
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.names import StreamKey
from streamserver.outputs.hls.channel import Channel, PlaylistEntry, TsMaker
from streamserver.outputs.hls.delivery import HlsDelivery
from streamserver.outputs.hls.directory import Directory, Entries, Entry
from streamserver.outputs.hls.grants import Grant
from streamserver.outputs.hls.paths import Form, MediaUrl, MultivariantUrl, near_form
from streamserver.outputs.hls.replies import Reply, problem
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.tokens import SessionIds
from streamserver.outputs.hls.viewers import ClientInfo, HlsViewers, Supply, Viewer
from streamserver.outputs.hls.waiters import Parking, Waiter

__all__ = ["Authorize", "Feed", "HlsOutput", "MakeFeed"]

_MAX_TRIES = 3
"""How often the output of one broadcast is begun before it is given up."""

_UNFOLLOWED_MS: Final = 2_000
"""How much later than complete a part may be made while nobody follows its stream: the parts of a
segment are then made in one go, which costs less."""

_INTEREST_NS: Final = 30_000_000_000
"""How long a stream counts as followed by somebody who asked for it and is no viewer yet: longer
than such a request is held."""

logger = logging.getLogger(__name__)

Authorize = Callable[[StreamKey, ClientInfo, str], Awaitable[Grant | None]]
"""Decides whether a client may play; the text is the query of the URL. Raises `RefusedError`.
None grants what was asked for, without an end."""


class Feed(Protocol):
    """The cmaf feed, as far as this output drives it."""

    log: Log[CmafItem]

    position: int
    """The first packet that it has not read."""

    @property
    def quiet_until_ms(self) -> int:
        """Log time before which it has nothing to do but for keyframes: see `Log.wake`."""

    def pump(self, packets: Log[Packet]) -> None:
        """Reads all new packets."""

    def flush(self) -> None:
        """Completes part and segment: the publisher is gone, for now."""

    def close(self, reason: str) -> None:
        """Flushes what is unfinished; nothing comes any more."""


MakeFeed = Callable[[SourceHold, int, int], Feed]
"""``make_feed(source, first_msn, position)``: the feed of a broadcast, which begins to read the
source's log at ``position``."""


class _OnAir:
    """One broadcast being fed."""

    __slots__ = (
        "delivery", "feed", "is_over", "source", "stream", "tries", "unsubscribe", "wanted_ns",
    )  # fmt: skip

    def __init__(
        self, stream: Stream, source: SourceHold, feed: Feed, delivery: HlsDelivery, tries: int
    ) -> None:
        self.stream = stream
        self.source = source
        self.feed = feed
        self.delivery = delivery
        self.tries = tries
        self.is_over = False
        self.wanted_ns: int | None = None
        """When somebody last asked for it who was no viewer yet."""
        self.unsubscribe: list[Callable[[], None]] = []

    def stop(self) -> None:
        self.is_over = True
        for unsubscribe in self.unsubscribe:
            unsubscribe()
        self.source.release()

    def pump(self) -> None:
        self.source.pump()
        self.feed.pump(self.source.packets)


class HlsOutput(StreamListener):
    """Listens to the registry, feeds the channels, and lets viewers in.

    An error in a feed or a playlist ends neither the stream nor its other outputs: it is logged,
    counted, noted on the stream, and the output begins anew as a new broadcast, a few times.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        slicer: Slicer,
        sessions: SessionTable,
        settings: HlsSettings,
        secret: bytes,
        make_feed: MakeFeed,
        ts: TsMaker,
        authorize: Authorize,
        sources: Sources | None = None,
        is_revoked: Callable[[str], bool] = lambda credential: False,
        limits: Limits | None = None,
    ) -> None:
        """``secret`` signs session ids and must survive a restart, so that players go on.

        Without ``sources`` what the publishers send is packaged. ``is_revoked`` tells whether the
        credential with a tag was taken back.
        """
        self.stats = HlsStats()
        self.settings = settings
        self.entries: Entries = {}
        self.authorize = authorize
        self._is_revoked = is_revoked
        self.now_ns = clock.monotonic_ns
        self.parking = Parking(
            self.stats,
            max_parked=settings.max_parked,
            max_per_owner=settings.max_parked_per_session,
        )
        self.viewers = HlsViewers(
            sessions,
            settings,
            self.stats,
            supply=self._supply,
            left=self._viewer_left,
            wall_ns=clock.wall_ns,
            limits=limits,
        )
        self._wall_ns = clock.wall_ns
        self._slicer = slicer
        self._make_feed = make_feed
        self._sources = sources or OwnPackets()
        self._ts = ts
        self._ids = SessionIds(secret, lifetime_s=settings.session_lifetime_s)
        self._channels: dict[StreamKey, Channel] = {}
        self._on_air: dict[StreamKey, _OnAir] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of media in memory, over all streams."""
        return sum(channel.held_bytes for channel in self._channels.values())

    def delivery(self, stream: StreamKey) -> HlsDelivery | None:
        """What a name shows now."""
        channel = self._channels.get(stream)
        return channel.delivery if channel else None

    def stream_started(self, stream: Stream) -> None:
        """Begins a broadcast, in place of the one before."""
        self._begin(stream, tries=1)

    def stream_interrupted(self, stream: Stream) -> None:
        """Shows what came until now; players wait. What comes next is a new epoch anyway."""
        on_air = self._on_air.get(stream.key)
        if on_air is not None and on_air.stream is stream:
            self._guarded(on_air, partial(self._interrupt, on_air))

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Ends the playlist; the media can still be fetched for a while."""
        on_air = self._on_air.get(stream.key)
        if on_air is None or on_air.stream is not stream:
            return
        self._guarded(on_air, partial(self._end, on_air, reason))
        on_air.stop()
        self._on_air.pop(stream.key, None)

    def tick(self, now_ns: int) -> None:
        """Lets time pass: call it a few times a second with monotonic time."""
        self.viewers.tick(now_ns)
        wall_s = self._wall_s()
        for channel in list(self._channels.values()):
            channel.tick(now_ns)
            if channel.shown is None and channel.is_idle(wall_s):
                self._drop_channel(channel.stream)

    def close(self) -> None:
        """Ends everything at shutdown; whoever waits is answered."""
        for on_air in self._on_air.values():
            on_air.stop()
        self._on_air.clear()
        for channel in self._channels.values():
            channel.clear()

    def ask_multivariant(
        self, url: MultivariantUrl, user_agent: str = "", grant: Grant | None = None
    ) -> Reply | Waiter:
        """The multivariant playlist with a new session in it. Raises `NotFoundError`."""
        grant = grant or Grant(url.stream)
        self.catch_up(grant.stream)
        channel = self._channel(grant.stream)
        prefix = url.prefix_of(grant.stream)
        if self.settings.sessions:
            sid = self._ids.issue(
                grant.stream,
                self._wall_s(),
                ends_s=grant.expires_s,
                credential=grant.credential,
            )
            # Only here: without sessions the same text is cached for everybody.
            form = near_form(url.form, user_agent)
            uri = f"{prefix}s/{sid}/{form.playlist_name}"
        else:
            uri = prefix + url.form.open_playlist_name
        return channel.ask_multivariant(url.form, uri, self.now_ns())

    def enter(self, url: MediaUrl, client: ClientInfo) -> Entry:
        """Lets a viewer in and answers what serves its playlist from now on.

        Raises `NotFoundError` without a stream, `AccessDeniedError` for a session that is no
        good, `LimitError` when there are too many.
        """
        channel = self._channel(url.stream)
        verified = self._ids.verify(url.stream, url.sid, self._wall_s())
        if verified is None or not self.settings.sessions:
            raise AccessDeniedError("this playback session is not valid any more; load it again")
        if verified.credential and self._is_revoked(verified.credential):
            raise AccessDeniedError("what let this viewer in was taken back")
        self.catch_up(url.stream)
        viewer = self.viewers.enter(url.stream, verified, client, self.now_ns())
        path = f"/{url.stream}/s/{url.sid}/{url.form.playlist_name}".encode()
        entry = self.entries.get(path)
        if entry is None:
            if not viewer.paths:
                channel.viewers += 1
            viewer.paths.append(path)
            entry = PlaylistEntry(channel, url.form, viewer, self.stats, self.now_ns)
            self.entries[path] = entry
        return entry

    def _begin(self, stream: Stream, *, tries: int) -> None:
        try:
            self._put_on_air(stream, tries=tries)
        except Exception as error:  # As in `_guarded`: the stream goes on without HLS.
            self.stats.failures += 1
            stream.note("hls failed")
            logger.error("HLS of %s cannot begin: %s", stream.key, error, exc_info=error)

    def _put_on_air(self, stream: Stream, *, tries: int) -> None:
        channel = self._channels.get(stream.key) or self._new_channel(stream.key)
        channel.retire(self.now_ns())
        # Segments last a second or more, so the wall clock is ahead of earlier numbers; where a
        # publisher made shorter ones, or the clock was set back, the earlier numbers win.
        first_msn = max(self._wall_s(), channel.next_msn)
        source = self._sources.hold(stream)
        packets = source.packets
        try:
            # What made it fail may still be in the log: then it begins behind it.
            position = packets.start if tries == 1 else packets.end
            feed = self._make_feed(source, first_msn, position)
        except BaseException:
            source.release()
            raise
        delivery = HlsDelivery(
            feed.log,
            Directory(self.entries, stream.key),
            wall_origin_ms=stream.wall_origin_ns // 1_000_000,
            settings=self.settings,
            parking=self.parking,
            slicer=self._slicer,
            now_ns=self.now_ns,
        )
        channel.show(delivery)
        on_air = _OnAir(stream, source, feed, delivery, tries)
        on_air.unsubscribe = [
            packets.wake(
                partial(self._guarded, on_air, partial(self._feed, on_air)),
                quiet_until_ms=partial(self._quiet_until_ms, on_air),
                followed=partial(self._is_followed, on_air),
            ),
            feed.log.wake(partial(self._guarded, on_air, partial(self._deliver, on_air))),
            stream.keyframes.want(STEADY_MS),
        ]
        self._on_air[stream.key] = on_air

    def _feed(self, on_air: _OnAir) -> None:
        packets = on_air.source.packets
        on_air.feed.pump(packets)
        if packets.closed is not None and on_air.stream.packets.closed is None:
            raise LocalProtocolError(f"the rendition ended before its stream: {packets.closed}")

    def _quiet_until_ms(self, on_air: _OnAir) -> int:
        """Log time before which the feed need not look at packets: see `Log.wake`."""
        until_ms = on_air.feed.quiet_until_ms
        if self._is_followed(on_air):
            return until_ms
        # Far less than the log holds, so that nothing is lost that was not read.
        return until_ms + min(_UNFOLLOWED_MS, on_air.source.packets.max_ms // 4)

    def _is_followed(self, on_air: _OnAir) -> bool:
        """Whether somebody may notice when a part is made; without sessions nobody can tell."""
        if not self.settings.sessions or self._channels[on_air.stream.key].viewers:
            return True
        wanted_ns = on_air.wanted_ns
        return wanted_ns is not None and self.now_ns() - wanted_ns < _INTEREST_NS

    def catch_up(self, key: StreamKey) -> None:
        """Somebody comes who shall find what there is, as if it had been followed all the time."""
        on_air = self._on_air.get(key)
        if on_air is None:
            return
        packets = on_air.source.packets
        if not self._is_followed(on_air):
            packets.end_quiet()
            if on_air.feed.position < packets.end:
                self._guarded(on_air, partial(self._make_all, on_air))
        on_air.wanted_ns = self.now_ns()

    def _make_all(self, on_air: _OnAir) -> None:
        self._feed(on_air)
        self._deliver(on_air)

    def _deliver(self, on_air: _OnAir) -> None:
        on_air.delivery.pump()
        self._channels[on_air.stream.key].poke(on_air.delivery)

    def _interrupt(self, on_air: _OnAir) -> None:
        on_air.pump()
        on_air.feed.flush()

    def _end(self, on_air: _OnAir, reason: str) -> None:
        on_air.pump()
        on_air.feed.close(reason)
        on_air.delivery.pump()
        on_air.delivery.end()
        self._channels[on_air.stream.key].over(on_air.delivery, self.now_ns())

    def _guarded(self, on_air: _OnAir, step: Callable[[], None]) -> None:
        if on_air.is_over:
            return
        try:
            step()
        except Exception as error:  # The supervisor: ends this output, never the stream.
            self._failed(on_air, error)

    def _failed(self, on_air: _OnAir, error: Exception) -> None:
        stream = on_air.stream
        on_air.stop()
        self.stats.failures += 1
        stream.note("hls failed")
        logger.error("HLS of %s failed: %s", stream.key, error, exc_info=error)
        self._on_air.pop(stream.key, None)
        if on_air.tries >= _MAX_TRIES or stream.state is StreamState.ENDED:
            on_air.delivery.end()
            self._channels[stream.key].over(on_air.delivery, self.now_ns())
            return
        on_air.delivery.abandon()
        self._begin(stream, tries=on_air.tries + 1)

    def _supply(self, stream: StreamKey) -> Supply | None:
        delivery = self.delivery(stream)
        if delivery is None:
            return None
        window = delivery.window
        return Supply(
            total_bytes=window.total_bytes,
            bit_rate=0 if window.ended else window.last_bit_rate,
            target_duration_s=window.target_duration_s,
        )

    def _viewer_left(self, viewer: Viewer, reason: str | None) -> None:
        for path in viewer.paths:
            self.entries.pop(path, None)
        channel = self._channels.get(viewer.session.stream)
        if channel is None or not viewer.paths:
            return
        viewer.paths.clear()
        channel.viewers -= 1
        if reason is not None:
            channel.expel(viewer, problem(403, reason))

    def _channel(self, stream: StreamKey) -> Channel:
        channel = self._channels.get(stream)
        if channel is None or channel.delivery is None:
            raise NotFoundError(f"{stream} is not live")
        return channel

    def _new_channel(self, stream: StreamKey) -> Channel:
        channel = Channel(
            stream,
            settings=self.settings,
            parking=self.parking,
            slicer=self._slicer,
            ts=self._ts,
        )
        self._channels[stream] = channel
        if not self.settings.sessions:
            for form in Form:
                entry = PlaylistEntry(channel, form, None, self.stats, self.now_ns)
                self.entries[_open_path(stream, form)] = entry
        return channel

    def _drop_channel(self, stream: StreamKey) -> None:
        del self._channels[stream]
        for form in Form:
            self.entries.pop(_open_path(stream, form), None)

    def _wall_s(self) -> int:
        return self._wall_ns() // 1_000_000_000


def _open_path(stream: StreamKey, form: Form) -> bytes:
    return f"/{stream}/{form.open_playlist_name}".encode()
