"""The keys in the configuration."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_network

from streamserver.auth.hashes import ScryptHash, digest
from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.auth.rights import covers_name
from streamserver.auth.tags import credential_tag
from streamserver.config import KeyConfig
from streamserver.net.addresses import parse_ip

__all__ = ["StaticKeys"]


@dataclass(slots=True)
class _Key:
    app: str
    name: str
    actions: frozenset[Action]
    networks: tuple[IPv4Network | IPv6Network, ...]
    tag: str
    keyless: bool
    digest: bytes | None = field(repr=False)
    scrypt: ScryptHash | None = field(repr=False)

    @classmethod
    def from_config(cls, config: KeyConfig) -> "_Key":
        text = config.key.reveal()
        scrypt = ScryptHash.parse(text) if text.startswith("scrypt:") else None
        if text.startswith("sha256:"):
            known: bytes | None = bytes.fromhex(text.removeprefix("sha256:"))
        else:
            known = digest(text) if scrypt is None and text else None
        return cls(
            config.app,
            config.name,
            frozenset(Action(action.value) for action in config.actions),
            tuple(ip_network(one) for one in config.ips),
            # What it opens is a part of it: a key that opens less than before was taken back.
            credential_tag("key", f"{text} {config.app} {config.name} {config.ips}"),
            not text,
            known,
            scrypt,
        )

    def covers(self, request: AccessRequest) -> bool:
        if request.action not in self.actions:
            return False
        if self.networks:
            address = parse_ip(request.remote_ip)
            if address is None or not any(address in network for network in self.networks):
                return False
        if request.stream is None:
            # The server as a whole is for keys that are bound to no stream.
            return self.app == self.name == "*"
        return covers_name(request.stream, self.app, self.name)


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

    @property
    def tags(self) -> frozenset[str]:
        """The tags of all keys; when one is no longer among them, its key was taken away."""
        return frozenset(key.tag for key in self._keys)

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`."""
        covering = [key for key in self._keys if key.covers(request)]
        for credential in request.credentials():
            found = self._match_fast(covering, digest(credential))
            found = found or await self._match_slow(covering, credential)
            if found is not None:
                return Decision(True, "the key opens it", self.name, credential=found.tag)
        for key in covering:
            if key.keyless:
                return Decision(True, "the address opens it", self.name, credential=key.tag)
        return None

    @staticmethod
    def _match_fast(keys: list[_Key], presented: bytes) -> _Key | None:
        # All are compared: to end at the first match would tell by time which it was.
        found = [key for key in keys if key.digest and compare_digest(presented, key.digest)]
        return found[0] if found else None

    async def _match_slow(self, keys: list[_Key], credential: str) -> _Key | None:
        for key in keys:
            if key.scrypt is None or key.digest is not None:
                continue
            async with self._slow:
                if await asyncio.to_thread(key.scrypt.verify, credential):
                    key.digest = digest(credential)
                    return key
        return None
