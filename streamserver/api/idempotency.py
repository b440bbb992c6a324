"""Answers that are given again: a request that is repeated with its key makes nothing twice.

After draft-ietf-httpapi-idempotency-key-header-07. An answer may tell a secret, such as the key of
a stream, of which only a hash is kept elsewhere. So it is kept encrypted, by what only its caller
knows: the credential and the key of the request.

What is made and the answer about it are written one after the other. After a crash just between,
the request made what it asked for, and its key is not known: a repetition then meets what is there
(409 for a stream of that name), or makes another one.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamserver.api.problems import BadRequestError
from streamserver.errors import RefusedError
from streamserver.storage import Answers, StorageError, StoredAnswer

__all__ = ["KEY_HEADER", "KEY_PATTERN", "REPLAYED_HEADER", "Idempotency", "key_of"]

KEY_HEADER: Final = "Idempotency-Key"
"""Carries the key, chosen by the client."""

KEY_PATTERN: Final = r"^[!-~]{1,255}$"
"""Printable, without spaces."""

REPLAYED_HEADER: Final = "Idempotent-Replayed"
"""Says that an answer is an older one."""

_KEY: Final = re.compile(r"[!-~]{1,255}\Z")
_LIFE_S: Final = 24 * 3600
_MAX_KEPT: Final = 10_000
_NONCE_BYTES: Final = 12

logger = logging.getLogger(__name__)


class BeingAnsweredError(RefusedError):
    """The same request is under way (draft, section 2.6)."""

    http_status = 409


class KeyReusedError(RefusedError):
    """The key came with another request before (draft, section 2.6)."""

    http_status = 422


def key_of(request: web.Request) -> str | None:
    """The key that came with a request, or None. Raises `BadRequestError`."""
    values = request.headers.getall(KEY_HEADER, [])
    if not values:
        return None
    if len(values) > 1 or not _KEY.match(values[0]):
        raise BadRequestError(f"{KEY_HEADER} is one word of 1 to 255 printable characters")
    return values[0]


class Idempotency:
    """Remembers what was answered to requests with a key, for 24 hours and 10,000 answers."""

    def __init__(self, store: Answers, wall_ns: Callable[[], int]) -> None:
        self._store = store
        self._wall_ns = wall_ns
        self._under_way: set[str] = set()

    async def answer(
        self, request: web.Request, key: str, body: bytes, make: Callable[[], Awaitable[bytes]]
    ) -> tuple[bytes, bool]:
        """The answer of ``make``, or the one that it gave before, and whether it is that.

        ``body`` is what is asked for, in one spelling. Errors of ``make`` are not remembered.
        Raises `BeingAnsweredError` and `KeyReusedError`, and what ``make`` raises.
        """
        caller = hashlib.sha256(request.headers.get(hdrs.AUTHORIZATION, "").encode()).digest()
        ident = hmac.digest(caller, b"id:" + key.encode(), "sha256").hex()
        cipher = AESGCM(hmac.digest(caller, b"answer:" + key.encode(), "sha256"))
        asked = f"{request.method} {request.rel_url.raw_path}\n".encode() + body
        fingerprint = hashlib.sha256(asked).hexdigest()
        if ident in self._under_way:
            raise BeingAnsweredError("a request with this key is being answered")
        self._under_way.add(ident)
        try:
            found = await self._store.find_answer(ident, self._now_s())
            if found is not None:
                return _open(found, fingerprint, cipher), True
            made = await make()
            await self._keep(ident, fingerprint, cipher, made)
            return made, False
        finally:
            self._under_way.discard(ident)

    async def _keep(self, ident: str, fingerprint: str, cipher: AESGCM, made: bytes) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        now_s = self._now_s()
        answer = StoredAnswer(
            id=ident,
            fingerprint=fingerprint,
            body=nonce + cipher.encrypt(nonce, made, fingerprint.encode()),
            expires_s=now_s + _LIFE_S,
        )
        try:
            await self._store.keep_answer(answer, now_s=now_s, keep=_MAX_KEPT)
        except StorageError as error:
            # It was made: to say anything else would be wrong.
            logger.warning("an answer cannot be given again: %s", error)

    def _now_s(self) -> int:
        return self._wall_ns() // 1_000_000_000


def _open(found: StoredAnswer, fingerprint: str, cipher: AESGCM) -> bytes:
    if found.fingerprint != fingerprint:
        raise KeyReusedError("this key came with another request before; take a new one")
    nonce, text = found.body[:_NONCE_BYTES], found.body[_NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, text, fingerprint.encode())
    except InvalidTag:
        raise StorageError("a kept answer is damaged") from None
