"""What came since the last round, cut and joined once for all destinations that are level."""

from typing import Final, NamedTuple

from streamserver.feeds.body import Body, Header
from streamserver.log import Log
from streamserver.rtmp.chunk import MediaItem, Run
from streamserver.rtmp.client import MEDIA_CSIDS
from streamserver.rtmp.client_settings import CLIENT_BOUNDS
from streamserver.rtmp.runs import RunCutter

__all__ = ["Shared", "SharedRuns"]

_MOST_BYTES: Final = 128 * 1024
"""More than that is a burst, or so many bits that headers and calls matter no more."""


class Shared(NamedTuple):
    """Bodies from one position of the log to another, with one header, as chunks."""

    first: int
    last: int
    run: Run
    header: Header
    time_ms: int
    """The latest time in it."""


class SharedRuns:
    """Follows one log of bodies. Holds one run of it, the newest."""

    def __init__(self, log: Log[Body]) -> None:
        self.round = -1
        """The last one in which the feed was asked for more; see `Rounds.number`."""
        self._log = log
        self._cutter = RunCutter(MEDIA_CSIDS, CLIENT_BOUNDS.chunk_size)
        self._header: Header | None = None
        self._end = log.end
        self._newest: Shared | None = None

    def newest(self) -> Shared | None:
        """What the log got last; None where everybody has to cut for himself."""
        end = self._log.end
        if end != self._end:
            first, self._end = self._end, end
            self._newest = self._cut(first, end)
        return self._newest

    def _cut(self, first: int, end: int) -> Shared | None:
        log, header = self._log, self._header
        items = log.since(first)
        self._header = items[-1].header
        whole = first >= log.start and log.size_between(first, end) <= _MOST_BYTES
        pieces: list[MediaItem] = []
        latest_ms = 0
        for kind, time_ms, data, _, before, is_media in items:
            if before is not header or not is_media:
                # Headers are for each destination to send: not all of them need the same.
                whole = False
            pieces.append((kind, time_ms, data))
            latest_ms = max(latest_ms, time_ms)
        if not whole or header is None:
            self._cutter.forget()
            return None
        run = self._cutter.cut(pieces)
        return None if run is None else Shared(first, end, run, header, latest_ms)
