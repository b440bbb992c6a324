"""What is live, kept in the storage, so that a start after a crash can say what ended."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from streamserver.storage import Storage, StorageError

__all__ = ["LiveBroadcast", "LiveRecord", "next_boot"]

_STORED_AS: Final = "events.live"
_BOOT_STORED_AS: Final = "events.boot"

_APART_S: Final = 0.1
"""From one write to the next, at least: each holds all that is live, and streams begin and end by
the hundred."""

logger = logging.getLogger(__name__)


class LiveBroadcast(msgspec.Struct, frozen=True, kw_only=True):
    """One broadcast, as far as it was known."""

    app: str
    """First segment of the stream's name."""

    name: str
    """Second segment."""

    summary: dict[str, Any]
    """What ``stream.ended`` would have said."""


class LiveRecord:
    """Written by one task after each change, ten times a second at most; never waited for, except
    at the end."""

    def __init__(self, storage: Storage, snapshot: Callable[[], list[LiveBroadcast]]) -> None:
        """``snapshot`` tells what is live."""
        self.failures = 0
        """Writes that failed."""
        self._storage = storage
        self._snapshot = snapshot
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def left_over(self) -> list[LiveBroadcast]:
        """What was live when the process ended the last time. Raises `StorageError`."""
        value = await self._storage.get(_STORED_AS)
        try:
            return msgspec.convert(value or [], list[LiveBroadcast])
        except msgspec.ValidationError as error:
            logger.error("the record of what was live cannot be read: %s", error)
            return []

    def touch(self) -> None:
        """Something has changed."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write(), name="live record")

    async def flush(self) -> None:
        """Returns when the newest state is written, or could not be."""
        if self._task is not None:
            self._hurry.set()
            await asyncio.wait([self._task])
            self._hurry.clear()

    async def _write(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self._storage.set(_STORED_AS, msgspec.to_builtins(self._snapshot()))
            except StorageError as error:
                self.failures += 1
                logger.error("what is live could not be kept: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_APART_S):
                    await self._hurry.wait()


async def next_boot(storage: Storage, wall_ns: int) -> int:
    """The number of this start, unlike all before. Raises `StorageError` when it cannot be read.

    Without a memory, or where nothing can be written to it, it is the Unix time in seconds.
    """
    by_time = wall_ns // 1_000_000_000
    if not storage.durable:
        return by_time
    value = await storage.get(_BOOT_STORED_AS)
    boot = (value if isinstance(value, int) else 0) + 1
    try:
        await storage.set(_BOOT_STORED_AS, boot)
    except StorageError as error:
        logger.error("the server starts, and can keep nothing: %s", error)
        return by_time
    return boot
