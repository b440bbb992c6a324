"""MPEG-TS on demand: while somebody asks for its playlist, each finished segment is remuxed."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from streamserver.errors import LimitError, ShuttingDownError
from streamserver.hub.slicer import Slicer
from streamserver.media.track import Track
from streamserver.outputs.hls.delivery import NOT_FOUND, NOT_YET, HlsDelivery
from streamserver.outputs.hls.playlist import plain_playlist
from streamserver.outputs.hls.replies import IMMUTABLE, MP2T, PLAYLIST, Reply, problem
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.waiters import Counted, Parking, Waiter, hand_out
from streamserver.outputs.hls.window import NamedInit, Segment

__all__ = ["TS_OVERHEAD_PERCENT", "Remux", "Supports", "TsFeed"]

TS_OVERHEAD_PERCENT: Final = 10
"""By how much MPEG-TS is larger than CMAF, headers and stuffing, for BANDWIDTH."""

Remux = Callable[[bytes, bytes, dict[int, int]], Awaitable[bytes]]
"""``remux(init, media, counters)`` makes one MPEG-TS segment off the loop, and moves the
continuity counters (by PID) on. May raise `LimitError` when it has too much to do."""

Supports = Callable[[tuple[Track, ...]], str | None]
"""Why MPEG-TS cannot carry these tracks, or None."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    segment: Segment
    uri: str
    size: int


