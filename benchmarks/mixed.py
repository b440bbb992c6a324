"""A mixed hour: publishers that come and go, viewers of every protocol.

Two streams stay, three come anew in every turn of about a minute, while RTMP, FLV, LL-HLS and
WHEP viewers join the first stream for ten seconds each. What matters at its end: nobody was let
down, and memory does not grow once the first tenth has passed.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.everybody import STREAM
from benchmarks.load import (
    UselessRunError,
    measure_idle,
    measure_players,
    measure_viewers,
    measure_whep,
    publishers,
)
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver

__all__ = ["growth", "run"]

_VIEWERS = {"rtmp": 50, "flv": 50, "hls": 50, "whep": 20}
_WATCH_S = 10.0
_SETTLE_S = 5.0
_WARM_UP = 0.1


def run(rounds: int, seconds: float) -> list[Row]:
    """For ``seconds``; ours alone, since it is compared with itself."""
    memory = Row("mixed", f"{seconds / 60:.0f} minutes", "MB an hour of growth", "-", None)
    cpu = Row("mixed", f"{seconds / 60:.0f} minutes", "CPU ms per second", "-", None)
    let_down: list[str] = []
    samples: list[tuple[float, float]] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        ours = stack.enter_context(streamserver(root / "ours"))
        stack.enter_context(publishers(ours, "live", 2, 4096, seconds + 60))
        time.sleep(_SETTLE_S)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            with publishers(ours, "guest", 3, 128, 600):
                for protocol in _VIEWERS:
                    try:
                        _watch(ours, protocol)
                    except UselessRunError as error:
                        let_down.append(f"{passed:.0f} s, {protocol}: {error}")
            idle = measure_idle(ours, 2)
            samples.append((time.monotonic() - began, idle.rss_kb))
            cpu.ours.append(idle.cpu_ms / idle.seconds)
    memory.ours.append(growth(samples) * 3600 / 1024)
    memory.notes = {"rss_kb": samples, "let_down": let_down}
    if let_down:
        memory.missing = f"a round was useless: {len(let_down)} of them; the first: {let_down[0]}"
    return [memory, cpu]


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """The slope of the least squares through (seconds, figure), past the warm-up."""
    used = samples[int(len(samples) * _WARM_UP) :]
    if len(used) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in used], [y for _, y in used]).slope


def _watch(ours: Running, protocol: str) -> None:
    count, where = _VIEWERS[protocol], ours.where(protocol, STREAM)
    if protocol == "hls":
        measure_viewers(ours, where, count, _WATCH_S)
    elif protocol == "whep":
        measure_whep(ours, where, count, _WATCH_S)
    elif protocol == "flv":
        path = where.removeprefix(ours.url(""))
        measure_players(ours, "flv", ours.http_port, path, count, _WATCH_S)
    else:
        measure_players(ours, "rtmp", ours.rtmp_port, STREAM, count, _WATCH_S)
