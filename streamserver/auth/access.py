"""Builds the chain from the configuration, making the secrets that the first run needs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from streamserver.auth.bans import BanSettings, BanTable
from streamserver.auth.chain import Chain
from streamserver.auth.gate import Gate
from streamserver.auth.hashes import hash_secret, make_secret
from streamserver.auth.hooks import HookDecider
from streamserver.auth.jwks import JwksKeys
from streamserver.auth.jwt_tokens import JwtDecider, JwtSettings, PublicKey, load_public_key
from streamserver.auth.keys import StaticKeys
from streamserver.auth.policy import DefaultPolicy
from streamserver.auth.request import Action, Decider
from streamserver.auth.stream_keys import StreamKeyDecider, StreamKeys
from streamserver.auth.tokens import OwnTokens
from streamserver.clock import Clock, SystemClock
from streamserver.config import AuthConfig, DeciderName, JwtConfig
from streamserver.errors import ConfigError
from streamserver.net.http_client import HttpClient, HttpClientError

__all__ = [
    "API_TOKEN",
    "PUBLISH_KEY",
    "Access",
    "AccessContext",
    "GeneratedSecret",
    "SecretStore",
    "ban_settings",
    "ensure_secret",
    "make_access",
]

logger = logging.getLogger(__name__)

PUBLISH_KEY: Final = "publish_key"
"""The name under which the hash of the generated publish key is kept."""

API_TOKEN: Final = "api_token"
"""The name under which the hash of the generated API token is kept."""

_JWKS_TIMEOUT_S: Final = 4.0
_MIN_JWT_SECRET: Final = 32


class SecretStore(StreamKeys, Protocol):
    """What is asked of the storage."""

    async def get_secret_hash(self, name: str) -> str | None:
        """The hash kept under a name."""

    async def set_secret_hash(self, name: str, hashed: str) -> None:
        """Keeps a hash under a name."""

    async def signing_secret(self) -> bytes:
        """The secret with which this server signs."""

    async def revoked_tokens(self, now_s: int) -> list[tuple[str, int]]:
        """Tokens that were taken back, with their ends."""


@dataclass(frozen=True, slots=True)
class GeneratedSecret:
    """A secret that the server made for itself."""

    name: str
    """`PUBLISH_KEY` or `API_TOKEN`."""

    hashed: str
    """All that is kept of it."""

    value: str | None = field(default=None, repr=False)
    """The secret itself, in the run that made it: to be printed once. None ever after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessContext:
    """What the deciders work with besides the configuration."""

    clock: Clock = field(default_factory=SystemClock)
    """The time."""

    client: Callable[[], HttpClient] | None = None
    """Opens the client for hooks and JWKS; None: without one, neither can be configured."""

    exempt: Callable[[str], bool] = lambda ip: False
    """Addresses that are never banned: trusted proxies."""

    complain: Callable[..., object] = logger.info
    """Writes log lines that strangers can cause; their owner limits how many."""

    deciders: Sequence[Decider] = ()
    """A program's own voices, asked after the configured ones."""


@dataclass(slots=True)
class _Voices:
    """The deciders of one configuration."""

    keys: StaticKeys
    jwt: JwtDecider | None = None
    hooks: tuple[HookDecider, ...] = ()
    decided: frozenset[Action] = frozenset()
    client: HttpClient | None = None

    async def close(self) -> None:
        if self.jwt is not None:
            await self.jwt.close()
        if self.client is not None:
            await self.client.close()


