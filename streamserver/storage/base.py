"""What the rest of the server asks of its memory."""

from typing import Any, Protocol

from streamserver.errors import UnavailableError

__all__ = ["Storage", "StorageError"]


class StorageError(UnavailableError):
    """The storage cannot be read or written; the text names the file and says what to look for."""


class Storage(Protocol):
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
