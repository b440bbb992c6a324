"""All webhooks: who gets which events, what is not allowed, and what survives a restart."""

import asyncio
import hashlib
import logging
import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from streamserver.clock import Clock
from streamserver.errors import ConfigError, FullError, NotFoundError, RefusedError
from streamserver.events import EventLog, check_stream_pattern, expand_types
from streamserver.net.backoff import Backoff
from streamserver.net.guard import ForbiddenAddressError, OutgoingGuard
from streamserver.storage import Storage
from streamserver.webhooks import signing
from streamserver.webhooks.endpoint import Endpoint, HttpPost, WebhookSpec, WebhookState
from streamserver.webhooks.outbox import Delivery, Outbox, OutboxSettings
from streamserver.webhooks.spool import Spool, restore

__all__ = [
    "ConfiguredWebhook",
    "InvalidWebhookError",
    "WebhookConflictError",
    "WebhookTotals",
    "Webhooks",
    "check_url",
    "check_wishes",
]

_STORED_AS: Final = "webhooks"
"""The setting that holds those made through the API."""

_IN_ALL: Final = 32
_MAX_URL: Final = 2048
_MAX_WORDS: Final = 64

logger = logging.getLogger(__name__)


class InvalidWebhookError(RefusedError):
    """The URL, the events or the streams cannot be."""

    http_status = 400


class WebhookConflictError(RefusedError):
    """There is one already, or it stands in the configuration."""

    http_status = 409


class _Stored(msgspec.Struct, frozen=True):
    """How a webhook is kept. The secret is there as it is: a signature needs it."""

    id: str
    url: str
    name: str
    events: tuple[str, ...]
    streams: tuple[str, ...]
    secret: str
    enabled: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ConfiguredWebhook:
    """One ``[[webhooks]]``."""

    url: str = field(repr=False)
    """Where to."""

    name: str = ""
    """For people."""

    events: tuple[str, ...] = ("*",)
    """Types of events."""

    streams: tuple[str, ...] = ("*",)
    """Patterns of streams."""

    secret: str = field(default="", repr=False)
    """Signs."""

    enabled: bool = True
    """False: paused."""

    timeout_s: float = 10
    """The deadline of one attempt."""

    def spec(self) -> WebhookSpec:
        """The same with an id: the same at each start, and telling nothing about the URL."""
        digest = hashlib.sha256(self.url.encode()).hexdigest()
        return WebhookSpec(
            id=f"c{digest[:15]}",
            url=self.url,
            name=self.name,
            events=self.events,
            streams=self.streams,
            secret=self.secret,
            enabled=self.enabled,
            timeout_s=self.timeout_s,
            configured=True,
        )


@dataclass(slots=True)
class WebhookTotals:
    """Sums over webhooks since the start."""

    delivered: int = 0
    """Deliveries that arrived."""

    failed: int = 0
    """Deliveries that were given up."""

    dropped: int = 0
    """Deliveries left out because a queue was full."""

    failed_attempts: int = 0
    """Requests that were not answered with 2xx."""

    def add(self, outbox: Outbox) -> None:
        """Adds one webhook."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(outbox, one.name))


def check_url(url: str) -> None:
    """Refuses what is no ``http://`` or ``https://`` URL. Raises `InvalidWebhookError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > _MAX_URL or not url.isprintable() or " " in url:
        raise InvalidWebhookError("the URL of a webhook looks like https://host/path")


def check_wishes(spec: WebhookSpec) -> None:
    """Refuses what its owner cannot wish, wherever it leads.

    Raises `InvalidWebhookError`, `InvalidFilterError`, `InvalidSecretError`.
    """
    check_url(spec.url)
    if max(len(spec.events), len(spec.streams)) > _MAX_WORDS:
        raise InvalidWebhookError(f"at most {_MAX_WORDS} events and as many streams are listed")
    if not spec.events or not spec.streams:
        raise InvalidWebhookError('list at least one event and one stream, such as "*"')
    expand_types(spec.events, figures=False)
    for pattern in spec.streams:
        check_stream_pattern(pattern)
    if spec.secret:
        signing.check_secret(spec.secret)


