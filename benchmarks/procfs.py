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
    """User and system time of all its processes and threads, in milliseconds: the scheduler's
    nanoseconds where the kernel keeps them, else ticks of 10 ms."""

    rss_kb: int
    """Resident memory of all its processes, shared pages counted in each."""


def usage(root: int) -> Usage:
    """Sums over a process and its descendants. A thread that ended takes its time along."""
    cpu_ms, rss_kb = 0.0, 0
    for pid in _tree(root):
        try:
            cpu_ms += _cpu_ms(Path(f"/proc/{pid}"))
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        rss_kb += next(
            (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0
        )
    return Usage(cpu_ms, rss_kb)


def _cpu_ms(process: Path) -> float:
    total_ms = 0.0
    for task in (process / "task").iterdir():
        try:
            total_ms += int((task / "schedstat").read_text().split()[0]) / 1e6
        except OSError:
            # Built without CONFIG_SCHED_INFO: fields 14 and 15 of stat, of all threads at once.
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) * _TICK_MS
    return total_ms


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
