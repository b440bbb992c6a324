"""A storage that forgets: for tests, and where nothing can be written."""

import secrets
from typing import Any

import msgspec

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Implements `streamserver.storage.Storage` for the life of the process."""

    durable = False

    def __init__(self) -> None:
        self._hashes: dict[str, str] = {}
        self._settings: dict[str, bytes] = {}
        self._signing_secret = secrets.token_bytes(32)

    async def get_secret_hash(self, name: str) -> str | None:
        """See `Storage`."""
        return self._hashes.get(name)

    async def set_secret_hash(self, name: str, hashed: str) -> None:
        """See `Storage`."""
        self._hashes[name] = hashed

    async def get(self, key: str) -> Any:
        """See `Storage`."""
        # Kept as text, so that nobody changes a value that was handed out.
        text = self._settings.get(key)
        return None if text is None else msgspec.json.decode(text)

    async def set(self, key: str, value: Any) -> None:
        """See `Storage`."""
        self._settings[key] = msgspec.json.encode(value)

    async def delete(self, key: str) -> None:
        """See `Storage`."""
        self._settings.pop(key, None)

    async def signing_secret(self) -> bytes:
        """See `Storage`."""
        return self._signing_secret

    async def close(self) -> None:
        """See `Storage`."""
