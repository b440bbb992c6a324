"""A storage that forgets: for tests, and where nothing can be written."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from streamserver.names import StreamKey
from streamserver.storage.base import StoredAnswer, StoredDelivery, StoredStream

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Implements `streamserver.storage.Storage` for the life of the process."""

    durable = False

    def __init__(self) -> None:
        self._hashes: dict[str, str] = {}
        self._settings: dict[str, bytes] = {}
        self._signing_secret = secrets.token_bytes(32)
        self._stream_keys: dict[StreamKey, str] = {}
        self._streams: dict[StreamKey, StoredStream] = {}
        self._answers: dict[str, StoredAnswer] = {}
        self._revoked: dict[str, int] = {}
        self._deliveries: dict[tuple[str, str], StoredDelivery] = {}

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

    async def stream_key_hash(self, stream: StreamKey) -> str | None:
        """See `StreamKeys`."""
        return self._stream_keys.get(stream)

    async def stream_of_key(self, hashed: str) -> StreamKey | None:
        """See `StreamKeys`."""
        return next((key for key, kept in self._stream_keys.items() if kept == hashed), None)

    async def set_stream_key(self, stream: StreamKey, hashed: str) -> None:
        """See `StreamKeys`."""
        self._stream_keys[stream] = hashed

    async def delete_stream_key(self, stream: StreamKey) -> None:
        """See `StreamKeys`."""
        self._stream_keys.pop(stream, None)

    async def registered_streams(self) -> list[StoredStream]:
        """See `StreamRecords`."""
        return sorted(self._streams.values(), key=lambda stored: stored.stream)

    async def register_stream(self, stored: StoredStream, hashed: str) -> None:
        """See `StreamRecords`."""
        self._streams[stored.stream] = stored
        self._stream_keys[stored.stream] = hashed

    async def change_stream(self, stored: StoredStream) -> None:
        """See `StreamRecords`."""
        if stored.stream in self._streams:
            self._streams[stored.stream] = stored

    async def unregister_stream(self, stream: StreamKey) -> None:
        """See `StreamRecords`."""
        self._streams.pop(stream, None)
        self._stream_keys.pop(stream, None)

    async def revoke_token(self, token_id: str, expires_s: int) -> None:
        """See `TokenRevocations`."""
        self._revoked[token_id] = expires_s

    async def revoked_tokens(self, now_s: int) -> list[tuple[str, int]]:
        """See `TokenRevocations`."""
        self._revoked = {ident: end for ident, end in self._revoked.items() if end > now_s}
        return list(self._revoked.items())

    async def write_deliveries(self, deliveries: Sequence[StoredDelivery], keep: int) -> None:
        """See `Deliveries`."""
        for one in deliveries:
            self._deliveries[one.webhook, one.event_id] = one
        for webhook in {one.webhook for one in deliveries}:
            done = [
                key
                for key, one in self._deliveries.items()
                if one.webhook == webhook and one.state != "pending"
            ]
            for key in done[: max(0, len(done) - keep)]:
                del self._deliveries[key]

    async def read_deliveries(self) -> list[StoredDelivery]:
        """See `Deliveries`."""
        return list(self._deliveries.values())

    async def forget_deliveries(self, webhook: str) -> None:
        """See `Deliveries`."""
        for key in [key for key in self._deliveries if key[0] == webhook]:
            del self._deliveries[key]

    async def find_answer(self, ident: str, now_s: int) -> StoredAnswer | None:
        """See `Answers`."""
        found = self._answers.get(ident)
        return None if found is None or found.expires_s <= now_s else found

    async def keep_answer(self, answer: StoredAnswer, *, now_s: int, keep: int) -> None:
        """See `Answers`."""
        self._answers[answer.id] = answer
        alive = [one for one in self._answers.values() if one.expires_s > now_s]
        self._answers = {one.id: one for one in alive[max(0, len(alive) - keep) :]}

    async def close(self) -> None:
        """See `Storage`."""
