"""One broadcast as players see it: the window, its playlists, and who waits for what comes."""

from collections.abc import Callable, Iterator
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.feeds.items import CmafItem, SegmentEnd
from streamserver.hub.slicer import Slicer
from streamserver.log import Log
from streamserver.outputs.hls.directives import NO_DIRECTIVE, parse_directives
from streamserver.outputs.hls.directory import Directory
from streamserver.outputs.hls.playlist import LowLatencyPlaylist, multivariant, near_playlist
from streamserver.outputs.hls.replies import NO_CACHE, NO_STORE, PLAYLIST, SHORT, Reply, problem
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.waiters import Counted, Parking, Waiter, hand_out
from streamserver.outputs.hls.window import HlsWindow

__all__ = ["BEGUN_ANEW", "NEVER_STARTED", "NOT_FOUND", "NOT_YET", "TIMED_OUT", "HlsDelivery"]

NOT_FOUND: Final = problem(404, "there is no such stream or object")
"""Also for a hinted part that never came."""

NOT_YET: Final = problem(503, "the stream has no complete segment yet", retry_after_s=1)
"""The first segment did not come while the request was held."""

NEVER_STARTED: Final = problem(404, "the stream ended before it had a segment")
"""It never will come."""

TIMED_OUT: Final = problem(503, "no new media came for three target durations", retry_after_s=1)
"""RFC 8216bis 6.2.5.2: a request is not held longer than that."""

BEGUN_ANEW: Final = problem(503, "the stream's HLS output begins anew", retry_after_s=1)
"""It failed; the next request finds the new one."""

_TOO_FAR: Final = problem(400, "that segment or part lies too far in the future")
_ADVANCE_LIMIT_MS: Final = 3000
"""A part may be asked for up to three seconds ahead, and three parts where they last a second or
more (RFC 8216bis 6.2.5.2, Advance Part Limit)."""


class _Hint:
    """Stands under the name of the part to come."""

    __slots__ = ("_delivery", "_now_ns")

    def __init__(self, delivery: "HlsDelivery", now_ns: Callable[[], int]) -> None:
        self._delivery: HlsDelivery | None = delivery
        self._now_ns = now_ns

    def ask(self, query: bytes) -> Reply | Waiter:
        if self._delivery is None:
            return NOT_FOUND
        return self._delivery.ask_hinted_part(self._now_ns())

    def forget(self) -> None:
        """Lets go of the broadcast, whose megabytes would otherwise wait for the collector."""
        self._delivery = None


