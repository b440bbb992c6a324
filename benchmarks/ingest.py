"""RTMP publishers: what one stream-second costs us, nginx-rtmp, and nginx-rtmp with its HLS."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import Measured, UselessRunError, measure_publishers
from benchmarks.peers.nginx_rtmp import nginx_rtmp, why_missing
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver

__all__ = ["LOADS", "MORE_LOADS", "run"]

LOADS = ((1, 4096), (10, 4096), (100, 4096), (10, 128))
MORE_LOADS = ((1, 128), (100, 128))
_BUDGETS = {4096: 2.0, 128: 0.6}
_HLS_BUDGET = 0.8


def run(rounds: int, seconds: float, loads: Sequence[tuple[int, int]] = LOADS) -> list[Row]:
    """Every load in every round on each server, in changing order."""
    rows: list[Row] = []
    missing = why_missing()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        targets = {"ours": (stack.enter_context(streamserver(root / "ours")), "live")}
        if not missing:
            peer = stack.enter_context(nginx_rtmp(root / "nginx"))
            targets |= {"plain": (peer, "live"), "hls": (peer, "hls")}
        for count, chunk in loads:
            rows += _load(targets, count, chunk, rounds, seconds)
    for row in rows:
        row.missing = row.missing or missing
    return rows


def _load(
    targets: dict[str, tuple[Running, str]], count: int, chunk: int, rounds: int, seconds: float
) -> list[Row]:
    load = f"{count} x 2.65 Mbit/s, chunk {chunk}"
    unit = "CPU ms per stream-second"
    plain = Row("ingest", load, unit, "nginx-rtmp", _BUDGETS[chunk])
    hls = Row("ingest", load, unit, "nginx-rtmp with HLS", _HLS_BUDGET)
    for number in range(rounds):
        order = list(targets) if number % 2 else list(reversed(targets))
        try:
            runs = {
                name: measure_publishers(*targets[name], count, chunk, seconds) for name in order
            }
        except UselessRunError as error:
            plain.missing = hls.missing = f"a round was useless: {error}"
            continue
        figures = {name: _per_stream(run, count) for name, run in runs.items()}
        for row, name in ((plain, "plain"), (hls, "hls")):
            row.ours.append(figures["ours"])
            row.theirs += [figures[name]] if name in figures else []
            row.notes = {
                "rss_kb": {name: run.rss_kb for name, run in runs.items()},
                "generator": {name: run.generator for name, run in runs.items()},
            }
    return [plain, hls]


def _per_stream(run: Measured, count: int) -> float:
    return run.cpu_ms / run.seconds / count
