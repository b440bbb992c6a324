"""A new look at the configuration: what can change without disconnecting anybody, does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamserver.auth import Access
from streamserver.config import Config, InvalidConfigError, LoadedConfig
from streamserver.control.credentials import CredentialControl
from streamserver.control.live_settings import OF_SERVER, LiveSettings
from streamserver.control.settings_models import Reloaded
from streamserver.errors import ConfigError, RefusedError

__all__ = ["LivePart", "ReloadError", "Reloading"]

_ACCESS: Final = (
    "auth.api_token",
    "auth.keys",
    "auth.anonymous_publish",
    "auth.open_play",
    "auth.order",
    "auth.hooks",
    "auth.jwt",
)
"""What `Access.load` takes over."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """A part of the server that takes over a changed configuration while it runs."""

    keys: tuple[str, ...]
    """The keys that it takes over."""

    check: Callable[[Config], None] = lambda config: None
    """Raises `ConfigError` for what it cannot take over."""

    apply: Callable[[Config], Awaitable[None]]
    """Takes it over; asked only when one of its keys has changed, and all checks were good."""


class ReloadError(RefusedError):
    """The configuration has faults; what held before still holds."""

    http_status = 409


class Reloading:
    """Reads the configuration again. A key that is gone ends the sessions that came with it."""

    def __init__(
        self,
        live: LiveSettings,
        access: Access,
        credentials: CredentialControl,
        reload_certificates: Callable[[], None],
        parts: Sequence[LivePart] = (),
    ) -> None:
        self._live = live
        self._access = access
        self._credentials = credentials
        self._reload_certificates = reload_certificates
        self._parts = tuple(parts)
        self._held = frozenset(OF_SERVER).union(*(part.keys for part in parts))
        self._started = live.loaded
        self._reloading = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Takes over what can be; names the rest. Raises `ReloadError` and `StorageError`."""
        async with self._reloading:
            before = self._live.loaded
            try:
                loaded = await asyncio.to_thread(before.reread)
                changed = _differences(before, loaded)
                parts = [part for part in self._parts if not {*part.keys}.isdisjoint(changed)]
                for part in parts:
                    part.check(loaded.config)
                # It can still fail, and leaves everything as it was then: so it is the first.
                if any(_is_access(key) for key in changed):
                    for tag in await self._access.load(loaded.config.auth):
                        self._credentials.end_sessions_of(tag)
            except (InvalidConfigError, ConfigError) as error:
                raise ReloadError(f"nothing was changed: {error}") from None
            self._reload_certificates()
            try:
                for part in parts:
                    await part.apply(loaded.config)
            except ConfigError as error:
                # Somebody made the same through the API since it was checked.
                raise ReloadError(f"not all was changed; reload again: {error}") from None
            # The last: what was not taken over counts as changed the next time, too.
            self._live.configure(loaded)
            held = [key for key in changed if self._is_live(key)]
            # Against the start, not the last look: it has waited since then.
            waiting = [key for key in _differences(self._started, loaded) if not self._is_live(key)]
        logger.info(
            "configuration read again: changed %s; after a restart %s",
            ", ".join(held) or "nothing",
            ", ".join(waiting) or "nothing",
        )
        return Reloaded(changed=held, needs_restart=waiting)

    def _is_live(self, key: str) -> bool:
        return _is_access(key) or _is_slate(key) or key in self._held


def _is_access(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in _ACCESS)


def _is_slate(key: str) -> bool:
    """Slates are looked up for each stream that starts; see `slate_of`."""
    return key == "server.slate" or (key.startswith("streams.") and key.endswith(".slate"))


def _differences(before: LoadedConfig, after: LoadedConfig) -> list[str]:
    old = {key: value for key, value, _ in before.items()}
    return [key for key, value, _ in after.items() if old.get(key) != value]
