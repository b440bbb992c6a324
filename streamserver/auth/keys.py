"""The keys in the configuration."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hmac import compare_digest

from streamserver.auth.hashes import ScryptHash, digest
from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.config import KeyConfig
from streamserver.names import StreamKey

__all__ = ["StaticKeys"]


@dataclass(slots=True)
class _Key:
    app: str
    name: str
    actions: frozenset[Action]
    digest: bytes | None = field(repr=False)
    scrypt: ScryptHash | None = field(repr=False)

    @classmethod
    def from_config(cls, config: KeyConfig) -> "_Key":
        text = config.key.reveal()
        scrypt = ScryptHash.parse(text) if text.startswith("scrypt:") else None
        if text.startswith("sha256:"):
            known: bytes | None = bytes.fromhex(text.removeprefix("sha256:"))
        else:
            known = digest(text) if scrypt is None else None
        return cls(config.app, config.name, frozenset(config.actions), known, scrypt)

    def covers(self, action: Action, stream: StreamKey | None) -> bool:
        if action not in self.actions:
            return False
        if stream is None:
            # The server as a whole is for keys that are bound to no stream.
            return self.app == self.name == "*"
        # A rendition (name@720p) is a part of its stream.
        name = stream.name.partition("@")[0]
        return fnmatchcase(stream.app, self.app) and fnmatchcase(name, self.name)


class StaticKeys:
    """Allows what a configured key covers; has no opinion on anything else.

    Every key is compared, whichever fits, so that time tells nothing. Slow hashes are asked last,
    one at a time and off the loop, and a credential that they accepted is remembered by its digest.
    """

    name = "keys"

    def __init__(self, keys: Iterable[KeyConfig]) -> None:
        self._keys = [_Key.from_config(key) for key in keys]
        self._slow = asyncio.Semaphore(1)
        self.actions = frozenset(action for key in self._keys for action in key.actions)

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`."""
        covering = [key for key in self._keys if key.covers(request.action, request.stream)]
        for credential in request.credentials():
            if self._matches_fast(covering, digest(credential)) or await self._matches_slow(
                covering, credential
            ):
                return Decision(True, "the key opens it", self.name)
        return None

    @staticmethod
    def _matches_fast(keys: list[_Key], presented: bytes) -> bool:
        # Not any(), which would end at the first match.
        return sum(compare_digest(presented, key.digest) for key in keys if key.digest) > 0

    async def _matches_slow(self, keys: list[_Key], credential: str) -> bool:
        for key in keys:
            if key.scrypt is None or key.digest is not None:
                continue
            async with self._slow:
                if await asyncio.to_thread(key.scrypt.verify, credential):
                    key.digest = digest(credential)
                    return True
        return False