class Access:
    """Who may, ready to be asked."""

    def __init__(
        self,
        *,
        gate: Gate,
        tokens: OwnTokens,
        stream_keys: StreamKeyDecider,
        store: SecretStore,
        context: AccessContext,
    ) -> None:
        """Made by `make_access`."""
        self.decider = gate
        """Ask it."""
        self.tokens = tokens
        """Signs tokens, and takes them back."""
        self.stream_keys = stream_keys
        """Knows the keys of registered streams."""
        self.publish_key: GeneratedSecret | None = None
        """The generated publish key; None when keys are configured or publishing is open."""
        self.api_token: GeneratedSecret | None = None
        """The generated API token; None when one is configured."""
        self._revoked = tokens.revoked_tags()
        self._voices = _Voices(StaticKeys(()))
        self._tags: frozenset[str] = frozenset()
        self._plain_keys: tuple[str, ...] = ()
        self._store = store
        self._context = context

    @property
    def bans(self) -> BanTable:
        """Who is kept out."""
        return self.decider.bans

    @property
    def hooks(self) -> tuple[HookDecider, ...]:
        """The configured hooks."""
        return self._voices.hooks

    @property
    def publish_passwords(self) -> tuple[str, ...]:
        """Configured publish keys that are no hashes: all that Adobe's challenge can check."""
        return self._plain_keys

    def revoke(self, tag: str) -> None:
        """Remembers that a credential was taken back, for HLS sessions that come with it."""
        self._revoked.add(tag)

    def is_revoked(self, tag: str) -> bool:
        """Whether the credential with a tag was taken back."""
        return tag in self._revoked

    async def load(self, config: AuthConfig) -> frozenset[str]:
        """Takes over a configuration; answers the tags of keys and tokens no longer in it.

        Sessions under way stay, and it is for the caller to end those of the tags. Raises
        `ConfigError` and `StorageError`; what held before then still holds.
        """
        voices = await _make_voices(config, self._context)
        try:
            policy = await self._policy(config, voices)
        except BaseException:
            await voices.close()
            raise
        chosen = self._in_order(config, voices)
        before, self._voices = self._voices, voices
        self._plain_keys = tuple(_plain_publish_keys(config))
        self.decider.chain = Chain([*chosen, *self._context.deciders], policy)
        tags = voices.keys.tags | {policy.api_tag}
        gone, self._tags = self._tags - tags, tags
        self._revoked |= gone
        self._revoked -= tags
        await before.close()
        return gone

    async def close(self) -> None:
        """Closes what the deciders have open. A second call does nothing."""
        await self._voices.close()

    async def _policy(self, config: AuthConfig, voices: _Voices) -> DefaultPolicy:
        decided = voices.decided
        for one in self._context.deciders:
            decided |= getattr(one, "actions", frozenset())
        self.publish_key = None
        if Action.PUBLISH not in decided and not config.anonymous_publish:
            self.publish_key = await ensure_secret(self._store, PUBLISH_KEY)
        configured = config.api_token.reveal()
        self.api_token = None if configured else await ensure_secret(self._store, API_TOKEN)
        if config.anonymous_publish:
            logger.warning(
                "[auth] anonymous_publish is on: anyone who reaches this server can publish"
            )
        return DefaultPolicy(
            api_hash=self.api_token.hashed if self.api_token else hash_secret(configured),
            publish_hash=self.publish_key.hashed if self.publish_key else None,
            anonymous_publish=config.anonymous_publish,
            open_play=config.open_play,
            decided=decided,
            needs_key=self.stream_keys.needs_key,
        )

    def _in_order(self, config: AuthConfig, voices: _Voices) -> list[Decider]:
        named: dict[DeciderName, Sequence[Decider]] = {
            DeciderName.KEYS: [voices.keys] if config.keys else [],
            DeciderName.STREAM_KEYS: [self.stream_keys],
            DeciderName.TOKENS: [self.tokens],
            DeciderName.JWT: [voices.jwt] if voices.jwt is not None else [],
            DeciderName.HOOKS: voices.hooks,
        }
        return [decider for name in config.order for decider in named[name]]


async def ensure_secret(store: SecretStore, name: str) -> GeneratedSecret:
    """The secret of a name, made now if there was none."""
    hashed = await store.get_secret_hash(name)
    if hashed is not None:
        return GeneratedSecret(name, hashed)
    value = make_secret()
    hashed = hash_secret(value)
    await store.set_secret_hash(name, hashed)
    return GeneratedSecret(name, hashed, value)


def ban_settings(config: AuthConfig) -> BanSettings:
    """When an address is banned, and for how long."""
    return BanSettings(
        after=config.ban_after,
        window_ns=round(config.ban_window_s * 1e9),
        ban_ns=round(config.ban_s * 1e9),
    )


