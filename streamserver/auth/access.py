"""Builds the chain from the configuration, making the secrets that the first run needs."""

import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

from streamserver.auth.chain import Chain
from streamserver.auth.hashes import hash_secret, make_secret
from streamserver.auth.keys import StaticKeys
from streamserver.auth.policy import DefaultPolicy
from streamserver.auth.request import Action
from streamserver.config import AuthConfig

__all__ = [
    "API_TOKEN",
    "PUBLISH_KEY",
    "Access",
    "GeneratedSecret",
    "SecretStore",
    "ensure_secret",
    "make_access",
]

logger = logging.getLogger(__name__)

PUBLISH_KEY: Final = "publish_key"
"""The name under which the hash of the generated publish key is kept."""

API_TOKEN: Final = "api_token"
"""The name under which the hash of the generated API token is kept."""


class SecretStore(Protocol):
    """What is asked of the storage."""

    async def get_secret_hash(self, name: str) -> str | None:
        """The hash kept under a name."""

    async def set_secret_hash(self, name: str, hashed: str) -> None:
        """Keeps a hash under a name."""


@dataclass(frozen=True, slots=True)
class GeneratedSecret:
    """A secret that the server made for itself."""

    name: str
    """`PUBLISH_KEY` or `API_TOKEN`."""

    hashed: str
    """All that is kept of it."""

    value: str | None = field(default=None, repr=False)
    """The secret itself, in the run that made it: to be printed once. None ever after."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may, ready to be asked."""

    decider: Chain
    """Ask it."""

    publish_key: GeneratedSecret | None
    """The generated publish key; None when keys are configured or publishing is open."""

    api_token: GeneratedSecret | None
    """The generated API token; None when one is configured."""


async def ensure_secret(store: SecretStore, name: str) -> GeneratedSecret:
    """The secret of a name, made now if there was none."""
    hashed = await store.get_secret_hash(name)
    if hashed is not None:
        return GeneratedSecret(name, hashed)
    value = make_secret()
    hashed = hash_secret(value)
    await store.set_secret_hash(name, hashed)
    return GeneratedSecret(name, hashed, value)


async def make_access(config: AuthConfig, store: SecretStore) -> Access:
    """The chain for a configuration. What the store raises goes through."""
    keys = StaticKeys(config.keys)
    publish_key = None
    if Action.PUBLISH not in keys.actions and not config.anonymous_publish:
        publish_key = await ensure_secret(store, PUBLISH_KEY)
    configured = config.api_token.reveal()
    api_token = None if configured else await ensure_secret(store, API_TOKEN)
    if config.anonymous_publish:
        logger.warning("[auth] anonymous_publish is on: anyone who reaches this server can publish")
    policy = DefaultPolicy(
        api_hash=api_token.hashed if api_token else hash_secret(configured),
        publish_hash=publish_key.hashed if publish_key else None,
        anonymous_publish=config.anonymous_publish,
        open_play=config.open_play,
        decided=keys.actions,
    )
    return Access(Chain([keys] if config.keys else [], policy), publish_key, api_token)
