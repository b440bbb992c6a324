"""From the bodies that a stream's destinations share to the messages of one connection."""

from collections.abc import Iterable
from typing import Final, Protocol

from streamserver.feeds.body import Body, Header
from streamserver.hub.readers import Reader
from streamserver.log import Log
from streamserver.media import flv_writer
from streamserver.outputs.destinations.runs import Shared, SharedRuns
from streamserver.rtmp.chunk_encoder import MediaItem, Run
from streamserver.rtmp.message import AUDIO, VIDEO

__all__ = ["Publishes", "Sender"]

_MEDIA: Final = frozenset({AUDIO, VIDEO})
_MASK: Final = 0xFFFFFFFF


class Publishes(Protocol):
    """A client session that the far side lets publish."""

    def send_run(self, items: Iterable[MediaItem]) -> bool:
        """See `ClientSession.send_run`."""

    def send_shared(self, run: Run, origin_ms: int) -> bool:
        """See `ClientSession.send_shared`."""

    def send_metadata(self, values: dict[str, float | str | bool]) -> bool:
        """See `ClientSession.send_metadata`."""


class Sender:
    """Begins at a keyframe with metadata and sequence headers, at time 0.

    What lags beyond its bound is passed over up to the newest keyframe, and counted. Headers come
    again only where they changed: the same bytes make some decoders start over.
    """

    def __init__(
        self, log: Log[Body], session: Publishes, *, max_lag_ms: int, runs: SharedRuns | None = None
    ) -> None:
        """``runs`` are those of all who send this log; without them it cuts for itself."""
        self.resets = 0
        """How often something was passed over."""
        self.dropped = 0
        """Bodies that were passed over since the first was sent."""
        self.sent_ms = 0
        """Log time up to which media was sent."""
        self._log = log
        self._session = session
        self._runs = runs
        self._reader = Reader(log, max_lag_ms=max_lag_ms)
        self._header: Header | None = None
        self._origin_ms: int | None = None
        self._jumped = 0
        self._skipped = 0

    @property
    def origin_ms(self) -> int | None:
        """Log time of what was sent first, which is time 0 of the far side; None before."""
        return self._origin_ms

    @property
    def newest_ms(self) -> int:
        """Log time of the newest body there is."""
        newest = self._log.get(self._log.end - 1)
        return self.sent_ms if newest is None else newest.time_ms

    @property
    def done(self) -> bool:
        """Whether the log is over and everything of it was sent."""
        return self._log.closed is not None and self._reader.position >= self._log.end

    @property
    def behind(self) -> bool:
        """Whether something is there that has not been sent."""
        return self._reader.position < self._log.end

    def pump(self, room_bytes: int) -> bool:
        """Hands what is there to the session while there is room; whether anything was."""
        reader, runs = self._reader, self._runs
        shared = runs.at(reader.position) if runs is not None else None
        if shared is not None and self._follow(shared, room_bytes):
            return True
        items = reader.read(room_bytes=room_bytes)
        self._account()
        if not items:
            return False
        if self._origin_ms is None:
            self._origin_ms = items[0].time_ms
        run: list[MediaItem] = []
        origin_ms, sent_ms = self._origin_ms, self.sent_ms
        for item in items:
            time_ms = item.time_ms
            # Sound may be a little older than the keyframe that it comes after.
            timestamp = (time_ms - origin_ms) & _MASK if time_ms > origin_ms else 0
            if item.header is not self._header:
                self._session.send_run(run)
                run = []
                self._send_header(item.header, timestamp)
            if item.is_media:
                run.append((item.kind, timestamp, item.head + item.data))
                if time_ms > sent_ms:
                    sent_ms = time_ms
        self._session.send_run(run)
        self.sent_ms = sent_ms
        return True

    def stands_at(self, position: int) -> bool:
        """Whether what comes next is the body at a position, keyframe or not."""
        return self._reader.position == position and not self._reader.waits_for_keyframe

    def was_sent(self, position: int, time_ms: int) -> None:
        """All up to a position, with ``time_ms`` the latest time in it, was sent past this one."""
        self._reader.advance(position)
        self.sent_ms = max(self.sent_ms, time_ms)

    def _follow(self, shared: Shared, room_bytes: int) -> bool:
        """Sends what all others send, if it is what comes next here."""
        reader, origin_ms = self._reader, self._origin_ms
        first, last, run, header, time_ms = shared
        # One message may cross the bound, as in `Reader.read`.
        fits = len(run.data) <= room_bytes or (last - first == 1 and room_bytes > 0)
        if (
            not fits
            or self._header is not header
            or origin_ms is None
            or reader.waits_for_keyframe
            or not self._session.send_shared(run, origin_ms)
        ):
            return False
        reader.advance(last)
        if time_ms > self.sent_ms:
            self.sent_ms = time_ms
        return True

    def _send_header(self, header: Header, timestamp: int) -> None:
        before, self._header = self._header, header
        if before is not None and before.bodies == header.bodies:
            return
        self._session.send_metadata(flv_writer.metadata(header.tracks))
        bodies = [(kind, timestamp, data) for kind, data in header.bodies if kind in _MEDIA]
        self._session.send_run(bodies)

    def _account(self) -> None:
        reader = self._reader
        if self._origin_ms is not None and not reader.waits_for_keyframe:
            self.dropped += reader.skipped - self._skipped
            self.resets += reader.jumps - self._jumped
        elif self._origin_ms is not None:
            return  # counted in one piece, when a keyframe ends the gap
        self._skipped = reader.skipped
        self._jumped = reader.jumps
