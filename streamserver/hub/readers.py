"""A reader: a position in a log, with bounds on how far it may lag and how much it may hold."""

from typing import Generic, TypeVar

from streamserver.log import Log

__all__ = ["Reader"]

T = TypeVar("T")


class Reader(Generic[T]):
    """Walks a log forward, jumping to the newest keyframe when it lags beyond its bound.

    Every position is either delivered or counted in ``skipped``, in order, once. The reader
    holds no items; what its transport holds is told to `read` and counts against the bound.
    """

    __slots__ = ("_log", "_waits", "delivered", "jumps", "max_lag_ms", "position", "skipped")

    def __init__(self, log: Log[T], *, max_lag_ms: int, from_start: bool = False) -> None:
        """Begins at the newest keyframe, or at the oldest item with ``from_start``.

        Without a keyframe in the log it waits for the next one.
        """
        self._log = log
        self.max_lag_ms = max_lag_ms
        self.delivered = 0
        self.skipped = 0
        self.jumps = 0
        keyframe = log.newest_keyframe
        self.position = log.start if from_start else log.end if keyframe is None else keyframe
        self._waits = keyframe is None and not from_start

    @property
    def lag_ms(self) -> int:
        """How far the next item lies behind the newest, in milliseconds."""
        return self._log.age_ms(self.position) if self.position < self._log.end else 0

    @property
    def waits_for_keyframe(self) -> bool:
        """Whether nothing will be delivered before the next keyframe."""
        return self._waits

    def read(self, *, room_bytes: int, max_items: int | None = None) -> list[T]:
        """The next items while the transport has room, and moves behind them.

        ``room_bytes`` is the bound of the transport less what it holds; the item that crosses it
        is still delivered, so the bound holds to within one item.
        """
        self._keep_up()
        if room_bytes <= 0 or self._waits:
            return []
        log, position = self._log, self.position
        last = log.end if max_items is None else min(log.end, position + max_items)
        if log.size_between(position, last) > room_bytes:
            last = self._fitting(position, last, room_bytes)
        items = log.since(position, last - position)
        self.position = last
        self.delivered += len(items)
        return items

    def advance(self, position: int) -> None:
        """Counts everything up to a position as delivered: the caller had it already."""
        self.delivered += position - self.position
        self.position = position

    def skip_to_keyframe(self) -> None:
        """Gives up what is unread and continues at the next keyframe to come, or a newer one."""
        self._jump(self._log.keyframe_after(self.position + 1))

    def _keep_up(self) -> None:
        log = self._log
        if self._waits:
            keyframe = log.keyframe_after(self.position)
            self._move(log.end if keyframe is None else keyframe)
            self._waits = keyframe is None
            return
        if self.position < log.start:
            # Evicted before it was read: only a keyframe lets a decoder continue.
            self._jump(log.newest_keyframe)
        elif log.age_ms(self.position) > self.max_lag_ms and self.position < log.end:
            newest = log.newest_keyframe
            # Without a newer keyframe a jump would gain nothing: read on from here.
            if newest is not None and newest > self.position:
                self._jump(newest)

    def _jump(self, keyframe: int | None) -> None:
        self.jumps += 1
        self._waits = keyframe is None
        self._move(self._log.end if keyframe is None else keyframe)

    def _move(self, position: int) -> None:
        self.skipped += position - self.position
        self.position = position

    def _fitting(self, first: int, last: int, room_bytes: int) -> int:
        """The first position behind the item that crosses the room."""
        log = self._log
        while first < last and room_bytes > 0:
            room_bytes -= log.size_between(first, first + 1)
            first += 1
        return first
