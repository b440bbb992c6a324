"""A bounded, append-only sequence that is read by position: the one idea of this server."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from streamserver.errors import LocalProtocolError

__all__ = ["Feeder", "Log"]

T = TypeVar("T")

_NEVER: Final = -(1 << 62)
"""Before every log time: nobody wants quiet."""

_LARGE_BYTES: Final = 256 * 1024
"""An item that always wakes: what is unread may not outgrow the log meanwhile."""

_COMPACT_AFTER: Final = 256
"""Dead slots at the head of the list that are worth moving the rest for."""

_RUN: Final = 8
"""Items from which on a run is quicker looked at as a whole than one by one."""


class Feeder(Protocol):
    """Whoever appends, where something may be held back for who does not ask."""

    def hurry(self) -> None:
        """Somebody new reads: nothing is held back until it is known what suffices."""

    def look(self) -> bool:
        """Somebody wants what there is now: it is appended here, or in the next turn of the loop.

        Answers whether the latter may be.
        """


class Log(Generic[T]):
    """Items with positions that never restart and are never reused.

    Appending beyond a bound evicts from the head; where one group of pictures exceeds the bound,
    the bound wins and the group loses its keyframe. Reading never changes the log.

    ``schedule`` is called with a function at the first append after the wakers last ran; whoever
    drives the log runs it at the end of the loop's turn, so that a burst of appends wakes each
    reader once.
    """

    __slots__ = (
        "_at", "_base", "_bytes", "_closed", "_followed", "_head", "_hurried", "_items",
        "_keyframes", "_pending", "_quiet", "_quiet_until_ms", "_schedule", "_sizes", "_unheard",
        "_wakers", "evicted", "feeder", "max_bytes", "max_ms",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_ms: int,
        max_bytes: int,
        schedule: Callable[[Callable[[], None]], None],
        first: int = 0,
    ) -> None:
        self.max_ms = max_ms
        self.max_bytes = max_bytes
        self.evicted = 0
        self._schedule = schedule
        self._items: list[T] = []
        self._sizes: list[int] = []
        self._at: list[int] = []
        self._base = first
        self._head = 0
        self._bytes = 0
        self._keyframes: deque[int] = deque()
        self._wakers: dict[object, Callable[[], None]] = {}
        self._quiet: dict[object, Callable[[], int]] = {}
        self._hurried: dict[object, Callable[[], bool]] = {}
        self._followed: dict[object, Callable[[], bool]] = {}
        self.feeder: Feeder | None = None
        """Who holds something back now and then; None while nobody does."""
        self._quiet_until_ms = _NEVER
        # Bytes that came since the wakers last ran.
        self._unheard = 0
        self._pending = False
        self._closed: str | None = None

    @property
    def start(self) -> int:
        """The position of the oldest item still held; equals `end` when the log is empty."""
        return self._base + self._head

    @property
    def end(self) -> int:
        """The position that the next item will get."""
        return self._base + len(self._items)

    @property
    def bytes(self) -> int:
        """The sum of the sizes of all items held."""
        return self._bytes

    @property
    def span_ms(self) -> int:
        """Milliseconds between the oldest and the newest item held."""
        return self._at[-1] - self._at[self._head] if self._head < len(self._at) else 0

    @property
    def closed(self) -> str | None:
        """Why nothing will be appended any more, or None."""
        return self._closed

    @property
    def newest_keyframe(self) -> int | None:
        """The position of the newest keyframe still held."""
        return self._keyframes[-1] if self._keyframes else None

    @property
    def hurried(self) -> bool:
        """Whether somebody wants every item as soon as it comes, large or small."""
        return any(hurried() for hurried in self._hurried.values())

    @property
    def followed(self) -> bool:
        """Whether somebody waits for what a quiet reader makes of the items."""
        return any(followed() for followed in self._followed.values())

    def append(self, item: T, *, size: int, at_ms: int, keyframe: bool = False) -> int:
        """Adds an item and answers its position.

        ``size`` is what it weighs against ``max_bytes``, ``at_ms`` its time against ``max_ms``,
        ``keyframe`` whether a reader can begin there. Raises `LocalProtocolError` once closed.
        """
        if self._closed is not None:
            raise LocalProtocolError(f"append to a closed log ({self._closed})")
        position = self._base + len(self._items)
        self._items.append(item)
        self._sizes.append(size)
        self._at.append(at_ms)
        self._bytes += size
        self._unheard += size
        if keyframe:
            self._keyframes.append(position)
        if self._bytes > self.max_bytes or at_ms - self._at[self._head] > self.max_ms:
            self._evict(at_ms)
        if (
            self._wakers
            and not self._pending
            and (
                at_ms >= self._quiet_until_ms
                or keyframe
                or size >= _LARGE_BYTES
                or self._unheard > self.max_bytes >> 3
            )
        ):
            self._wake_soon()
        return position

    def extend(
        self,
        items: Sequence[T],
        *,
        sizes: Sequence[int],
        at_ms: Sequence[int],
        keyframes: Sequence[int] = (),
    ) -> None:
        """Adds a run of items, with the same effect as `append` of each in turn.

        ``sizes`` and ``at_ms`` have a number for each item, ``keyframes`` the index in the run of
        each item that a reader can begin with. Raises `LocalProtocolError` once closed.
        """
        if not items:
            return
        if self._closed is not None:
            raise LocalProtocolError(f"append to a closed log ({self._closed})")
        last = len(self._items)
        self._items += items
        self._sizes += sizes
        self._at += at_ms
        size, newest_ms = sum(sizes), max(at_ms)
        self._unheard += size
        for index in keyframes:
            self._keyframes.append(self._base + last + index)
        if len(items) < _RUN or not self._admit_run(size, newest_ms):
            self._admit(last)
        if (
            self._wakers
            and not self._pending
            and (
                keyframes
                or newest_ms >= self._quiet_until_ms
                or max(sizes) >= _LARGE_BYTES
                or self._unheard > self.max_bytes >> 3
            )
        ):
            self._wake_soon()

    def get(self, position: int) -> T | None:
        """The item at a position, or None when it is evicted or not there yet."""
        index = position - self._base
        return self._items[index] if self._head <= index < len(self._items) else None

    def since(self, position: int, limit: int | None = None) -> list[T]:
        """The items from a position (or the oldest one held) on, at most ``limit`` of them."""
        index = max(position - self._base, self._head)
        return self._items[index : None if limit is None else index + limit]

    def size_between(self, first: int, last: int) -> int:
        """Bytes held in positions ``first`` up to, not including, ``last``."""
        low = max(first - self._base, self._head)
        return sum(self._sizes[low : max(last - self._base, low)])

    def age_ms(self, position: int) -> int:
        """How far the item at a position lies behind the newest, in milliseconds."""
        index = max(position - self._base, self._head)
        return self._at[-1] - self._at[index] if index < len(self._at) else 0

    def keyframe_before(self, position: int) -> int | None:
        """The newest keyframe held at or before a position."""
        index = bisect_right(self._keyframes, position)
        return self._keyframes[index - 1] if index else None

    def keyframe_after(self, position: int) -> int | None:
        """The oldest keyframe held at or after a position."""
        index = bisect_left(self._keyframes, position)
        return self._keyframes[index] if index < len(self._keyframes) else None

    def wake(
        self,
        waker: Callable[[], None],
        *,
        quiet_until_ms: Callable[[], int] | None = None,
        hurried: Callable[[], bool] | None = None,
        followed: Callable[[], bool] | None = None,
    ) -> Callable[[], None]:
        """Calls ``waker`` once per turn in which something was appended, or the log closed.

        ``quiet_until_ms`` is asked after each wake and answers the log time before which this
        waker would have nothing to do: it may be spared appends before it that are neither
        keyframes nor large, and together less than an eighth of what the log may hold.
        ``hurried`` is asked now and then whether items may not come a few milliseconds later;
        who is quiet is not, and all others are. ``followed`` is asked likewise whether anybody
        waits for what this waker makes; without it nobody does.
        Answers the function that takes the waker off again.
        """
        token = object()
        self._wakers[token] = waker
        if quiet_until_ms is not None:
            self._quiet[token] = quiet_until_ms
        else:
            self._hurried[token] = hurried or (lambda: True)
        if followed is not None:
            self._followed[token] = followed
        self.end_quiet()

        def off() -> None:
            self._wakers.pop(token, None)
            self._quiet.pop(token, None)
            self._hurried.pop(token, None)
            self._followed.pop(token, None)

        return off

    def end_quiet(self) -> None:
        """Whoever wanted quiet has changed its mind: the next append wakes."""
        self._quiet_until_ms = _NEVER
        if self.feeder is not None:
            self.feeder.hurry()

    def ask(self) -> bool:
        """Has what is held back appended; see `Feeder.look`."""
        return self.feeder is not None and self.feeder.look()

    def close(self, reason: str) -> None:
        """Ends the log; what is held stays readable. A second close does nothing."""
        if self._closed is None:
            self._closed = reason
            if self._wakers and not self._pending:
                self._wake_soon()

    def _wake_soon(self) -> None:
        self._pending = True
        self._schedule(self._wake_now)

    def _wake_now(self) -> None:
        self._pending = False
        self._unheard = 0
        for waker in list(self._wakers.values()):
            waker()
        quiet = self._quiet
        if quiet and len(quiet) == len(self._wakers):
            self._quiet_until_ms = min(until_ms() for until_ms in quiet.values())
        else:
            self._quiet_until_ms = _NEVER

    def _evict(self, now_ms: int) -> None:
        head, last = self._head, len(self._items) - 1
        while head < last and (
            self._bytes > self.max_bytes or now_ms - self._at[head] > self.max_ms
        ):
            self._bytes -= self._sizes[head]
            # Let go of the item at once; the slot is reclaimed in bulk.
            self._items[head] = None  # type: ignore[assignment]  # a slot that is dead
            head += 1
        if head != self._head:
            self._behead(head)

    def _admit_run(self, size: int, newest_ms: int) -> bool:
        """Counts a run that was added, and evicts for it as a whole what became too old.

        With the same effect as `_admit`. Answers False, and has done nothing, where that could be
        another: the bound of bytes is reached, or times do not grow.
        """
        at, head = self._at, self._head
        held, oldest_ms = self._bytes + size, newest_ms - self.max_ms
        if held > self.max_bytes:
            return False
        if at[head] < oldest_ms:
            until = bisect_left(at, oldest_ms, head)
            if max(at[head:until]) >= oldest_ms:
                return False
            held -= sum(self._sizes[head:until])
            self._items[head:until] = [None] * (until - head)  # type: ignore[list-item]  # dead slots
            self._behead(until)
        self._bytes = held
        return True

    def _admit(self, first: int) -> None:
        """Counts the items from an index on, and evicts for each what the bounds demand."""
        items, sizes, at = self._items, self._sizes, self._at
        max_bytes, max_ms = self.max_bytes, self.max_ms
        held, head = self._bytes, self._head
        for index in range(first, len(items)):
            held += sizes[index]
            oldest_ms = at[index] - max_ms
            while head < index and (held > max_bytes or at[head] < oldest_ms):
                held -= sizes[head]
                items[head] = None  # type: ignore[assignment]  # a slot that is dead
                head += 1
        self._bytes = held
        if head != self._head:
            self._behead(head)

    def _behead(self, head: int) -> None:
        """Everything before an index was evicted."""
        self.evicted += head - self._head
        self._head = head
        while self._keyframes and self._keyframes[0] < self._base + head:
            self._keyframes.popleft()
        if head >= _COMPACT_AFTER and head * 2 >= len(self._items):
            del self._items[:head], self._sizes[:head], self._at[:head]
            self._base += head
            self._head = 0
