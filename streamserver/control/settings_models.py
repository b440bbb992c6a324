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

Bound = Annotated[int, Meta(ge=1, le=10_000_000)]
Connections = Annotated[int, Meta(ge=64, le=10_000_000)]
"""Fewer could shut out the API itself, and with it the way back."""

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
    ban_after: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType | None,
        _says("Failed tries after which an address is banned; 0: never."),
    ] = msgspec.field(default=UNSET, name="auth.ban_after")
    ban_window_s: Annotated[
        Annotated[float, Meta(ge=0.1, le=3600)] | UnsetType | None,
        _says("Seconds within which they count."),
    ] = msgspec.field(default=UNSET, name="auth.ban_window_s")
    ban_s: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | UnsetType | None,
        _says("Seconds that a ban lasts."),
    ] = msgspec.field(default=UNSET, name="auth.ban_s")
    max_publishers: Annotated[
        Bound | UnsetType | None, _says("Streams that may be published at once.")
    ] = msgspec.field(default=UNSET, name="limits.max_publishers")
    publishers_per_address: Annotated[
        Bound | UnsetType | None, _says("Streams that one address may publish at once.")
    ] = msgspec.field(default=UNSET, name="limits.publishers_per_address")
    publisher_bit_rate: Annotated[
        Annotated[int, Meta(ge=100_000, le=10_000_000_000)] | UnsetType | None,
        _says("Bits per second of one publisher."),
    ] = msgspec.field(default=UNSET, name="limits.publisher_bit_rate")
    viewers_per_stream: Annotated[
        Bound | UnsetType | None, _says("Viewers of one stream at once.")
    ] = msgspec.field(default=UNSET, name="limits.viewers_per_stream")
    max_connections: Annotated[
        Connections | UnsetType | None, _says("Connections of one listener at once.")
    ] = msgspec.field(default=UNSET, name="limits.max_connections")
    connections_per_address: Annotated[
        Connections | UnsetType | None, _says("Connections of one address at once.")
    ] = msgspec.field(default=UNSET, name="limits.connections_per_address")
    hls_sessions_per_address: Annotated[
        Bound | UnsetType | None, _says("HLS viewers of one address at once.")
    ] = msgspec.field(default=UNSET, name="limits.hls_sessions_per_address")
    parked_requests: Annotated[
        Bound | UnsetType | None, _says("HLS requests that may wait for the next part at once.")
    ] = msgspec.field(default=UNSET, name="limits.parked_requests")
    bytes_before_auth: Annotated[
        Annotated[int, Meta(ge=64 * 1024, le=64 * 1024 * 1024)] | UnsetType | None,
        _says("Bytes that a new RTMP connection may send before it is let in."),
    ] = msgspec.field(default=UNSET, name="limits.bytes_before_auth")
    max_message_bytes: Annotated[
        Annotated[int, Meta(ge=64 * 1024, le=16 * 1024 * 1024 - 1)] | UnsetType | None,
        _says("The largest media message that a new RTMP connection may send."),
    ] = msgspec.field(default=UNSET, name="limits.max_message_bytes")


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a new look at the configuration found."""

    changed: Annotated[list[str], _says("Keys that changed and hold now.")]
    needs_restart: Annotated[list[str], _says("Keys that changed and hold after a restart.")]
