"""What may change while the server runs: values of the API over those of the configuration."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from streamserver.config import Config, LoadedConfig, LogLevel, SourceKind, Takeover
from streamserver.control.settings_models import (
    Setting,
    Settings,
    SettingSource,
    StreamSettings,
)
from streamserver.errors import FullError
from streamserver.names import StreamKey
from streamserver.storage import Storage

__all__ = ["OF_SERVER", "OF_STREAMS", "WHOLE", "LiveSettings", "check_pattern"]

_STORED_AS: Final = "settings"
"""The setting of the storage that holds those made through the API."""

WHOLE: Final = "*"
"""The pattern that stands for the whole server."""

OF_STREAMS: Final = ("server.reconnect_window_s", "server.takeover", "http.public_viewer_count")
"""Keys that a pattern of streams may have values of its own for."""

OF_SERVER: Final = (
    *OF_STREAMS,
    "log.level",
    "auth.ban_after",
    "auth.ban_window_s",
    "auth.ban_s",
    "limits.max_publishers",
    "limits.publishers_per_address",
    "limits.publisher_bit_rate",
    "limits.viewers_per_stream",
    "limits.max_connections",
    "limits.connections_per_address",
    "limits.hls_sessions_per_address",
    "limits.parked_requests",
    "limits.bytes_before_auth",
    "limits.max_message_bytes",
)
"""Every key that the API may change for the whole server."""

_MAX_PATTERNS: Final = 1_000

_SOURCES: Final = {
    SourceKind.DEFAULT: SettingSource.DEFAULT,
    SourceKind.FILE: SettingSource.FILE,
    SourceKind.ENVIRONMENT: SettingSource.ENVIRONMENT,
    SourceKind.FLAG: SettingSource.FLAG,
}


def check_pattern(app: str, name: str) -> str:
    """``app/name`` or ``app/*`` as a pattern. Raises `InvalidNameError`."""
    StreamKey(app, "any" if name == WHOLE else name)
    return f"{app}/{name}"


class LiveSettings:
    """The settings, by pattern: ``app/name`` before ``app/*`` before the whole server's.

    Below them lies the configuration. Changes are in the storage before they hold.
    """

    def __init__(self, loaded: LoadedConfig, storage: Storage) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever a value may have changed."""
        self.loaded = loaded
        """The configuration; see `configure`."""
        self._storage = storage
        self._given: dict[str, dict[str, Any]] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Reads what earlier runs were told. Raises `StorageError`."""
        stored: Mapping[str, Mapping[str, Any]] = await self._storage.get(_STORED_AS) or {}
        self._given = {pattern: dict(values) for pattern, values in stored.items()}

    def configure(self, loaded: LoadedConfig) -> None:
        """Takes over a configuration; what the API was told stays above it."""
        self.loaded = loaded
        self.on_change()

    def show(self, pattern: str = WHOLE) -> Settings:
        """What holds for a pattern, and why."""
        keys = OF_SERVER if pattern == WHOLE else OF_STREAMS
        return Settings(pattern=pattern, items=[self._setting(key, pattern) for key in keys])

    async def change(self, change: StreamSettings, pattern: str = WHOLE) -> Settings:
        """Changes what is given; None takes back what the API said before.

        Raises `FullError` and `StorageError`; nothing has changed then.
        """
        wishes: dict[str, Any] = msgspec.to_builtins(change)
        async with self._changing:
            given = {key: dict(values) for key, values in self._given.items()}
            values = given.setdefault(pattern, {})
            values.update(wishes)
            given[pattern] = {key: value for key, value in values.items() if value is not None}
            given = {key: values for key, values in given.items() if values}
            if len(given) > _MAX_PATTERNS:
                raise FullError(f"there are settings for {_MAX_PATTERNS} patterns already")
            await self._storage.set(_STORED_AS, given)
            self._given = given
        self.on_change()
        return self.show(pattern)

    def is_given(self, key: str) -> bool:
        """Whether the API has said something about a key of the whole server."""
        return key in self._given.get(WHOLE, {})

    @property
    def config(self) -> Config:
        """The configuration, with what the API says about the whole server in it."""
        config = self.loaded.config
        for key in OF_SERVER:
            if self.is_given(key):
                section, _, name = key.partition(".")
                changed = replace(getattr(config, section), **{name: self._value(key)})
                config = replace(config, **{section: changed})
        return config

    # ---- what holds ---------------------------------------------------------------------------

    @property
    def log_level(self) -> LogLevel:
        """How much is logged."""
        return LogLevel(self._value("log.level"))

    @property
    def max_publishers(self) -> int:
        """Streams that may be published at once."""
        return int(self._value("limits.max_publishers"))

    def reconnect_window_ms(self, stream: StreamKey) -> int:
        """How long a stream waits for its publisher to return."""
        return int(self._value("server.reconnect_window_s", str(stream)) * 1000)

    def takeover(self, stream: StreamKey) -> Takeover:
        """When a newcomer takes the place of a stream's publisher."""
        return Takeover(self._value("server.takeover", str(stream)))

    def counts_publicly(self, stream: StreamKey | None) -> bool:
        """Whether everyone may read how many watch a stream."""
        return bool(self._value("http.public_viewer_count", str(stream) if stream else WHOLE))

    def _value(self, key: str, pattern: str = WHOLE) -> Any:
        return self._setting(key, pattern).value

    def _setting(self, key: str, pattern: str) -> Setting:
        for candidate in dict.fromkeys((pattern, f"{pattern.partition('/')[0]}/*", WHOLE)):
            if key in self._given.get(candidate, {}):
                value = self._given[candidate][key]
                return Setting(key=key, value=value, source=SettingSource.API, where=candidate)
        value = self.loaded.config
        for part in key.split("."):
            value = getattr(value, part)
        source = self.loaded.source(key)
        kind = _SOURCES[source.kind]
        where = "" if kind is SettingSource.DEFAULT else str(source)
        return Setting(key=key, value=value, source=kind, where=where)
