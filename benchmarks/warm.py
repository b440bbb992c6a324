"""Memory that this machine has not used yet.

Where it is a virtual one, its host provides each page at the first touch, for many times what a
page costs otherwise. That is no server's price, and would be paid by the first that holds much.
"""

import mmap
import os
from typing import Final

__all__ = ["touch_memory"]

_MOST_BYTES: Final = 2 << 30
"""More than anything here holds at once."""


def touch_memory(most_bytes: int = _MOST_BYTES) -> int:
    """Writes to free memory, at most half of it, and gives it back; answers how many bytes."""
    page = mmap.PAGESIZE
    size = min(most_bytes, os.sysconf("SC_AVPHYS_PAGES") * page // 2) // page * page
    with mmap.mmap(-1, max(size, page)) as pages:
        for at in range(0, size, page):
            pages[at] = 1
    return size
