"""What a soak looks at while it lasts, and how it judges in the end."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.peers.server import RunningServer
from tests.soak.traffic import Seen

__all__ = ["Sample", "faults", "report", "sample", "worst_lag"]

_MIB: Final = 1024 * 1024
_MAX_SLOPE_MIB: Final = 1.0
"""Growth per minute over the later half of the run: sixty of an hour are a leak, noise is less."""

_MIN_MINUTES: Final = 4
"""A shorter run ends while caches and arenas still fill: its slope is told, not judged."""

_MORE_FDS: Final = 6
_MORE_THREADS: Final = 10
_MORE_TASKS: Final = 3
"""What an idle server may have more after than before: pools that were filled meanwhile (four
threads of libuv, two of c-ares, those of the executors)."""

_LAG: Final = re.compile(r'streamserver_loop_lag_seconds_bucket\{le="([^"]+)"\}')

_LINES_PER_MINUTE: Final = 1200
"""Each who joins and leaves makes two or three lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The server at one moment."""

    at_s: float
    """Monotonic seconds."""

    memory: int
    """Resident bytes."""

    fds: int
    """Open files."""

    threads: int
    """Threads."""

    tasks: int
    """Tasks of its loop."""

    lines: int
    """Lines in its log."""

    lags: dict[float, int] = field(default_factory=dict)
    """How often its loop was late, ever: counts of ticks by the bound in seconds that each kept."""


def sample(server: RunningServer) -> Sample:
    """Looks at the process."""
    process = Path(f"/proc/{server.pid}")
    metrics = server.metrics()
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return Sample(
        at_s=time.monotonic(),
        memory=int(status["VmRSS"].split()[0]) * 1024,
        fds=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        tasks=int(metrics["streamserver_tasks"]),
        lines=server.log().count("\n"),
        lags={
            float(found[1]): int(value)
            for name, value in metrics.items()
            if (found := _LAG.match(name)) is not None
        },
    )


def worst_lag(before: Sample, after: Sample) -> str:
    """Between which bounds the longest lag of the server's loop was meanwhile."""
    lower = 0.0
    ticks = {bound: count - before.lags.get(bound, 0) for bound, count in after.lags.items()}
    for bound in sorted(ticks):
        if ticks[bound] == ticks[max(ticks)]:
            return f"{lower:g} to {bound:g} s"
        lower = bound
    return "unknown"


def slope_mib_per_minute(samples: Sequence[Sample]) -> float:
    """Of memory, by least squares, over the later half."""
    later = samples[len(samples) // 2 :]
    if len(later) < 2:
        return 0.0
    times = [one.at_s / 60 for one in later]
    sizes = [one.memory / _MIB for one in later]
    mean_t, mean_s = sum(times) / len(times), sum(sizes) / len(sizes)
    above = sum((t - mean_t) * (s - mean_s) for t, s in zip(times, sizes, strict=True))
    below = sum((t - mean_t) ** 2 for t in times)
    return above / below if below else 0.0


def faults(
    before: Sample, samples: Sequence[Sample], after: Sample, seen: Seen, left_over: int
) -> list[str]:
    """What must not be."""
    found = list(seen.gaps)
    minutes = (samples[-1].at_s - samples[0].at_s) / 60
    slope = slope_mib_per_minute(samples)
    if minutes >= _MIN_MINUTES and slope > _MAX_SLOPE_MIB:
        found.append(f"memory grows by {slope:.2f} MiB a minute")
    for name, more in (("fds", _MORE_FDS), ("threads", _MORE_THREADS), ("tasks", _MORE_TASKS)):
        was, now = getattr(before, name), getattr(after, name)
        if now > was + more:
            found.append(f"{name}: {was} before anybody came, {now} when all had gone")
    if left_over:
        found.append(f"{left_over} sessions or streams are left when all have gone")
    if (samples[-1].lines - before.lines) / max(minutes, 0.1) > _LINES_PER_MINUTE:
        found.append(f"{samples[-1].lines - before.lines} log lines in {minutes:.1f} minutes")
    return found


def report(before: Sample, samples: Sequence[Sample], after: Sample, seen: Seen) -> str:
    """The figures."""
    minutes = (samples[-1].at_s - samples[0].at_s) / 60
    rows = [f"{minutes:.1f} minutes, {dict(sorted(seen.counts.items()))}"]
    rows.append(f"gaps seen by the viewers that stayed: {len(seen.gaps)}")
    silence = ", ".join(f"{way} {most:.2f} s" for way, most in sorted(seen.longest_s.items()))
    rows.append(f"their longest silence: {silence}; our own clients were late {seen.own_lag_s:.2f}")
    rows.append(f"the server's loop was late by at most {worst_lag(before, after)}")
    rows.append(f"our own publishers were late by {seen.late_s:.1f} s at worst")
    rows.append(f"{'':<18}{'before':>10}{'most':>10}{'after':>10}")
    for name in ("memory", "fds", "threads", "tasks", "lines"):
        unit = _MIB if name == "memory" else 1
        figures = [
            getattr(before, name) / unit,
            max(getattr(one, name) for one in samples) / unit,
            getattr(after, name) / unit,
        ]
        label = f"{name} (MiB)" if name == "memory" else name
        rows.append(f"{label:<18}" + "".join(f"{figure:>10.0f}" for figure in figures))
    rows.append(f"memory slope, later half: {slope_mib_per_minute(samples):+.2f} MiB a minute")
    return "\n".join(rows)
