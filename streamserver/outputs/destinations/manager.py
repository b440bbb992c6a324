"""All destinations: who has which, what is not allowed, and what survives a restart."""

import asyncio
import hashlib
import logging
import random
import secrets
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from streamserver.clock import Clock
from streamserver.errors import (
    ConfigError,
    FullError,
    InvalidNameError,
    NotFoundError,
    RefusedError,
)
from streamserver.hub.registry import Registry, StreamListener
from streamserver.hub.stream import Stream
from streamserver.names import StreamKey
from streamserver.net.guard import ForbiddenAddressError, OutgoingGuard
from streamserver.outputs.destinations.destination import Destination, DestinationSpec, Push
from streamserver.outputs.destinations.failures import ConflictError
from streamserver.outputs.destinations.loops import OwnDoors, leads_back
from streamserver.outputs.destinations.states import DestinationState
from streamserver.outputs.destinations.stats import DestinationStats
from streamserver.rtmp.target import InvalidTargetError, PublishTarget, parse_target
from streamserver.storage import Storage

__all__ = ["ConfiguredDestination", "DestinationTotals", "Destinations", "PrivateDestinationError"]

_STORED_AS: Final = "destinations"
"""The setting that holds those made through the API."""

_PER_STREAM: Final = 32
_IN_ALL: Final = 1_000

logger = logging.getLogger(__name__)


class PrivateDestinationError(InvalidTargetError):
    """The URL leads where this server must not go."""


class _Stored(msgspec.Struct, frozen=True):
    """How a destination is kept."""

    id: str
    app: str
    stream: str
    url: str
    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ConfiguredDestination:
    """One ``[[destinations]]``."""

    stream: str
    """``app/name``."""

    url: str = field(repr=False)
    """Where to; holds the key."""

    name: str = ""
    """For people."""

    enabled: bool = True
    """False: paused."""

    def spec(self) -> DestinationSpec:
        """The same with an id. Raises `InvalidNameError`."""
        key = StreamKey.parse(self.stream)
        # The same at each start, and telling nothing about the URL.
        digest = hashlib.sha256(f"{key} {self.url}".encode()).hexdigest()
        return DestinationSpec(
            id=f"c{digest[:15]}",
            stream=key,
            url=self.url,
            name=self.name,
            enabled=self.enabled,
            configured=True,
        )


@dataclass(slots=True)
class DestinationTotals:
    """Sums over destinations."""

    bytes_sent: int = 0
    """Bytes that arrived."""

    dropped_frames: int = 0
    """Frames passed over."""

    reconnects: int = 0
    """Attempts after the first of a broadcast."""

    def add(self, stats: DestinationStats) -> None:
        """Adds one destination."""
        self.bytes_sent += stats.bytes_sent
        self.dropped_frames += stats.dropped_frames
        self.reconnects += stats.reconnects


