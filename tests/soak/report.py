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
_MAX_GROWTH_MIB: Final = 1.0
"""A minute, from one rest to the next: sixty of an hour are a leak. What is live meanwhile says
nothing: a stream more or less is 14 MiB."""

_EVENT_BYTES: Final = 2048
"""What the log of events keeps of each, up to 16 MiB in all."""

_MIN_MINUTES: Final = 4
"""A shorter run ends while caches and arenas still fill: its growth is told, not judged."""

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

    events: int = 0
    """Events that happened."""

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
        events=sum(
            int(value)
            for name, value in metrics.items()
            if name.startswith("streamserver_events_total")
        ),
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


def growth_mib_per_minute(rest: Sample, after: Sample, minutes: float) -> float:
    """From one rest to the next, less what the log of events keeps by design."""
    kept = (after.events - rest.events) * _EVENT_BYTES
    return (after.memory - rest.memory - kept) / _MIB / max(minutes, 0.1)


def faults(
    before: Sample,
    samples: Sequence[Sample],
    rest: Sample,
    after: Sample,
    seen: Seen,
    left_over: int,
) -> list[str]:
    """What must not be. ``rest`` is when the crowd of the first half had gone."""
    found = list(seen.gaps)
    minutes = (samples[-1].at_s - samples[0].at_s) / 60
    growth = growth_mib_per_minute(rest, after, minutes / 2)
    if minutes >= _MIN_MINUTES and growth > _MAX_GROWTH_MIB:
        found.append(f"memory grows by {growth:.2f} MiB a minute from one rest to the next")
    for name, more in (("fds", _MORE_FDS), ("threads", _MORE_THREADS), ("tasks", _MORE_TASKS)):
        was, now = getattr(before, name), getattr(after, name)
        if now > was + more:
            found.append(f"{name}: {was} before anybody came, {now} when all had gone")
    if left_over:
        found.append(f"{left_over} sessions or streams are left when all have gone")
    if (samples[-1].lines - before.lines) / max(minutes, 0.1) > _LINES_PER_MINUTE:
        found.append(f"{samples[-1].lines - before.lines} log lines in {minutes:.1f} minutes")
    return found


def report(
    before: Sample, samples: Sequence[Sample], rest: Sample, after: Sample, seen: Seen
) -> str:
    """The figures."""
    minutes = (samples[-1].at_s - samples[0].at_s) / 60
    rows = [f"{minutes:.1f} minutes, {dict(sorted(seen.counts.items()))}"]
    rows.append(f"gaps seen by the viewers that stayed: {len(seen.gaps)}")
    silence = ", ".join(f"{way} {most:.2f} s" for way, most in sorted(seen.longest_s.items()))
    rows.append(f"their longest silence: {silence}; our own clients were late {seen.own_lag_s:.2f}")
    rows.append(f"the server's loop was late by at most {worst_lag(before, after)}")
    rows.append(f"our own publishers were late by {seen.late_s:.1f} s at worst")
    rows.append(f"{'':<18}{'before':>10}{'most':>10}{'rest':>10}{'after':>10}")
    for name in ("memory", "fds", "threads", "tasks", "lines"):
        unit = _MIB if name == "memory" else 1
        figures = [
            getattr(before, name) / unit,
            max(getattr(one, name) for one in samples) / unit,
            getattr(rest, name) / unit,
            getattr(after, name) / unit,
        ]
        label = f"{name} (MiB)" if name == "memory" else name
        rows.append(f"{label:<18}" + "".join(f"{figure:>10.0f}" for figure in figures))
    growth = growth_mib_per_minute(rest, after, minutes / 2)
    rows.append(f"memory from one rest to the next: {growth:+.2f} MiB a minute, events aside")
    return "\n".join(rows)
