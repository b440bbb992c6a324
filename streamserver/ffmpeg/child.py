"""Ends child processes, and keeps what they say last."""

import asyncio
import contextlib
from typing import Final

__all__ = ["end", "tail"]

_LAST_WORDS_BYTES: Final = 4096
_STOP_S: Final = 2


async def tail(stream: asyncio.StreamReader | None) -> str:
    """The last line that came, of the last few KB, once the stream is over."""
    kept = b""
    while stream is not None and (data := await stream.read(_LAST_WORDS_BYTES)):
        kept = (kept + data)[-_LAST_WORDS_BYTES:]
    lines = kept.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


async def end(process: asyncio.subprocess.Process) -> None:
    """Asks a process to end, then insists."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
