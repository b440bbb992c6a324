"""RTMP and FLV viewers: one viewer-second against a bare loop, and against nginx-rtmp.

The bare loop writes the same bytes, joined for the same 100 ms, to bare sockets and does nothing
else. What the stream costs without viewers is measured just before them and taken off.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import UselessRunError, measure_idle, measure_players, publishers
from benchmarks.results import Row
from benchmarks.servers import Running, nginx, streamserver, why_no_nginx_rtmp

__all__ = ["run"]

_COUNTS = (200, 1000)
_JOIN_MS = 100
_BARE_BUDGET = 1.5
_NGINX_BUDGET = 0.35
_STREAM = "live/bench0"
_UNIT = "CPU ms per viewer-second"


def run(rounds: int, seconds: float) -> list[Row]:
    """Each number of viewers in every round, on each server in turn."""
    missing = why_no_nginx_rtmp()
    rows: list[Row] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        ours = stack.enter_context(streamserver(root / "ours"))
        peer = None if missing else stack.enter_context(nginx(root / "nginx", rtmp=True))
        bare = stack.enter_context(_bare(root))
        for count in _COUNTS:
            rtmp = Row("fanout", f"{count} RTMP viewers", _UNIT, "a bare loop", _BARE_BUDGET)
            flv = Row("fanout", f"{count} FLV viewers", _UNIT, "a bare loop", _BARE_BUDGET)
            other = Row("fanout", f"{count} RTMP viewers", _UNIT, "nginx-rtmp", _NGINX_BUDGET)
            other.missing = missing
            for _ in range(rounds):
                try:
                    _round((rtmp, flv, other), ours, peer, bare, count, seconds)
                except UselessRunError as error:
                    rtmp.missing = flv.missing = other.missing = f"a round was useless: {error}"
            rows += [rtmp, flv, other]
    return rows


def _round(
    rows: tuple[Row, Row, Row],
    ours: Running,
    peer: Running | None,
    bare: Running,
    count: int,
    seconds: float,
) -> None:
    rtmp, flv, other = rows
    rtmp_ms = _viewers(rtmp, ours, "rtmp", ours.rtmp_port, count, seconds)
    flv_ms = _viewers(flv, ours, "flv", ours.http_port, count, seconds)
    bare_ms = _viewers(None, bare, "bare", bare.rtmp_port, count, seconds)
    rtmp.ours.append(rtmp_ms)
    flv.ours.append(flv_ms)
    rtmp.theirs.append(bare_ms)
    flv.theirs.append(bare_ms)
    other.ours.append(rtmp_ms)
    if peer is not None:
        other.theirs.append(_viewers(None, peer, "rtmp", peer.rtmp_port, count, seconds))


def _viewers(
    row: Row | None, server: Running, form: str, port: int, count: int, seconds: float
) -> float:
    """CPU ms per viewer-second on one server."""
    with ExitStack() as stack:
        if form != "bare":
            stack.enter_context(publishers(server, "live", 1, 4096, 600))
            time.sleep(3)
        alone = measure_idle(server, seconds)
        run = measure_players(server, form, port, _STREAM, count, seconds)
    if row is not None:
        row.notes = {
            "rss_kb": run.rss_kb,
            "rss_kb_without_viewers": alone.rss_kb,
            "stream_cpu_ms_per_s": alone.cpu_ms / alone.seconds,
            "generator": run.generator,
        }
    return (run.cpu_ms / run.seconds - alone.cpu_ms / alone.seconds) / count


@contextlib.contextmanager
def _bare(root: Path) -> Iterator[Running]:
    """The bare loop as a process; its port stands where others have that of RTMP."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare", str(_JOIN_MS)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Running(process.pid, int(process.stdout.readline()), 0, root)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
