"""One dictionary from path to answer, shared by all streams of the server."""

from typing import Protocol

from streamserver.names import StreamKey
from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.waiters import Waiter

__all__ = ["Asked", "Directory", "Entries", "Entry"]


class Asked(Protocol):
    """Something behind a path that decides at each request."""

    def ask(self, query: bytes) -> Reply | Waiter:
        """An answer, or a place to wait for it. ``query`` is what follows the question mark."""


Entry = Reply | Asked
Entries = dict[bytes, Entry]
"""By path below the mount, without query: ``/live/demo/<token>/1700000000.m4s``."""


class Directory:
    """The names of one broadcast in the shared dictionary; all of them go when it goes."""

    __slots__ = ("_entries", "_names", "_prefix")

    def __init__(self, entries: Entries, stream: StreamKey) -> None:
        self._entries = entries
        self._prefix = f"/{stream}/"
        self._names: set[bytes] = set()

    def publish(self, uri: str, entry: Entry) -> None:
        """Makes ``uri`` (relative to the stream) answer; an older entry of that name yields."""
        path = (self._prefix + uri).encode()
        self._entries[path] = entry
        self._names.add(path)

    def withdraw(self, uri: str) -> None:
        """Takes a name away; an unknown one is ignored."""
        path = (self._prefix + uri).encode()
        if path in self._names:
            self._names.remove(path)
            self._entries.pop(path, None)

    def clear(self) -> None:
        """Takes all names of the broadcast away."""
        for path in self._names:
            self._entries.pop(path, None)
        self._names.clear()

    def __len__(self) -> int:
        return len(self._names)