class Webhooks:
    """Every webhook of the process."""

    def __init__(
        self,
        *,
        log: EventLog,
        http: HttpPost,
        guard: OutgoingGuard,
        storage: Storage,
        clock: Clock,
        settings: OutboxSettings | None = None,
        between: Callable[[int, int], int] = random.randint,
    ) -> None:
        """Reads the log from its beginning, once `load` was called."""
        self._log = log
        self._position = log.start
        self._http = http
        self._guard = guard
        self._storage = storage
        self._clock = clock
        self._settings = settings or OutboxSettings()
        self._between = between
        self._spool = Spool(storage, keep=self._settings.log_size)
        self._by_id: dict[str, Endpoint] = {}
        self._gone = WebhookTotals()
        self._configured: dict[str, WebhookSpec] = {}
        self._saving = asyncio.Lock()
        self._off: Callable[[], None] = lambda: None

    # ---- reading ----------------------------------------------------------------------------

    def all(self) -> list[Endpoint]:
        """Every one, in the order of adding."""
        return list(self._by_id.values())

    def get(self, ident: str) -> Endpoint:
        """One of them. Raises `NotFoundError`."""
        found = self._by_id.get(ident)
        if found is None:
            raise NotFoundError(f"there is no webhook {ident[:64]!a}")
        return found

    @property
    def queued(self) -> int:
        """Events that wait, for all of them."""
        return sum(len(one.outbox) for one in self._by_id.values())

    def states(self) -> dict[str, int]:
        """How many are in which state."""
        counts = dict.fromkeys((state.value for state in WebhookState), 0)
        for one in self._by_id.values():
            counts[one.state.value] += 1
        return counts

    @property
    def spool_failures(self) -> int:
        """Writes to the storage that failed."""
        return self._spool.failures

    def totals(self) -> WebhookTotals:
        """Sums since the start."""
        sums = replace(self._gone)
        for one in self._by_id.values():
            sums.add(one.outbox)
        return sums

    # ---- changing ---------------------------------------------------------------------------

    async def load(self, configured: Iterable[ConfiguredWebhook]) -> None:
        """Takes in those of the configuration and the stored ones, with what they have to send.

        Raises `ConfigError` for one of the configuration that cannot be, and `StorageError`.
        """
        kept = restore(await self._storage.read_deliveries())
        self._configured = self.check_configured(configured)
        for spec in self._configured.values():
            self._enter(spec, kept.pop(spec.id, ()))
        for spec in _read_stored(await self._storage.get(_STORED_AS)):
            try:
                self._check(spec)
            except RefusedError as error:
                logger.warning("webhook %s is left out: %s", spec.id, error)
            else:
                self._enter(spec, kept.pop(spec.id, ()))
        for forgotten in kept:
            self._spool.forget(forgotten)
        self._off = self._log.wake(self._read_log)
        self._read_log()
        for endpoint in self.all():
            endpoint.start()

    def check_configured(self, configured: Iterable[ConfiguredWebhook]) -> dict[str, WebhookSpec]:
        """Those of a configuration by id. Raises `ConfigError` for one that cannot be."""
        specs: dict[str, WebhookSpec] = {}
        for index, one in enumerate(configured):
            spec = one.spec()
            try:
                self._check(spec)
            except RefusedError as error:
                raise ConfigError(f"webhooks[{index}]: {error}") from None
            specs[spec.id] = spec
        return specs

    async def configure(self, configured: Iterable[ConfiguredWebhook]) -> None:
        """Takes over another configuration while running.

        What it no longer has is forgotten, with what waited; what it says as before stays as it
        is, paused through the API or not. Raises `ConfigError`; nothing has changed then.
        """
        specs = self.check_configured(configured)
        before, self._configured = self._configured, specs
        for ident in before.keys() - specs.keys():
            if ident in self._by_id:
                await self._drop(self._by_id[ident])
        for ident, spec in specs.items():
            found = self._by_id.get(ident)
            if found is None:
                self._enter(spec, ()).start()
            elif spec != before.get(ident):
                found.change(spec)

    async def add(self, spec: WebhookSpec) -> Endpoint:
        """Adds one, with a new id and, where it has none, a new secret.

        Raises `InvalidWebhookError`, `WebhookConflictError` for a URL that is there already,
        `FullError`, and `StorageError` (nothing is added then).
        """
        secret = spec.secret or signing.new_secret()
        spec = replace(spec, id=secrets.token_hex(8), secret=secret, configured=False)
        self._check(spec)
        if len(self._by_id) >= _IN_ALL:
            raise FullError(f"there are {_IN_ALL} webhooks already")
        added = self._enter(spec, ())
        try:
            await self._save()
        except BaseException:
            self._by_id.pop(spec.id, None)
            raise
        added.start()
        return added

    async def change(self, ident: str, change: Callable[[WebhookSpec], WebhookSpec]) -> Endpoint:
        """Changes one, and tries at once what waits.

        What the configuration says comes back with the next start. Raises `NotFoundError`,
        `InvalidWebhookError`, `WebhookConflictError`, `StorageError`.
        """
        found = self.get(ident)
        spec = change(found.spec)
        if spec != found.spec:
            self._check(spec)
        # Kept first: what an error answers must not have happened.
        await self._save(found, spec)
        found.change(spec)
        return found

    async def remove(self, ident: str) -> None:
        """Forgets one, with all that it had to send.

        Raises `NotFoundError`, `WebhookConflictError` for one of the configuration,
        `StorageError`.
        """
        found = self.get(ident)
        if found.spec.configured:
            raise WebhookConflictError(
                "this webhook stands in the configuration: remove it there, or pause it here"
            )
        await self._save(found, None)
        await self._drop(found)

    async def close(self, grace_s: float = 0) -> None:
        """Sends what can be sent within the grace; the rest waits for the next start."""
        self._read_log()
        self._off()
        if grace_s and self._by_id:
            try:
                async with asyncio.timeout(grace_s):
                    await asyncio.gather(*(one.settle() for one in self.all()))
            except TimeoutError:
                pass  # the rest waits for the next start
        await asyncio.gather(*(one.close() for one in self.all()))
        await self._spool.flush()

    # ---- inside -----------------------------------------------------------------------------

    def _read_log(self) -> None:
        """Hands out what is new. Called once per turn of the loop, and never by an emitter."""
        events = self._log.since(self._position)
        if not events:
            return
        self._position = events[-1].position + 1
        endpoints = list(self._by_id.values())
        for event in events:
            for endpoint in endpoints:
                endpoint.offer(event)

    def _check(self, spec: WebhookSpec) -> None:
        check_wishes(spec)
        try:
            self._guard.check_literal(urlsplit(spec.url).hostname or "")
        except ForbiddenAddressError as error:
            raise InvalidWebhookError(str(error)) from None
        for other in self._by_id.values():
            if other.spec.url == spec.url and other.spec.id != spec.id:
                raise WebhookConflictError(
                    f"webhook {other.spec.id} has this URL; change that one, or remove it first"
                )

    def _enter(self, spec: WebhookSpec, kept: Iterable[Delivery]) -> Endpoint:
        outbox = Outbox(Backoff(self._between), self._settings)
        outbox.restore(kept)
        outbox.on_change = lambda delivery: self._spool.put(spec.id, delivery)
        endpoint = Endpoint(spec, outbox, self._http, self._clock)
        self._by_id[spec.id] = endpoint
        return endpoint

    async def _drop(self, one: Endpoint) -> None:
        if self._by_id.pop(one.spec.id, None) is None:
            return
        await one.close()
        self._gone.add(one.outbox)
        self._spool.forget(one.spec.id)

    async def _save(self, changed: Endpoint | None = None, spec: WebhookSpec | None = None) -> None:
        """Keeps all of them, one with a new specification, or with None without it."""
        # One after the other, each with what is true when its turn comes.
        async with self._saving:
            specs = [spec if one is changed else one.spec for one in self.all()]
            kept = [
                msgspec.to_builtins(msgspec.convert(one, _Stored, from_attributes=True))
                for one in specs
                if one is not None and not one.configured
            ]
            await self._storage.set(_STORED_AS, kept)


def _read_stored(value: Any) -> Iterator[WebhookSpec]:
    try:
        stored = msgspec.convert(value or [], list[_Stored])
    except msgspec.ValidationError as error:
        logger.error("the stored webhooks cannot be read: %s", error)
        return
    for one in stored:
        yield WebhookSpec(**msgspec.structs.asdict(one))