class Destinations(StreamListener):
    """Every destination of the process."""

    def __init__(
        self,
        *,
        registry: Registry,
        push: Push,
        guard: OutgoingGuard,
        doors: OwnDoors,
        storage: Storage,
        clock: Clock,
        between: Callable[[int, int], int] = random.randint,
    ) -> None:
        """Give it to ``registry.add_listener`` after `load`."""
        self.gone = DestinationTotals()
        """Of those that are no longer there, so that sums never fall."""
        self.failures: Counter[str] = Counter()
        """Failed attempts since the start, by class."""
        self.on_state: Callable[[Destination, DestinationState], None] = lambda one, before: None
        """Told of each destination that came into another state, with the one before."""
        self._registry = registry
        self._push = push
        self._guard = guard
        self._doors = doors
        self._storage = storage
        self._clock = clock
        self._between = between
        self._by_stream: dict[StreamKey, dict[str, Destination]] = {}
        self._configured: dict[str, DestinationSpec] = {}
        self._saving = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    # ---- reading ----------------------------------------------------------------------------

    def all(self) -> Iterator[Destination]:
        """Every one, by stream, in the order of adding."""
        return iter([one for of_stream in self._by_stream.values() for one in of_stream.values()])

    def of(self, key: StreamKey) -> list[Destination]:
        """Those of one stream, in the order of adding."""
        return list(self._by_stream.get(key, {}).values())

    def get(self, key: StreamKey, ident: str) -> Destination:
        """One of a stream. Raises `NotFoundError`."""
        found = self._by_stream.get(key, {}).get(ident)
        if found is None:
            raise NotFoundError(f"{key} has no destination {ident[:64]!a}")
        return found

    def totals(self) -> DestinationTotals:
        """Sums since the start."""
        sums = replace(self.gone)
        for one in self.all():
            sums.add(one.stats)
        return sums

    # ---- changing ---------------------------------------------------------------------------

    async def load(self, configured: Iterable[ConfiguredDestination]) -> None:
        """Takes in those of the configuration and the stored ones.

        Raises `ConfigError` for one of the configuration that cannot be; a stored one that no
        longer can is left out with a warning. Raises `StorageError`.
        """
        await self.configure(configured)
        for spec in _read_stored(await self._storage.get(_STORED_AS)):
            try:
                self._enter(spec, self._check(spec.stream, spec.url))
            except (InvalidTargetError, ConflictError, FullError) as error:
                logger.warning("a destination of %s is left out: %s", spec.stream, error)

    def check_configured(
        self, configured: Iterable[ConfiguredDestination]
    ) -> dict[str, DestinationSpec]:
        """Those of a configuration by id. Raises `ConfigError` for one that cannot be."""
        specs: dict[str, DestinationSpec] = {}
        seen: list[tuple[StreamKey, PublishTarget]] = []
        for index, one in enumerate(configured):
            try:
                spec = one.spec()
                # Those of the configuration before make room.
                target = self._check(spec.stream, spec.url, self._configured, seen)
            except RefusedError as error:
                raise ConfigError(f"destinations[{index}]: {error}") from None
            seen.append((spec.stream, target))
            specs[spec.id] = spec
        return specs

    async def configure(self, configured: Iterable[ConfiguredDestination]) -> None:
        """Takes over another configuration, at the start or while running.

        What it no longer has is taken leave of; what it says as before stays as it is, paused
        through the API or not. Raises `ConfigError`; nothing has changed then.
        """
        specs = self.check_configured(configured)
        before, self._configured = self._configured, specs
        there = {one.spec.id: one for one in self.all()}
        for ident in before.keys() - specs.keys():
            if ident in there:
                await self._drop(there[ident])
        for ident, spec in specs.items():
            found = there.get(ident)
            if found is None:
                self._start(self._enter(spec, parse_target(spec.url)))
            elif spec != before.get(ident):
                found.change(spec)

    async def add(
        self, key: StreamKey, url: str, *, name: str = "", enabled: bool = True
    ) -> Destination:
        """Adds one, which begins at once when the stream is live.

        Raises `InvalidTargetError`, `PrivateDestinationError`, `ConflictError` for a duplicate
        and for a loop, `FullError`, and `StorageError` (nothing is added then).
        """
        if "@" in key.name:
            raise InvalidNameError("names with @ are renditions; send the stream itself on")
        target = self._check(key, url)
        spec = DestinationSpec(
            id=secrets.token_hex(8), stream=key, url=url, name=name, enabled=enabled
        )
        # Entered first: two calls at the same time must not both find that there is no duplicate.
        added = self._enter(spec, target)
        try:
            await self._save()
        except BaseException:
            await self._drop(added)
            raise
        self._start(added)
        return added

    async def lend(self, key: StreamKey, urls: Sequence[str]) -> None:
        """Sends this broadcast on to some URLs, until it ends; what cannot be is left out.

        What an earlier answer to the same question had named, and this one does not, ends now.
        """
        targets: list[tuple[str, PublishTarget]] = []
        for url in urls:
            try:
                targets.append((url, parse_target(url)))
            except InvalidTargetError as error:
                logger.warning("a hook's destination of %s is left out: %s", key, error)
        wanted = [target for _, target in targets]
        for one in self.of(key):
            if one.spec.passing and not any(_same(one.target, target) for target in wanted):
                await self._drop(one)
        for url, target in targets:
            if any(_same(one.target, target) for one in self.of(key)):
                continue  # a publisher that came back: it goes on
            try:
                spec = DestinationSpec(id=secrets.token_hex(8), stream=key, url=url, passing=True)
                self._start(self._enter(spec, self._check(key, url)))
            except RefusedError as error:
                logger.warning("a hook's destination of %s is left out: %s", key, error)

    async def change(
        self, key: StreamKey, ident: str, *, name: str | None = None, enabled: bool | None = None
    ) -> Destination:
        """Renames, pauses or resumes one; None leaves as it is.

        What the configuration says comes back with the next start. Raises `NotFoundError`,
        `StorageError`.
        """
        found = self.get(key, ident)
        spec = replace(
            found.spec,
            name=found.spec.name if name is None else name,
            enabled=found.spec.enabled if enabled is None else enabled,
        )
        # Kept first: what an error answers must not have happened.
        await self._save(found, spec)
        found.change(spec)
        return found

    async def remove(self, key: StreamKey, ident: str) -> None:
        """Takes leave of the far side and forgets it.

        Raises `NotFoundError`, `ConflictError` for one of the configuration, `StorageError`.
        """
        found = self.get(key, ident)
        if found.spec.configured:
            raise ConflictError(
                "this destination stands in the configuration: remove it there, or pause it here"
            )
        await self._save(found, None)
        await self._drop(found)

    async def close(self) -> None:
        """Takes leave of every far side."""
        await asyncio.gather(*(one.close() for one in self.all()), *self._leaving)

    # ---- streams ----------------------------------------------------------------------------

    def stream_started(self, stream: Stream) -> None:
        """See `StreamListener`."""
        for one in self.of(stream.key):
            one.stream_started(stream)

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """See `StreamListener`."""
        for one in self.of(stream.key):
            one.stream_ended(stream)
            if one.spec.passing:
                self._take_leave(one)

    # ---- inside -----------------------------------------------------------------------------

    def _check(
        self,
        key: StreamKey,
        url: str,
        leaving: Container[str] = (),
        coming: Sequence[tuple[StreamKey, PublishTarget]] = (),
    ) -> PublishTarget:
        """The target of a URL that may be sent to, beside all but those that are leaving."""
        target = parse_target(url)
        try:
            self._guard.check_literal(target.host)
        except ForbiddenAddressError as error:
            raise PrivateDestinationError(str(error)) from None
        others = [(one.key, one.target) for one in self.all() if one.spec.id not in leaving]
        others += coming
        of_stream = [other for stream, other in others if stream == key]
        if any(_same(other, target) for other in of_stream):
            raise ConflictError(f"{key} is sent to {target.masked()} already")
        own = self._doors.stream_named(target)
        if own is not None and leads_back(key, own, self._onward(others)):
            raise ConflictError(f"{target.masked()} leads back to {key} on this very server")
        if len(of_stream) >= _PER_STREAM:
            raise FullError(f"{key} has {_PER_STREAM} destinations already")
        if len(others) >= _IN_ALL:
            raise FullError(f"there are {_IN_ALL} destinations already")
        return target

    def _is_loop(self, one: Destination, local_ip: str, peer_ip: str) -> bool:
        behind = self._doors.stream_behind(one.target, local_ip, peer_ip)
        onward = self._onward((other.key, other.target) for other in self.all())
        return behind is not None and leads_back(one.key, behind, onward)

    def _onward(
        self, targets: Iterable[tuple[StreamKey, PublishTarget]]
    ) -> Mapping[StreamKey, list[StreamKey]]:
        onward: dict[StreamKey, list[StreamKey]] = {}
        for key, target in targets:
            own = self._doors.stream_named(target)
            if own is not None:
                onward.setdefault(key, []).append(own)
        return onward

    def _enter(self, spec: DestinationSpec, target: PublishTarget) -> Destination:
        one = Destination(
            spec,
            target,
            push=self._push,
            clock=self._clock,
            between=self._between,
            is_loop=self._is_loop,
        )
        one.on_change = self._changed
        self._by_stream.setdefault(spec.stream, {})[spec.id] = one
        return one

    def _start(self, one: Destination) -> None:
        stream = self._registry.get(one.key)
        if stream is not None:
            one.stream_started(stream)

    def _take_leave(self, one: Destination) -> None:
        task = asyncio.get_running_loop().create_task(self._drop(one))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _drop(self, one: Destination) -> None:
        of_stream = self._by_stream.get(one.key, {})
        if of_stream.pop(one.spec.id, None) is None:
            return
        if not of_stream:
            del self._by_stream[one.key]
        await one.close()
        self.gone.add(one.stats)

    async def _save(
        self, changed: Destination | None = None, spec: DestinationSpec | None = None
    ) -> None:
        """Keeps all of them, one with a new specification, or with None without it."""
        # One after the other, each with what is true when its turn comes.
        async with self._saving:
            specs = [spec if one is changed else one.spec for one in self.all()]
            kept = [
                msgspec.to_builtins(
                    _Stored(one.id, one.stream.app, one.stream.name, one.url, one.name, one.enabled)
                )
                for one in specs
                if one is not None and not (one.configured or one.passing)
            ]
            await self._storage.set(_STORED_AS, kept)

    def _changed(self, one: Destination, before: DestinationState) -> None:
        error = one.last_error
        failed = one.state in (DestinationState.BACKOFF, DestinationState.FAILED)
        if failed and error is not None:
            self.failures[error.error_class.value] += 1
        reason = f" ({error.error_class}: {error.message})" if failed and error else ""
        logger.info(
            "%s to %s: %s%s", one.key, one.target.masked(), one.state.value, reason,
            extra={"stream": str(one.key), "destination": one.spec.id},
        )  # fmt: skip
        self.on_state(one, before)


def _same(one: PublishTarget, other: PublishTarget) -> bool:
    """Whether two targets are one stream of one far side."""
    return (one.host, one.port, one.app, one.key) == (other.host, other.port, other.app, other.key)


def _read_stored(value: Any) -> Iterator[DestinationSpec]:
    try:
        stored = msgspec.convert(value or [], list[_Stored])
        for one in stored:
            yield DestinationSpec(
                id=one.id,
                stream=StreamKey(one.app, one.stream),
                url=one.url,
                name=one.name,
                enabled=one.enabled,
            )
    except (msgspec.ValidationError, InvalidNameError) as error:
        logger.error("the stored destinations cannot be read: %s", error)
