"""Gives freed memory back to the kernel.

A broadcast is megabytes in pieces of all sizes. glibc keeps the pages that they leave behind, since
a few small survivors stand between them: measured, ten streams of 2.65 Mbit/s that came three times
left 303 MB resident, and 92 MB after ``malloc_trim``.
"""

import ctypes
import gc
import logging
from collections.abc import Callable
from typing import Final

from streamserver.hub.registry import StreamListener
from streamserver.hub.stream import Stream

__all__ = ["MemoryReturn", "malloc_trim"]

_AFTER_NS: Final = 45_000_000_000
"""From the end of a broadcast until nothing of it can be fetched any more."""

logger = logging.getLogger(__name__)


def malloc_trim() -> bool:
    """Whether anything could be given back; False where the C library is not glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return False
    return bool(trim(0))


class MemoryReturn(StreamListener):
    """Calls ``give_back`` once, some time after broadcasts ended."""

    def __init__(self, now_ns: Callable[[], int], give_back: Callable[[], object]) -> None:
        self._now_ns = now_ns
        self._give_back = give_back
        self._due_ns: int | None = None

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Notes that there will be something to give back."""
        if self._due_ns is None:
            self._due_ns = self._now_ns() + _AFTER_NS

    def tick(self, now_ns: int) -> None:
        """Lets time pass."""
        if self._due_ns is not None and now_ns >= self._due_ns:
            self._due_ns = None
            # What stands in cycles is garbage that no counter of references finds.
            gc.collect()
            self._give_back()
