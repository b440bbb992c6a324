"""The child process that converts pictures: records in, records out."""

import asyncio
import contextlib
from typing import Final, Protocol

from streamserver.ffmpeg.child import end, tail
from streamserver.ffmpeg.transcode_wire import COMMAND

__all__ = ["Child", "open_child"]

_READ_BYTES: Final = 256 * 1024


class Child(Protocol):
    """A process that converts, or what stands for one."""

    def write(self, data: bytes) -> None:
        """Sends it records. What it does not read waits here; `VideoRendition` bounds it."""

    async def read(self) -> bytes:
        """What it has sent; nothing at its end."""

    def kill(self) -> None:
        """Ends it without a word; `read` comes to its end."""

    async def close(self) -> str:
        """Waits until it is gone; answers its last words."""


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # Unread, its complaints would stop it one day.
        self._last_words = asyncio.create_task(tail(process.stderr), name="transcode-stderr")

    def write(self, data: bytes) -> None:
        target = self._process.stdin
        assert target is not None
        # uvloop raises where asyncio says nothing; `read` tells of the end in any case.
        with contextlib.suppress(OSError, RuntimeError):
            if not target.is_closing():
                target.write(data)

    async def read(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(_READ_BYTES)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> str:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await end(self._process)
        return await self._last_words or f"exit code {self._process.returncode}"


async def open_child() -> Child:
    """Starts one. Raises `OSError` where the system has no room for it."""
    return _Process(
        await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