class TsFeed:
    """The MPEG-TS segments of one broadcast, made in order, under the same sequence numbers.

    One task runs while there is something to make. Segments leave with those of the window.
    The playlist lists the newest run without a gap.
    """

    def __init__(
        self,
        delivery: HlsDelivery,
        remux: Remux,
        supports: Supports,
        *,
        settings: HlsSettings,
        parking: Parking,
        slicer: Slicer,
        now_ns: int,
    ) -> None:
        self.last_asked_ns = now_ns
        self._delivery = delivery
        self._remux = remux
        self._supports = supports
        self._settings = settings
        self._parking = parking
        self._stats: HlsStats = parking.stats
        self._slicer = slicer
        self._made: deque[_Made] = deque()
        self._tried = 0
        self._caught_up = False
        self._init: NamedInit | None = None
        self._counters: dict[int, int] = {}
        self._reply: Reply | None = None
        self._waiters: list[Waiter] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes of media in memory."""
        return sum(made.size for made in self._made)

    def poke(self) -> None:
        """The window may have changed: makes what is new, lets go of what is old."""
        window = self._delivery.window
        while self._made and self._made[0].segment.msn < window.oldest_msn:
            self._delivery.directory.withdraw(self._made.popleft().uri)
        self._reply = None
        self._settle()
        if self._task is None and self._next() is not None and self.refusal() is None:
            self._task = asyncio.create_task(self._work(), name="hls ts")

    def ask(self, owner: Counted | None, now_ns: int) -> Reply | Waiter:
        """The playlist, once every segment of the window is made."""
        self.last_asked_ns = now_ns
        answer = self._answer()
        if answer is not None:
            return answer
        self.poke()
        waiter = self._parking.enter(owner, now_ns + self._settings.start_hold_ms * 1_000_000)
        if isinstance(waiter, Waiter):
            self._waiters.append(waiter)
        return waiter

    def refusal(self) -> Reply | None:
        """The answer when MPEG-TS cannot carry the stream's codecs."""
        init = self._delivery.window.init
        if init is None:
            return None
        reason = self._supports(init.init.tracks)
        return None if reason is None else problem(406, reason)

    def tick(self, now_ns: int) -> bool:
        """Answers those whose time is over; False when nobody has asked for long."""
        late = [w for w in self._waiters if w.deadline_ns <= now_ns and w.is_waiting]
        self._waiters = [w for w in self._waiters if w.deadline_ns > now_ns and w.is_waiting]
        self._stats.timeouts += len(late)
        self._resume(late, NOT_YET)
        linger_ns = self._settings.ts_linger_ms * 1_000_000
        return bool(self._waiters) or now_ns - self.last_asked_ns < linger_ns

    def expel(self, owner: Counted, reply: Reply) -> None:
        """Answers what one viewer waits for."""
        self._resume([waiter for waiter in self._waiters if waiter.owner is owner], reply)

    def close(self) -> None:
        """Stops making, takes the names away, and answers whoever still waits with 404."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        while self._made:
            self._delivery.directory.withdraw(self._made.popleft().uri)
        waiters, self._waiters = self._waiters, []
        self._resume(waiters, NOT_FOUND)

    def _answer(self) -> Reply | None:
        """The playlist, or None while there is still something to make before the first one."""
        refusal = self.refusal()
        if refusal is not None:
            return refusal
        if self._reply is None:
            run = self._run()
            if not run or not self._caught_up:
                return NOT_FOUND if self._is_over and not run else None
            self._reply = self._render(run)
        return self._reply

    @property
    def _is_over(self) -> bool:
        return self._delivery.window.ended and self._task is None and self._next() is None

    def _next(self) -> Segment | None:
        """The oldest listed segment that was not tried yet."""
        for segment in self._delivery.window.listed:
            if segment.msn > self._tried:
                return segment
        return None

    def _run(self) -> list[_Made]:
        """The newest segments that follow each other without a gap, and are listed."""
        listed = self._delivery.window.listed
        run: list[_Made] = []
        for made in reversed(self._made):
            msn = made.segment.msn
            if msn < listed[0].msn or (run and run[-1].segment.msn != msn + 1):
                break
            run.append(made)
        run.reverse()
        return run

    def _render(self, run: list[_Made]) -> Reply:
        delivery = self._delivery
        text = plain_playlist(
            [made.segment for made in run],
            [delivery.media_prefix + made.uri for made in run],
            target_duration_s=delivery.window.target_duration_s,
            wall_origin_ms=delivery.wall_origin_ms,
            ended=self._is_over,
        )
        return Reply(200, PLAYLIST, delivery.playlist_cache, text.encode(), compress=True)

    async def _work(self) -> None:
        try:
            while (segment := self._next()) is not None:
                if not await self._make(segment):
                    return
            self._caught_up = True
        finally:
            self._task = None
            self._reply = None
            self._settle()

    async def _make(self, segment: Segment) -> bool:
        """Makes one segment; False to try again when the next one is finished."""
        # A decoder starts anew at a discontinuity, and so do the counters.
        fresh = segment.init is not self._init or segment.discontinuity
        counters = {} if fresh else dict(self._counters)
        try:
            data = await self._remux(segment.init.init.data, segment.media(), counters)
        except (LimitError, ShuttingDownError):
            return False
        except Exception as error:  # One segment that FFmpeg refuses must not end the playlist.
            self._tried = segment.msn
            self._stats.ts_failures += 1
            logger.warning("segment %d could not be made MPEG-TS: %s", segment.msn, error)
            return True
        self._tried = segment.msn
        self._init = segment.init
        self._counters = counters
        self._stats.ts_segments += 1
        window = self._delivery.window
        if segment.msn >= window.oldest_msn:
            uri = f"{window.token}/{segment.msn}.ts"
            self._delivery.directory.publish(uri, Reply(200, MP2T, IMMUTABLE, data))
            self._made.append(_Made(segment, uri, len(data)))
            self._reply = None
        return True

    def _settle(self) -> None:
        """Answers those who wait for the first playlist, once it can be made."""
        if not self._waiters:
            return
        answer = self._answer()
        if answer is not None:
            waiters, self._waiters = self._waiters, []
            self._resume(waiters, answer)

    def _resume(self, waiters: list[Waiter], reply: Reply) -> None:
        if waiters:
            self._slicer.submit(hand_out(waiters, reply, self._stats))
