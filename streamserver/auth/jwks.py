"""Public keys from a URL (RFC 7517): fetched, kept, and fetched again without anyone waiting."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import jwt
import msgspec

__all__ = ["JwksKeys"]

logger = logging.getLogger(__name__)

_SECOND: Final = 1_000_000_000
_RETRY_NS: Final = 10 * _SECOND
"""Between two fetches, whatever asks for one: a stranger can name any key."""

_MAX_KEYS: Final = 100


class JwksKeys:
    """The keys of one URL.

    Once there are keys, nobody waits for a fetch but who names a key that is not among them. A
    fetch that fails leaves the keys that there are.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        now_ns: Callable[[], int],
        *,
        cache_ns: int,
    ) -> None:
        """``fetch`` answers the document; whatever it raises counts as a failure."""
        self.failures = 0
        """Fetches that failed since the start."""
        self._fetch = fetch
        self._now_ns = now_ns
        self._cache_ns = cache_ns
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._fresh_until_ns: int | None = None
        self._next_try_ns: int | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> list[jwt.PyJWK]:
        """The keys that a token may have been signed with: those of its id, or all without one."""
        now_ns = self._now_ns()
        if self._fresh_until_ns is None or now_ns >= self._fresh_until_ns:
            self._begin(now_ns)
        found = self._matching(key_id)
        if not found:
            self._begin(now_ns)
            if self._fetching is not None:
                # Several wait for one fetch; who leaves must not take it from the others.
                await asyncio.shield(self._fetching)
            found = self._matching(key_id)
        return found

    async def close(self) -> None:
        """Ends a fetch under way."""
        task, self._fetching = self._fetching, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _matching(self, key_id: str | None) -> list[jwt.PyJWK]:
        return [key for key in self._keys if key_id is None or key.key_id == key_id]

    def _begin(self, now_ns: int) -> None:
        if self._fetching is not None:
            return
        if self._next_try_ns is not None and now_ns < self._next_try_ns:
            return
        self._next_try_ns = now_ns + _RETRY_NS
        self._fetching = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            keys = read_keys(await self._fetch())
        except Exception as error:
            # Whatever it is, the keys that there are stay.
            self.failures += 1
            logger.warning("the keys of auth.jwt.jwks_url cannot be fetched: %s", error)
        else:
            self._keys = keys
            self._fresh_until_ns = self._now_ns() + self._cache_ns
        finally:
            self._fetching = None


def read_keys(document: bytes) -> tuple[jwt.PyJWK, ...]:
    """The public signature keys of a document; raises `ValueError` when there is none.

    Secrets (``oct``) are left out: a document for everyone holds none, and one that did would
    make anyone a signer. So are keys for encryption, and kinds that we do not know.
    """
    try:
        entries = msgspec.json.decode(document, type=dict[str, msgspec.Raw])["keys"]
        found = msgspec.json.decode(entries, type=list[dict[str, object]])
    except (msgspec.DecodeError, KeyError) as error:
        raise ValueError(f"it is no set of keys ({type(error).__name__})") from None
    keys: list[jwt.PyJWK] = []
    for entry in found[:_MAX_KEYS]:
        if entry.get("kty") not in ("RSA", "EC") or entry.get("use", "sig") != "sig":
            continue
        try:
            keys.append(jwt.PyJWK(entry))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
    if not keys:
        raise ValueError("it holds no public key for signatures")
    return tuple(keys)
