"""What came since the last round, cut and joined once for all destinations that are level."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from streamserver.feeds.body import Body, Header
from streamserver.log import Log
from streamserver.outputs.destinations.line import Line, Mark
from streamserver.rtmp.chunk_encoder import MediaItem, Run
from streamserver.rtmp.client import MEDIA_CSIDS
from streamserver.rtmp.client_settings import CLIENT_BOUNDS
from streamserver.rtmp.runs import RunCutter

__all__ = ["Shared", "SharedRuns"]

_MOST_BYTES: Final = 120 * 1024
"""In one run: with its headers it fits an empty transport (`PushSettings.max_unsent_bytes`)."""


class Shared(NamedTuple):
    """Bodies from one position of the log to another, with one header, as chunks."""

    first: int
    last: int
    run: Run
    header: Header
    time_ms: int
    """The latest time in it."""


class SharedRuns:
    """Follows one log of bodies. Holds what came last, in runs."""

    def __init__(self, log: Log[Body]) -> None:
        self.round = -1
        """The last one in which the feed was asked for more; see `Rounds.number`."""
        self._log = log
        self._cutter = RunCutter(MEDIA_CSIDS, CLIENT_BOUNDS.chunk_size)
        self._header: Header | None = None
        self._end = log.end
        self._runs: dict[int, Shared] = {}
        """What came last, by where each run begins."""
        self.line = self._begin_line()
        """What everybody who is level is sent."""

    def next_round(self, number: int, pump: Callable[[], object]) -> None:
        """Asks the feed for more, and goes on with the line. Once in each round, see `round`."""
        self.round = number
        line = self.line
        line.rest()
        pump()
        if not self._go_on(line):
            self.line = self._begin_line()

    def _go_on(self, line: Line) -> bool:
        """Adds what came to the line; whether all of it could be."""
        log = self._log
        found: list[Shared] = []
        position, time_ms, total_bytes, tails = line.last
        while position < log.end:
            shared = self.at(position)
            if shared is None:
                return False
            found.append(shared)
            position = shared.last
        if log.closed is not None:
            return False
        for _, position, run, _, latest_ms in found:
            total_bytes += len(run.data)
            time_ms = max(time_ms, latest_ms)
            tails = {**tails, **run.after}
            line.add(run.data, Mark(position, time_ms, total_bytes, tails))
        return True

    def _begin_line(self) -> Line:
        return Line(Mark(self._end, 0, 0, dict(self._cutter.tails)))

    def at(self, position: int) -> Shared | None:
        """The run of what came last that begins at a position; None where there is none, and
        everybody has to cut for himself."""
        end = self._log.end
        if end != self._end:
            first, self._end = self._end, end
            self._runs = {run.first: run for run in self._cut_all(first)}
        return self._runs.get(position)

    def _cut_all(self, first: int) -> Iterator[Shared]:
        log = self._log
        items = log.since(first)
        if first < log.start:
            self._header = None
            first = log.start
        begin = size = 0
        for index, item in enumerate(items):
            length = len(item.head) + len(item.data)
            size += length
            if size > _MOST_BYTES and index > begin:
                yield from self._cut(first + begin, items[begin:index])
                begin, size = index, length
        yield from self._cut(first + begin, items[begin:])

    def _cut(self, first: int, items: Sequence[Body]) -> Iterator[Shared]:
        """One run, if everybody can send it."""
        header, whole = self._header, True
        self._header = items[-1].header
        pieces: list[MediaItem] = []
        latest_ms = 0
        for kind, time_ms, data, _, before, is_media, head in items:
            if before is not header or not is_media:
                # Headers are for each destination to send: not all of them need the same.
                whole = False
            pieces.append((kind, time_ms, head + data))
            latest_ms = max(latest_ms, time_ms)
        if not whole or header is None:
            self._cutter.forget()
            return
        run = self._cutter.cut(pieces)
        if run is not None:
            yield Shared(first, first + len(items), run, header, latest_ms)
