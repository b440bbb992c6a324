"""CPU time and memory of a server's processes, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree of processes used so far."""

    cpu_ms: float
    """User and system time of all its processes, in milliseconds (250 Hz ticks)."""

    rss_kb: int
    """Resident memory of all its processes, shared pages counted in each."""


def usage(root: int) -> Usage:
    """Sums over a process and its descendants."""
    ticks = rss_kb = 0
    for pid in _tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        rss_kb += next(
            (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0
        )
    return Usage(ticks * _TICK_MS, rss_kb)


def _tree(root: int) -> list[int]:
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        queue.extend(int(child) for child in children)
    return found
