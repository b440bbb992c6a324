"""Settings: frozen values with their units, read from file, environment and flags."""

from streamserver.config.loader import LoadedConfig, load
from streamserver.config.memory import MemoryBound, memory_bound
from streamserver.config.model import (
    AuthConfig,
    Config,
    DestinationConfig,
    HlsConfig,
    HttpConfig,
    IceServerConfig,
    KeyAction,
    KeyConfig,
    LimitsConfig,
    LogConfig,
    LogFormat,
    LogLevel,
    OutgoingConfig,
    RtmpConfig,
    ServerConfig,
    StorageConfig,
    StreamConfig,
    WebhookConfig,
    WebrtcConfig,
)
from streamserver.config.secret import Secret
from streamserver.config.sources import Fault, InvalidConfigError, Source, SourceKind

__all__ = [
    "AuthConfig",
    "Config",
    "DestinationConfig",
    "Fault",
    "HlsConfig",
    "HttpConfig",
    "IceServerConfig",
    "InvalidConfigError",
    "KeyAction",
    "KeyConfig",
    "LimitsConfig",
    "LoadedConfig",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "MemoryBound",
    "OutgoingConfig",
    "RtmpConfig",
    "Secret",
    "ServerConfig",
    "Source",
    "SourceKind",
    "StorageConfig",
    "StreamConfig",
    "WebhookConfig",
    "WebrtcConfig",
    "load",
    "memory_bound",
]
