"""Feeds on demand: made with their first reader, shared by all, and kept a while after the last."""

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

from streamserver.log import Log

__all__ = ["FeedHold", "FeedPool", "Pumped"]

_LINGER_NS: Final = 30_000_000_000
"""How long a feed that nobody reads goes on: viewers come back."""


class Pumped(Protocol):
    """A feed, as far as the pool drives it."""

    def pump(self) -> None:
        """Reads what its source has got since."""

    def close(self, reason: str) -> None:
        """Nothing comes any more. A second close does nothing."""


F = TypeVar("F", bound=Pumped)


class FeedHold(Generic[F]):
    """One reader's share in a feed, until it is released."""

    __slots__ = ("_pump", "_release", "feed")

    def __init__(self, feed: F, pump: Callable[[], None], release: Callable[[], None]) -> None:
        self.feed = feed
        self._pump = pump
        self._release: Callable[[], None] | None = release

    def pump(self) -> None:
        """Has the feed, and those that it is made of, read what their sources have got."""
        self._pump()

    def release(self) -> None:
        """Gives it back. A second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class _Entry:
    """A feed that runs."""

    __slots__ = ("feed", "holds", "idle_since_ns", "parent", "pushed", "unwake")

    def __init__(self, feed: Pumped, parent: "FeedHold[Any] | None") -> None:
        self.feed = feed
        self.parent = parent
        self.holds = 0
        self.pushed = 0
        self.idle_since_ns = 0
        self.unwake: Callable[[], None] | None = None


class FeedPool:
    """All feeds that hang on logs of this process.

    A feed reads its source whenever that has got something, as long as one of its readers wants
    it so; otherwise when a reader says `FeedHold.pump`, which costs less: one turn of the loop
    for many packets.

    A feed that fails is closed, which ends its readers and nothing else; the next reader makes a
    new one. One whose source is closed takes the rest and is closed with the source's reason.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        on_error: Callable[[Exception], None],
        *,
        linger_ns: int = _LINGER_NS,
    ) -> None:
        """``on_error`` is told what a feed failed with."""
        self.failures = 0
        self._now_ns = now_ns
        self._on_error = on_error
        self._linger_ns = linger_ns
        self._entries: dict[tuple[Log[Any], Hashable], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def hold(
        self,
        source: Log[Any],
        kind: Hashable,
        make: Callable[[], F],
        *,
        parent: "FeedHold[Any] | None" = None,
        push: bool = True,
    ) -> FeedHold[F]:
        """A share in the feed of a kind on a log; ``make`` is called where there is none.

        ``kind`` must tell feeds of different types apart. ``parent`` is a share in the feed whose
        log is the source; it is released with this feed. With ``push`` false the reader pumps.
        """
        key = (source, kind)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(make(), parent)
        elif parent is not None:
            parent.release()
        entry.holds += 1
        if push:
            entry.pushed += 1
            if entry.unwake is None:
                entry.unwake = source.wake(lambda: self._pump(key))
        self._pump(key)
        feed: Any = entry.feed
        return FeedHold(feed, lambda: self._pump(key), lambda: self._released(entry, push))

    def tick(self, now_ns: int) -> None:
        """Lets those go that nobody has read for a while."""
        for key, entry in list(self._entries.items()):
            if not entry.holds and now_ns - entry.idle_since_ns >= self._linger_ns:
                self._drop(key, "nobody reads it")

    def close(self, reason: str) -> None:
        """Closes every feed."""
        for key in list(self._entries):
            self._drop(key, reason)

    def _released(self, entry: _Entry, push: bool) -> None:
        entry.holds -= 1
        entry.pushed -= push
        if not entry.pushed and entry.unwake is not None:
            entry.unwake()
            entry.unwake = None
        if not entry.holds:
            entry.idle_since_ns = self._now_ns()

    def _pump(self, key: tuple[Log[Any], Hashable]) -> None:
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.parent is not None:
            entry.parent.pump()
        closed = key[0].closed
        try:
            entry.feed.pump()
        except Exception as error:  # It may have met media that nobody foresaw; the rest goes on.
            self.failures += 1
            self._on_error(error)
            closed = "the stream could not be sent on"
        if closed is not None:
            self._drop(key, closed)

    def _drop(self, key: tuple[Log[Any], Hashable], reason: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        if entry.unwake is not None:
            entry.unwake()
        try:
            entry.feed.close(reason)
        except Exception as error:  # As above: closing takes the rest of the source.
            self.failures += 1
            self._on_error(error)
        if entry.parent is not None:
            entry.parent.release()
