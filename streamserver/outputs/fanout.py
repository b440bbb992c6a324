"""The fan-out: what a feed has got is joined once, and the same bytes go to every viewer.

::

    feed.log:  … x x x | x x x x x |          one join is one ``bytes`` object
                       ^first      ^head

Viewers at ``first`` get the join by one write each, in the turns of the slicer. All others read on
their own, up to ``head``, where they fall in with the rest.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from streamserver.feeds.body import Header
from streamserver.feeds.framed import Framed, FramedFeed
from streamserver.hub.readers import Reader
from streamserver.hub.slicer import Slicer
from streamserver.outputs.blocks import Block, join_block, join_blocks
from streamserver.outputs.fanout_settings import FanOutSettings, FanOutStats
from streamserver.outputs.rows import LeftOut, Rows
from streamserver.outputs.viewer import Choose, Place, Viewer

__all__ = ["FanOut", "FanOutSettings", "FanOutStats", "Later"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MS: Final = 1_000_000
_AT_ONCE: Final = 8
"""So many viewers are written to as soon as something comes."""

_MS_PER_VIEWER: Final = 2.5
"""From there on each adds so many milliseconds: 48 viewers are written to ten times a second."""

_PATIENT_MS: Final = 20
"""Where what comes is joined for so long, a timer looks for it, and nothing wakes the fan-out in
between. The publisher is asked for what it has just before that (`Log.ask`)."""

_JUMP_AFTER_MS: Final = 3_000
"""A viewer that is so far behind goes on at the newest keyframe, if there is one."""

_BLOCK_BYTES: Final = 128 * 1024
"""A join that is larger goes out in several writes, so that no row of them holds the loop."""

_HELD_BYTES: Final = 256 * 1024
"""What the transport of a viewer may hold while it plays: only what it does not hold yet can be
skipped. The first group of pictures may be more."""

_FAREWELL_NS: Final = 5_000_000_000
"""How long a viewer that is behind may take for the rest, once the stream is over."""

_LONG_AGO: Final = -(1 << 62)
"""When the last join was, where the next is not to wait."""

_COUNT_EVERY_NS: Final = 1_000_000_000

Later = Callable[[int, Callable[[], None]], Callable[[], None]]
"""``later(ms, function)`` calls a function once; answers what calls it off."""


class FanOut:
    """All viewers of one feed.

    Whatever a viewer does, it costs the others nothing: its bounds are its own, and each write is
    one step of the slicer.
    """

    def __init__(
        self,
        feed: FramedFeed,
        settings: FanOutSettings,
        stats: FanOutStats,
        *,
        wake: Callable[..., Callable[[], None]],
        ask: Callable[[], bool],
        pump: Callable[[], None],
        slicer: Slicer,
        later: Later,
        now_ns: Callable[[], int],
    ) -> None:
        """``wake(waker, hurried=…)`` and ``ask`` are those of the `Log` of the stream's packets,
        and ``pump`` has the feed read them: once for each join."""
        self._feed = feed
        self._log = feed.log
        self._settings = settings
        self._held_bytes = min(_HELD_BYTES, settings.max_unsent_bytes)
        self._stats = stats
        self._pump = pump
        self._slicer = slicer
        self._later = later
        self._now_ns = now_ns
        self._head = feed.log.end
        self._viewers: dict[Viewer, None] = {}
        self._apart: dict[Viewer, None] = {}
        """Those who read on their own."""
        self._rows = Rows()
        """Those who are together."""
        self._busy = False
        self._again = False
        self._call_off: Callable[[], None] | None = None
        self._joined_ns = 0
        self._counted_ns = now_ns()
        self._over_ns: int | None = None
        self._on_append = wake
        self._ask = ask
        self._unwake: Callable[[], None] | None = None
        self._listen()
        if feed.log.closed is not None:
            self._wake()

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def join_ms(self) -> int:
        """How long what comes may wait now: nothing for a few viewers, more for many."""
        beyond = len(self._viewers) - _AT_ONCE
        return min(self._settings.max_join_ms, int(beyond * _MS_PER_VIEWER)) if beyond > 0 else 0

    def _is_hurried(self) -> bool:
        return bool(self._viewers) and self.join_ms < _PATIENT_MS

    def _listen(self) -> None:
        """Each packet wakes it from here on."""
        if self._unwake is None:
            self._unwake = self._on_append(self._wake, hurried=self._is_hurried)

    def _doze(self) -> None:
        """None does: nobody has to read the publisher packet by packet (`Log.hurried`)."""
        unwake, self._unwake = self._unwake, None
        if unwake is not None:
            unwake()

    @property
    def header(self) -> Header | None:
        """What belongs before the newest item; None while there is none."""
        newest = self._log.get(self._log.end - 1)
        return newest.header if newest is not None else None

    # ---- viewers ----------------------------------------------------------------------------

    def add(self, viewer: Viewer) -> None:
        """Lets a viewer in: it gets headers and everything from the newest keyframe at once."""
        self._viewers[viewer] = None
        self._enter(viewer)

    def remove(self, viewer: Viewer) -> None:
        """Lets a viewer go without a word. One that is not there is ignored."""
        if viewer in self._viewers:
            del self._viewers[viewer]
            self._rest(viewer)
            viewer.close_socket()

    def pause(self, viewer: Viewer, *, paused: bool) -> None:
        """Sends nothing for now, or goes on at the newest keyframe."""
        if viewer not in self._viewers or viewer.paused is paused:
            return
        viewer.paused = paused
        if paused:
            self._rest(viewer)
        else:
            self._enter(viewer)

    def choose(self, viewer: Viewer, choose: Choose | None) -> None:
        """Gives a viewer items of its own, or what all get."""
        viewer.choose = choose
        if choose is not None:
            self.part(viewer)

    def part(self, viewer: Viewer) -> None:
        """Has a viewer read on its own once: it may be that its transport holds something now."""
        if viewer in self._viewers and not viewer.paused:
            self._part(viewer)

    def close(self) -> None:
        """Forgets all viewers without a word."""
        self._doze()
        self._stop_timer()
        self._rows.clear()
        for viewer in self._viewers:
            viewer.close_socket()
        self._viewers.clear()
        self._apart.clear()

    def tick(self, now_ns: int) -> None:
        """Looks after those who are behind, a few times a second."""
        if now_ns - self._counted_ns >= _COUNT_EVERY_NS:
            self._count(now_ns)
        if self._apart and not self._busy:
            self._slicer.submit(self._catch_up())
        if self._over_ns is not None and now_ns - self._over_ns > _FAREWELL_NS:
            for viewer in list(self._viewers):
                self._let_go(viewer, self._log.closed or "the stream is over", over=True)

    def _enter(self, viewer: Viewer) -> None:
        self._pump()
        viewer.reader = reader = Reader(self._log, max_lag_ms=self._jump_after_ms())
        viewer.place = Place(reader.position, viewer.place.header, self._newest_ms())
        viewer.fresh = True
        self._apart[viewer] = None
        self._slicer.submit(self._welcome(viewer))

    def _welcome(self, viewer: Viewer) -> Iterator[None]:
        if viewer in self._apart:
            self._guard(viewer, self._serve, self._log.end)
            yield

    # ---- those who are together -------------------------------------------------------------

    def _wake(self) -> None:
        """Something came, or the stream has ended."""
        if self._busy:
            self._again = True
        elif self._call_off is None:
            now_ns = self._now_ns()
            wait_ns = self._joined_ns + self.join_ms * _MS - now_ns
            if wait_ns < _MS:
                self._begin(now_ns, self._slicer.submit)
            else:
                self._call_off = self._later(wait_ns // _MS, self._on_time)

    def _ask_first(self) -> None:
        if self._ask():
            self._call_off = self._later(0, self._between)
        else:
            self._on_time()

    def _between(self) -> None:
        """What was asked for is read between this turn of the loop and the next."""
        self._call_off = self._later(0, self._on_time)

    def _on_time(self) -> None:
        self._call_off = None
        if self._busy:
            self._again = True
            self._listen()
        else:
            self._begin(self._now_ns(), self._slicer.begin)

    def _begin(self, now_ns: int, submit: Callable[[Iterator[int]], None]) -> None:
        self._busy = True
        self._joined_ns = now_ns
        join_ms = self.join_ms
        if join_ms >= _PATIENT_MS and self._log.closed is None:
            self._doze()
            self._call_off = self._later(join_ms, self._ask_first)
        else:
            self._listen()
        submit(self._distribute())

    def _stop_timer(self) -> None:
        call_off, self._call_off = self._call_off, None
        if call_off is not None:
            call_off()

    def _distribute(self) -> Iterator[int]:
        """One join, for everybody."""
        try:
            blocks = self._cut()
            for viewer in list(self._apart):
                if viewer in self._apart:
                    self._guard(viewer, self._serve, self._head)
                    yield 1
            for block in blocks:
                yield from self._write_to_all(block)
        finally:
            self._busy = False
        if self._log.closed is not None and self._head == self._log.end:
            self._end()
        elif self._again:
            self._again = False
            self._wake()

    def _guard(self, viewer: Viewer, give: Callable[[Viewer, T], None], what: T) -> None:
        try:
            give(viewer, what)
        except Exception as error:  # Whatever its transport throws must not stop the others.
            self._failed(viewer, error)

    def _failed(self, viewer: Viewer, error: Exception) -> None:
        self._stats.failed += 1
        logger.warning("sending to %s failed: %s", viewer.session.remote_ip, error)
        self._let_go(viewer, "sending to it failed")

    def _cut(self) -> list[Block]:
        """Joins what came since the last time."""
        self._pump()
        log, first = self._log, self._head
        self._head = log.end
        if self._head == first:
            # A pause of the publisher: what ends it is not to wait for a timer, nor a timer for it.
            self._stop_timer()
            self._listen()
            self._joined_ns = _LONG_AGO
            return []
        if first < log.start:
            # More than the log holds came at once: everyone has lost something.
            for row in self._rows:
                if row.position == first:
                    for viewer in list(row.viewers):
                        self._part(viewer)
            return []
        items = log.since(first)
        if not items or len(self._apart) == len(self._viewers):
            return []
        self._stats.joins += 1
        most_bytes = min(_BLOCK_BYTES, self._held_bytes)
        if log.size_between(first, self._head) <= most_bytes:
            return [join_block(first, items)]
        return join_blocks(first, items, most_bytes)

    def _write_to_all(self, block: Block) -> Iterator[int]:
        """One block to everybody who is where it begins: a row is a step."""
        most_unsent = self._held_bytes - len(block.data)
        for row in self._rows:
            if row.position == block.first and row.viewers:
                seats = len(row.viewers)
                left_out = self._rows.write(row, block, most_unsent)
                writes = seats - sum(v.place.position == block.first for v, _ in left_out)
                self._stats.writes += writes
                if left_out:
                    self._part_with(left_out)
                yield writes

    def _part_with(self, left_out: list[LeftOut]) -> None:
        """Some are out of their row: their transport failed, is closing, or holds something."""
        for viewer, error in left_out:
            if error is not None:
                self._failed(viewer, error)
            elif viewer.transport.is_closing():
                self._let_go(viewer, "the connection was lost")
            else:
                self._part(viewer)

    # ---- those who read on their own --------------------------------------------------------

    def _part(self, viewer: Viewer) -> None:
        """From its position on, a viewer reads on its own."""
        self._rows.leave(viewer)
        if viewer.reader is None:
            reader = Reader(self._log, max_lag_ms=self._jump_after_ms(), from_start=True)
            reader.position = viewer.place.position
            viewer.reader = reader
        self._apart[viewer] = None

    def _catch_up(self) -> Iterator[None]:
        for viewer in list(self._apart):
            # A join that began meanwhile looks after them itself.
            if viewer in self._apart and not self._busy:
                self._guard(viewer, self._serve, self._head)
                yield
        if self._over_ns is not None:
            self._end()

    def _serve(self, viewer: Viewer, limit: int) -> None:
        """Gives a viewer what it has room for, up to a position; there it falls in."""
        reader, transport = viewer.reader, viewer.transport
        assert reader is not None
        if transport.is_closing():
            self._let_go(viewer, "the connection was lost")
            return
        # While it waits for a keyframe its place says nothing, and where it begins is not known.
        most = None if reader.waits_for_keyframe else max(0, limit - reader.position)
        bound = self._settings.max_unsent_bytes if viewer.fresh else self._held_bytes
        room = bound - transport.get_write_buffer_size()
        jumps = reader.jumps
        items = reader.read(room_bytes=room, max_items=most)
        self._stats.jumps += reader.jumps - jumps
        viewer.place.position = reader.position
        if items:
            self._deliver(viewer, reader, items)
        if viewer.fresh:
            return
        viewer.session.dropped_frames = viewer.dropped + reader.skipped
        together = reader.position == self._head and not reader.waits_for_keyframe
        if together and viewer.choose is None:
            self._settle(viewer)
            self._rows.enter(viewer)

    def _deliver(self, viewer: Viewer, reader: Reader[Framed], items: list[Framed]) -> None:
        parts = []
        place = viewer.place
        first, last = items[0], items[-1]
        if place.header is None:
            parts.append(self._feed.greeting(first.header))
        if viewer.fresh:
            # What passed while it waited for a keyframe is no loss.
            viewer.fresh = False
            viewer.dropped -= reader.skipped
        if first.is_media and place.header is not first.header:
            items = [*self._feed.prologue(first), *items]
        choose = viewer.choose
        if choose is None:
            parts += [piece for item in items for piece in item.pieces]
        else:
            parts += [data for item in items if (data := choose(item)) is not None]
        if data := b"".join(parts):
            viewer.write(data)
            self._stats.catch_ups += 1
        place.last_ms = last.time_ms
        # A header counts once media has followed it: a jump may have cut it short.
        if last.is_media:
            place.header = last.header

    def _settle(self, viewer: Viewer) -> None:
        """Takes the reader off, and keeps what it counted."""
        self._apart.pop(viewer, None)
        reader, viewer.reader = viewer.reader, None
        if reader is not None and not viewer.fresh:
            viewer.dropped += reader.skipped
            viewer.session.dropped_frames = viewer.dropped

    def _rest(self, viewer: Viewer) -> None:
        """Nothing more for this viewer; a join that is under way passes it over."""
        self._rows.leave(viewer)
        self._settle(viewer)
        viewer.place.position = -1

    # ---- time and the end -------------------------------------------------------------------

    def _count(self, now_ns: int) -> None:
        """Once a second: rates and lags, and who is too far behind."""
        passed_ms = max(1, (now_ns - self._counted_ns) // _MS)
        self._counted_ns = now_ns
        newest_ms = self._newest_ms()
        if not self._busy:
            # Within a join those who move would miss its rest, and never be where one begins.
            self._rows.close_up()
        for viewer in list(self._viewers):
            session = viewer.session
            session.bit_rate = (session.bytes_sent - viewer.sent_before) * 8_000 // passed_ms
            viewer.sent_before = session.bytes_sent
            if viewer.transport.is_closing():
                self._let_go(viewer, "the connection was lost")
                continue
            reader = viewer.reader
            waits = viewer.paused or (reader is not None and reader.waits_for_keyframe)
            nothing_due = waits and not viewer.transport.get_write_buffer_size()
            session.lag_ms = 0 if nothing_due else max(0, newest_ms - viewer.place.last_ms)
            if reader is not None and session.lag_ms > self._settings.max_lag_ms:
                self._stats.too_slow += 1
                self._let_go(viewer, f"it reads too slowly: {session.lag_ms} ms behind")

    def _end(self) -> None:
        """The feed is over: whoever has all is let go now, the others have a moment."""
        if self._over_ns is None:
            self._over_ns = self._now_ns()
        reason = self._log.closed or "the stream is over"
        for viewer in list(self._viewers):
            reader = viewer.reader
            behind = reader is not None and not reader.waits_for_keyframe
            if viewer.paused or not behind or viewer.place.position >= self._log.end:
                self._let_go(viewer, reason, over=True)

    def _let_go(self, viewer: Viewer, reason: str, *, over: bool = False) -> None:
        if viewer in self._viewers:
            self.remove(viewer)
            viewer.ended(reason, over)

    def _newest_ms(self) -> int:
        newest = self._log.get(self._log.end - 1)
        return newest.time_ms if newest is not None else 0

    def _jump_after_ms(self) -> int:
        return min(_JUMP_AFTER_MS, self._settings.max_lag_ms)
