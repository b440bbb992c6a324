"""What the rest of the server asks of its memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamserver.errors import UnavailableError
from streamserver.names import StreamKey

__all__ = [
    "Answers",
    "Storage",
    "StorageError",
    "StorageInUseError",
    "StoredAnswer",
    "StoredDelivery",
    "StoredStream",
    "StreamKeys",
    "StreamRecords",
    "TokenRevocations",
]


class StorageError(UnavailableError):
    """The storage cannot be read or written; the text names the file and says what to look for."""


class StorageInUseError(StorageError):
    """What is kept is sound, and not for us now: another program holds it, or a newer one wrote
    it. Going on without it would forget keys that were handed out."""


class StreamKeys(Protocol):
    """The publish keys of registered streams: one for each, kept as its hash.

    Every call may raise `StorageError`.
    """

    async def stream_key_hash(self, stream: StreamKey) -> str | None:
        """The hash of a stream's key, or None when it has no key of its own."""

    async def stream_of_key(self, hashed: str) -> StreamKey | None:
        """The stream whose key has this hash, so that the key alone tells where it publishes."""

    async def set_stream_key(self, stream: StreamKey, hashed: str) -> None:
        """Gives a stream a key, in place of an older one. Never give the key itself."""

    async def delete_stream_key(self, stream: StreamKey) -> None:
        """Takes a stream's key away; where there is none it is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStream:
    """A registered stream, without its key."""

    stream: StreamKey
    """Its name."""

    title: str = ""
    """For people."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """What its owner attached to it: JSON values."""

    record: bool = False
    """Whether it is to be recorded."""


class StreamRecords(Protocol):
    """The registered streams. May raise `StorageError`."""

    async def registered_streams(self) -> list[StoredStream]:
        """All of them, in the order of their names."""

    async def register_stream(self, stored: StoredStream, hashed: str) -> None:
        """Adds a stream, or replaces it, together with the hash of its key: both, or neither."""

    async def change_stream(self, stored: StoredStream) -> None:
        """Keeps what changed about a registered stream; its key stays."""

    async def unregister_stream(self, stream: StreamKey) -> None:
        """Forgets a stream together with its key; one that is not there is no error."""


class TokenRevocations(Protocol):
    """Signed tokens that were taken back before their time. May raise `StorageError`."""

    async def revoke_token(self, token_id: str, expires_s: int) -> None:
        """Remembers an id until the Unix time at which its token ends by itself."""

    async def revoked_tokens(self, now_s: int) -> list[tuple[str, int]]:
        """Ids and ends of those whose end is still to come; forgets the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """One event on its way to one webhook, or what became of it."""

    webhook: str
    """The webhook's id."""

    event_id: str
    """The event's id; with the webhook's it names the delivery."""

    event_type: str
    """The event's type."""

    stream: str
    """``app/name``, or empty."""

    body: bytes = field(repr=False)
    """What is sent; empty once nothing will be sent any more."""

    state: str
    """``pending``, ``delivered``, ``failed`` or ``dropped``."""

    created_ms: int
    """When it was put into the queue, Unix time."""

    attempts: int = 0
    """Requests made."""

    next_ms: int = 0
    """When the next is due, Unix time; 0: at once, or none."""

    finished_ms: int = 0
    """When it was delivered or given up, Unix time; 0 while it is pending."""

    status: int = 0
    """The status that the last request was answered with; 0: none."""

    duration_ms: int = 0
    """How long the last request took."""

    error: str = ""
    """Why the last request failed."""


class Deliveries(Protocol):
    """The queues of webhooks and what became of their content. May raise `StorageError`."""

    async def write_deliveries(self, deliveries: Sequence[StoredDelivery], keep: int) -> None:
        """Keeps these, wholly or not at all, each in place of its older self.

        Of what is not pending only the newest ``keep`` of each webhook stay.
        """

    async def read_deliveries(self) -> list[StoredDelivery]:
        """All of them, in the order in which they were first written."""

    async def forget_deliveries(self, webhook: str) -> None:
        """Forgets all of one webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a request was answered, kept so that it can be answered again."""

    id: str
    """Names the request and its caller."""

    fingerprint: str
    """Of what was asked for."""

    body: bytes = field(repr=False)
    """The answer, encrypted by its owner."""

    expires_s: int
    """Unix time until which it is kept."""


class Answers(Protocol):
    """Answers that may be asked for again. May raise `StorageError`."""

    async def find_answer(self, ident: str, now_s: int) -> StoredAnswer | None:
        """The answer of an id, unless it has expired."""

    async def keep_answer(self, answer: StoredAnswer, *, now_s: int, keep: int) -> None:
        """Keeps one; what has expired, and more than the newest ``keep``, is forgotten."""


class Storage(StreamKeys, StreamRecords, TokenRevocations, Deliveries, Answers, Protocol):
    """A small, durable memory: hashes of secrets, and settings as JSON values.

    Every call may raise `StorageError`; none blocks the loop.
    """

    @property
    def durable(self) -> bool:
        """Whether what is written outlives the process."""

    async def get_secret_hash(self, name: str) -> str | None:
        """The hash of a secret, or None when there is none of this name."""

    async def set_secret_hash(self, name: str, hashed: str) -> None:
        """Keeps the hash of a secret, in place of an older one. Never give the secret itself."""

    async def get(self, key: str) -> Any:
        """A setting (a JSON value), or None."""

    async def set(self, key: str, value: Any) -> None:
        """Keeps a setting. Raises `TypeError` for what is no JSON."""

    async def delete(self, key: str) -> None:
        """Forgets a setting; one that is not there is no error."""

    async def signing_secret(self) -> bytes:
        """32 random bytes, made at the first call ever, with which this server signs.

        Not a hash: a signature can only be checked with the secret itself.
        """

    async def close(self) -> None:
        """Writes out what is left, and lets go. A second call does nothing."""
