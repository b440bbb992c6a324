"""SVT-AV1, where it runs as root, makes the whole process SCHED_FIFO 99; its children inherit that.

A browser that then spins takes both cores from everybody, the kernel included. So whoever encodes
AV1 puts things right behind it.
"""

import os
from pathlib import Path

__all__ = ["be_ordinary"]


def be_ordinary() -> None:
    """Gives every thread of this process the ordinary scheduling back."""
    if not hasattr(os, "sched_setscheduler"):
        return
    for task in Path("/proc/self/task").iterdir():
        try:
            if os.sched_getscheduler(int(task.name)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
        except ProcessLookupError:
            # The thread has ended meanwhile.
            continue
