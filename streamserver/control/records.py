"""The registered streams in memory, so that a list of them asks no disk."""

from typing import Final

from streamserver.errors import FullError
from streamserver.names import StreamKey
from streamserver.storage import StoredStream, StreamRecords

__all__ = ["Records"]

_MAX_STREAMS: Final = 10_000
"""Each holds up to 16 KB of its owner's metadata."""


class Records:
    """A table over the storage: what it answers was written before. May raise `StorageError`."""

    def __init__(self, storage: StreamRecords) -> None:
        self._storage = storage
        self._by_name: dict[StreamKey, StoredStream] = {}

    async def load(self) -> None:
        """Reads what earlier runs kept."""
        self._by_name = {one.stream: one for one in await self._storage.registered_streams()}

    def get(self, key: StreamKey) -> StoredStream | None:
        """What is kept about a stream; None for one that is not registered."""
        return self._by_name.get(key)

    def all(self) -> list[StoredStream]:
        """All of them, in no order."""
        return list(self._by_name.values())

    async def add(self, stored: StoredStream, hashed: str) -> None:
        """Keeps a new one with the hash of its key. Raises `FullError`."""
        if len(self._by_name) >= _MAX_STREAMS:
            raise FullError(f"there are {_MAX_STREAMS} registered streams already")
        await self._storage.register_stream(stored, hashed)
        self._by_name[stored.stream] = stored

    async def change(self, stored: StoredStream) -> None:
        """Keeps one that has changed."""
        await self._storage.change_stream(stored)
        self._by_name[stored.stream] = stored

    async def remove(self, key: StreamKey) -> None:
        """Forgets one with its key."""
        await self._storage.unregister_stream(key)
        self._by_name.pop(key, None)