class HlsDelivery:
    """Answers requests for one broadcast, and parks those that ask for what is still to come.

    Synchronous: `pump` is called when the cmaf log grew, `tick` now and then, and every question
    gets a `Reply` or a `Waiter` to be resumed. ``wall_origin_ms`` is the Unix time of log time
    zero.
    """

    def __init__(
        self,
        log: Log[CmafItem],
        directory: Directory,
        *,
        wall_origin_ms: int,
        settings: HlsSettings,
        parking: Parking,
        slicer: Slicer,
        now_ns: Callable[[], int],
    ) -> None:
        self.window = HlsWindow(directory, settings, parking.stats)
        self.wall_origin_ms = wall_origin_ms
        self.directory = directory
        self.position = log.start
        self._log = log
        self._settings = settings
        self._stats: HlsStats = parking.stats
        self._parking = parking
        self._slicer = slicer
        self._hint = _Hint(self, now_ns)
        self._text = LowLatencyPlaylist(
            self.window, wall_origin_ms=wall_origin_ms, prefix=self.media_prefix
        )
        self._reply: Reply | None = None
        self._near: Reply | None = None
        self._last_parts = 0
        self._starting: list[tuple[Waiter, Callable[[], Reply]]] = []
        self._waiters: list[Waiter] = []
        self._next: list[Waiter] = []
        """Those who asked for the very next part; told apart, for they are nearly all."""
        self._next_place = (NO_DIRECTIVE, NO_DIRECTIVE)
        self._next_query: bytes | None = None
        """How they ask. None where nobody can yet, or any more."""
        self._next_hold_ns = 0
        self._hint_waiters: list[Waiter] = []

    @property
    def media_prefix(self) -> str:
        """Leads from a media playlist to the stream: ``s/{sid}/video.m3u8`` is two below it."""
        return "../../" if self._settings.sessions else ""

    @property
    def playlist_cache(self) -> str:
        """Cache-Control of media playlists."""
        return NO_CACHE if self._settings.sessions else SHORT

    @property
    def _hold_ns(self) -> int:
        """How long a request may be held (6.2.5.2)."""
        return 3_000_000_000 * self.window.target_duration_s

    def pump(self) -> None:
        """Takes what is new in the log and answers those who waited for it.

        Raises `LocalProtocolError` when the log lost what was not read, or makes no sense.
        """
        if self.position < self._log.start:
            raise LocalProtocolError("the cmaf log dropped items before they were read")
        items = self._log.since(self.position)
        self.position += len(items)
        if not items or self.window.ended:
            return
        for item in items:
            self._take(item)
        self.window.publish_hint(self._hint)
        self._reply = self._near = None
        self._answer_waiters()
        self._expect()

    def end(self) -> None:
        """Nothing more will come: the playlist says so, and nobody waits any longer."""
        if self.window.ended:
            return
        self.window.finish()
        self._reply = self._near = None
        self._resume(self._hint_waiters, NOT_FOUND)
        self._hint_waiters = []
        if not self.window.is_ready:
            self._resume([waiter for waiter, _ in self._starting], NEVER_STARTED)
            self._starting = []
        self._answer_waiters()
        self._expect()

    def abandon(self) -> None:
        """The output failed and begins anew: whoever waits shall ask again, and find the new one.

        The playlist does not end; what is listed stays to be had until `clear`.
        """
        waiters = [*self._waiters, *self._next, *self._hint_waiters]
        waiters += [waiter for waiter, _ in self._starting]
        self._waiters, self._next, self._hint_waiters, self._starting = [], [], [], []
        self._resume(waiters, BEGUN_ANEW)

    def clear(self) -> None:
        """Takes every name away, at the end of the broadcast's life."""
        self.directory.clear()
        self._hint.forget()

    @property
    def somebody_waits(self) -> bool:
        """Whether `tick` would have anything to look at."""
        return bool(self._next or self._waiters or self._hint_waiters or self._starting)

    def tick(self, now_ns: int) -> None:
        """Answers those whose time is over, and forgets those who went away."""
        self._waiters = self._sweep(self._waiters, now_ns, TIMED_OUT)
        self._next = self._sweep(self._next, now_ns, TIMED_OUT)
        self._hint_waiters = self._sweep(self._hint_waiters, now_ns, TIMED_OUT)
        if self._starting:
            waiting = self._sweep([waiter for waiter, _ in self._starting], now_ns, NOT_YET)
            kept = set(waiting)
            self._starting = [pair for pair in self._starting if pair[0] in kept]

    def playlist(self) -> Reply:
        """The low-latency media playlist as of now; rendered once, however many ask."""
        reply = self._reply
        if reply is None:
            text = self._text.render().encode()
            reply = self._reply = Reply(200, PLAYLIST, self.playlist_cache, text, compress=True)
        return reply

    def near_playlist(self) -> Reply:
        """The newest segments only, as `Form.NEAR` says; the window must be ready."""
        reply = self._near
        if reply is None:
            text = near_playlist(
                self.window, wall_origin_ms=self.wall_origin_ms, prefix=self.media_prefix
            )
            reply = Reply(200, PLAYLIST, self.playlist_cache, text.encode(), compress=True)
            self._near = reply
        return reply

    def multivariant(self, uri: str, *, version: int = 9, overhead_percent: int = 0) -> Reply:
        """A multivariant playlist that points to ``uri``; the window must be ready."""
        window = self.window
        init = window.init
        assert init is not None
        text = multivariant(
            init.init.tracks,
            peak_bit_rate=window.peak_bit_rate * (100 + overhead_percent) // 100,
            average_bit_rate=window.average_bit_rate * (100 + overhead_percent) // 100,
            uri=uri,
            version=version,
        )
        cache = NO_STORE if self._settings.sessions else SHORT
        return Reply(200, PLAYLIST, cache, text.encode(), compress=True)

    def ask_hinted_part(self, now_ns: int) -> Reply | Waiter:
        """Holds a request for the hinted part until the whole part is there (4.4.5.3)."""
        waiter = self._parking.enter(None, now_ns + self._hold_ns)
        if isinstance(waiter, Waiter):
            self._hint_waiters.append(waiter)
        return waiter

    def ask_playlist(self, query: bytes, owner: Counted | None, now_ns: int) -> Reply | Waiter:
        """Asked for the media playlist, perhaps for one that does not exist yet."""
        if query == self._next_query:
            msn, part = self._next_place
            parked = self._parking.enter(owner, now_ns + self._next_hold_ns, msn, part)
            if isinstance(parked, Waiter):
                self._next.append(parked)
            return parked
        window = self.window
        if not window.is_ready:
            return self.when_ready(self.playlist, owner, now_ns)
        if not query or window.ended:
            # After the end there is nothing to wait for: directives are ignored (6.2.5.2).
            return self.playlist()
        try:
            msn, part = parse_directives(query)
        except RemoteProtocolError as error:
            self._stats.bad_requests += 1
            return problem(400, str(error))
        if msn == NO_DIRECTIVE or self._is_there(msn, part):
            return self.playlist()
        if self._is_too_far(msn, part):
            self._stats.bad_requests += 1
            return _TOO_FAR
        waiter = self._parking.enter(owner, now_ns + self._hold_ns, msn, part)
        if isinstance(waiter, Waiter):
            self._waiters.append(waiter)
        return waiter

    def when_ready(
        self, make: Callable[[], Reply], owner: Counted | None, now_ns: int
    ) -> Reply | Waiter:
        """An answer that needs the first segment, made now or held until it is there."""
        if self.window.is_ready:
            return make()
        if self.window.ended:
            return NEVER_STARTED
        deadline_ns = now_ns + self._settings.start_hold_ms * 1_000_000
        waiter = self._parking.enter(owner, deadline_ns)
        if isinstance(waiter, Waiter):
            self._starting.append((waiter, make))
        return waiter

    def expel(self, owner: Counted, reply: Reply) -> None:
        """Answers what one viewer waits for; no name is told to it any more."""
        mine = [waiter for waiter in (*self._waiters, *self._next) if waiter.owner is owner]
        mine += [waiter for waiter, _ in self._starting if waiter.owner is owner]
        self._resume(mine, reply)

    def _take(self, item: CmafItem) -> None:
        window = self.window
        if isinstance(item, SegmentEnd):
            self._last_parts = item.parts
            window.add(item)
            # The hinted part will not come: the segment ended before it.
            self._resume(self._hint_waiters, NOT_FOUND)
            self._hint_waiters = []
            return
        window.add(item)
        if self._hint_waiters and window.current is not None:
            self._resume(self._hint_waiters, window.current.parts[-1].reply)
            self._hint_waiters = []

    def _is_there(self, msn: int, part: int) -> bool:
        """Whether the playlist holds what is asked for (6.2.5.2).

        A segment alone is there once complete. A part beyond the last one of a finished segment
        stands for the first part of the next.
        """
        window = self.window
        if window.ended:
            return True
        assert window.hint is not None
        growing, parts = window.hint
        if part == NO_DIRECTIVE or msn < growing - 1:
            return msn < growing
        if msn == growing - 1:
            return part < self._last_parts or parts > 0
        return msn == growing and part < parts

    def _is_too_far(self, msn: int, part: int) -> bool:
        """More than two segments, or three seconds of parts, beyond the playlist (6.2.5.2)."""
        window = self.window
        assert window.hint is not None
        assert window.target is not None
        growing, parts = window.hint
        if msn > growing + 1:
            return True
        part_ms = window.target.part_target_ms
        limit = 3 if part_ms >= 1000 else -(-_ADVANCE_LIMIT_MS // part_ms)
        newest = parts - 1 if msn == growing else -1
        return msn >= growing and part > newest + limit

    def _answer_waiters(self) -> None:
        if self._starting and self.window.is_ready:
            self._slicer.submit(self._start(self._starting))
            self._starting = []
        ready: list[Waiter] = []
        if self._next and self._is_there(*self._next_place):
            ready, self._next = self._next, []
        kept = []
        place, is_there = (NO_DIRECTIVE, NO_DIRECTIVE), False
        for waiter in self._waiters:
            # Those who wait for the same stand together.
            if (asked := (waiter.msn, waiter.part)) != place:
                place, is_there = asked, self._is_there(waiter.msn, waiter.part)
            if is_there:
                ready.append(waiter)
            elif waiter.is_waiting:
                kept.append(waiter)
        self._waiters = kept
        if ready:
            self._resume(ready, self.playlist())

    def _expect(self) -> None:
        """Prepares for those who ask for what the playlist of now lets them expect."""
        window, place = self.window, self.window.hint
        if not window.is_ready or window.ended or place is None:
            self._next_query = None
        elif place != self._next_place or self._next_query is None:
            # Whoever is left asked for a part that did not come, as the segment ended before it.
            self._waiters += self._next
            self._next = []
            self._next_place = place
            self._next_query = b"_HLS_msn=%d&_HLS_part=%d" % place
            self._next_hold_ns = self._hold_ns

    def _resume(self, waiters: list[Waiter], reply: Reply) -> None:
        if waiters:
            self._slicer.submit(hand_out(waiters, reply, self._stats))

    def _sweep(self, waiters: list[Waiter], now_ns: int, reply: Reply) -> list[Waiter]:
        late = [waiter for waiter in waiters if waiter.deadline_ns <= now_ns and waiter.is_waiting]
        self._stats.timeouts += len(late)
        self._resume(late, reply)
        return [waiter for waiter in waiters if waiter.deadline_ns > now_ns and waiter.is_waiting]

    def _start(self, starting: list[tuple[Waiter, Callable[[], Reply]]]) -> Iterator[None]:
        """A job for the slicer: the answers differ, as each viewer has its own session."""
        for waiter, make in starting:
            yield from hand_out([waiter], make(), self._stats)