async def make_access(
    config: AuthConfig, store: SecretStore, context: AccessContext | None = None
) -> Access:
    """The chain for a configuration. What the store raises goes through, and `ConfigError`."""
    context = context or AccessContext()
    clock = context.clock
    revoked = await store.revoked_tokens(clock.wall_ns() // 1_000_000_000)
    tokens = OwnTokens(await store.signing_secret(), clock.wall_ns, revoked)
    stream_keys = StreamKeyDecider(store)
    policy = DefaultPolicy(api_hash="")
    bans = BanTable(ban_settings(config), clock.monotonic_ns, exempt=context.exempt)
    gate = Gate(Chain([], policy), bans, complain=context.complain)
    access = Access(gate=gate, tokens=tokens, stream_keys=stream_keys, store=store, context=context)
    await access.load(config)
    return access


async def _make_voices(config: AuthConfig, context: AccessContext) -> _Voices:
    voices = _Voices(StaticKeys(config.keys))
    wants_client = config.hooks or config.jwt.jwks_url
    if wants_client and context.client is not None:
        voices.client = context.client()
    try:
        voices.jwt = await _make_jwt(config.jwt, voices.client, context)
        if voices.client is not None:
            voices.hooks = tuple(
                HookDecider(
                    hook,
                    voices.client,
                    context.clock,
                    name=f"hooks[{index}]",
                    complain=context.complain,
                )
                for index, hook in enumerate(config.hooks)
            )
    except BaseException:
        await voices.close()
        raise
    voices.decided = _decided(config, voices)
    return voices


def _decided(config: AuthConfig, voices: _Voices) -> frozenset[Action]:
    """The actions that somebody in the chain hands out credentials for."""
    order = frozenset(config.order)
    decided: set[Action] = set()
    if DeciderName.KEYS in order:
        decided |= voices.keys.actions
    if DeciderName.JWT in order and voices.jwt is not None:
        decided |= {Action.PUBLISH, Action.PLAY}
    if DeciderName.HOOKS in order:
        known = frozenset(action.value for action in Action)
        for hook in voices.hooks:
            decided |= {Action(one.value) for one in hook.actions if one.value in known}
    return frozenset(decided)


async def _make_jwt(
    config: JwtConfig, client: HttpClient | None, context: AccessContext
) -> JwtDecider | None:
    if not (config.secret or config.secret_file or config.public_key_file or config.jwks_url):
        return None
    secret = config.secret.reveal().encode()
    if config.secret_file:
        secret = (await asyncio.to_thread(_read, "secret_file", config.secret_file)).strip()
        if len(secret) < _MIN_JWT_SECRET:
            raise ConfigError(
                f"auth.jwt.secret_file: the secret is shorter than {_MIN_JWT_SECRET} characters"
            )
    settings = JwtSettings(
        secret=secret,
        public_key=await _public_key(config.public_key_file),
        issuer=config.issuer,
        audience=config.audience,
        stream_claim=config.stream_claim,
        actions_claim=config.actions_claim,
    )
    jwks = None
    if config.jwks_url and client is not None:
        jwks = JwksKeys(
            _fetching(client, config.jwks_url),
            context.clock.monotonic_ns,
            cache_ns=round(config.jwks_cache_s * 1e9),
        )
    return JwtDecider(settings, context.clock.wall_ns, jwks=jwks)


async def _public_key(file: str) -> PublicKey | None:
    if not file:
        return None
    pem = await asyncio.to_thread(_read, "public_key_file", file)
    try:
        return load_public_key(pem)
    except ValueError as error:
        raise ConfigError(f"auth.jwt.public_key_file: {file} {error}") from None


def _read(key: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"auth.jwt.{key}: {file} cannot be read: {error.strerror}") from None


def _fetching(client: HttpClient, url: str) -> Callable[[], Awaitable[bytes]]:
    async def fetch() -> bytes:
        answer = await client.request("GET", url, headers={}, timeout_s=_JWKS_TIMEOUT_S)
        if answer.status != 200 or not answer.whole:
            raise HttpClientError(f"the answer was {answer.status}, or longer than 64 KB")
        return answer.body

    return fetch


def _plain_publish_keys(config: AuthConfig) -> Iterator[str]:
    for key in config.keys:
        text = key.key.reveal()
        if text and "publish" in key.actions and not text.startswith(("sha256:", "scrypt:")):
            yield text
