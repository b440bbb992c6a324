"""Shapes of the API that are about settings; see `models`."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streamserver.config import LogLevel, Takeover

__all__ = ["Reloaded", "Setting", "SettingSource", "Settings", "SettingsChange", "StreamSettings"]


def _says(text: str) -> Meta:
    return Meta(description=text)


class SettingSource(StrEnum):
    """Where a value comes from, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"
    API = "api"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that may change while the server runs."""

    key: Annotated[str, _says("As in the configuration.")]
    value: Annotated[Any, _says("What holds.")]
    source: Annotated[SettingSource, _says("Where it comes from.")]
    where: Annotated[str, _says("File and line, variable, or the pattern in the API; or empty.")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the server, or for the streams of a pattern."""

    pattern: Annotated[str, _says("app/name, app/*, or * for the whole server.")]
    items: Annotated[list[Setting], _says("Each with where it comes from.")]


Window = Annotated[float, Meta(ge=0, le=3600)]

_WINDOW = _says("Seconds that a stream waits for its publisher to return.")
_TAKEOVER = _says("When a newcomer takes the place of a stream's publisher.")
_COUNT = _says("Whether everyone may read how many watch.")


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes for the streams of a pattern; null takes a value of the API back."""

    reconnect_window_s: Annotated[Window | UnsetType | None, _WINDOW] = msgspec.field(
        default=UNSET, name="server.reconnect_window_s"
    )
    takeover: Annotated[Takeover | UnsetType | None, _TAKEOVER] = msgspec.field(
        default=UNSET, name="server.takeover"
    )
    public_viewer_count: Annotated[bool | UnsetType | None, _COUNT] = msgspec.field(
        default=UNSET, name="http.public_viewer_count"
    )


class SettingsChange(StreamSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes for the whole server; null takes a value of the API back."""

    log_level: Annotated[LogLevel | UnsetType | None, _says("How much is logged.")] = msgspec.field(
        default=UNSET, name="log.level"
    )
    max_publishers: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType | None,
        _says("Streams that may be published at once."),
    ] = msgspec.field(default=UNSET, name="limits.max_publishers")


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a new look at the configuration found."""

    changed: Annotated[list[str], _says("Keys that changed and hold now.")]
    needs_restart: Annotated[list[str], _says("Keys that changed and hold after a restart.")]
