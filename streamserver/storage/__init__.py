"""What outlives the process."""

from streamserver.storage.base import (
    Answers,
    Storage,
    StorageError,
    StorageInUseError,
    StoredAnswer,
    StoredDelivery,
    StoredStream,
    StreamKeys,
    StreamRecords,
    TokenRevocations,
)
from streamserver.storage.location import open_storage, state_directory
from streamserver.storage.memory import MemoryStorage
from streamserver.storage.sqlite import SqliteStorage

__all__ = [
    "Answers",
    "MemoryStorage",
    "SqliteStorage",
    "Storage",
    "StorageError",
    "StorageInUseError",
    "StoredAnswer",
    "StoredDelivery",
    "StoredStream",
    "StreamKeys",
    "StreamRecords",
    "TokenRevocations",
    "open_storage",
    "state_directory",
]
