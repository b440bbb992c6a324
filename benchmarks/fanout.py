"""RTMP and FLV viewers: one viewer-second against a bare loop, nginx-rtmp and node-media-server.

The bare loop writes the same bytes, joined for as long as ours, to bare sockets and does nothing
else. What the stream costs without viewers is measured just before them and taken off.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import node_media_server as nms
from benchmarks.load import UselessRunError, measure_idle, measure_players, publishers
from benchmarks.results import Row
from benchmarks.servers import (
    Running,
    fetch,
    nginx,
    node_media_server,
    streamserver,
    why_no_nginx_rtmp,
)

__all__ = ["run"]

_COUNTS = (50, 200, 1000)
_BARE_BUDGET = 1.5
_NGINX_BUDGET = 0.35
_STREAM = "live/bench0"
_TURNS = re.compile(r'^streamserver_slicer_turn_seconds_bucket{le="([^"]+)"} (\d+)', re.MULTILINE)
_UNIT = "CPU ms per viewer-second"


def run(rounds: int, seconds: float) -> list[Row]:
    """Each number of viewers in every round, on each server in turn."""
    rows: list[Row] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        ours = stack.enter_context(streamserver(root / "ours"))
        peers = {
            "nginx-rtmp": _Peer(why_no_nginx_rtmp(), _NGINX_BUDGET),
            "node-media-server": _Peer(nms.why_missing(), None),
        }
        if not peers["nginx-rtmp"].missing:
            peers["nginx-rtmp"].server = stack.enter_context(nginx(root / "nginx", rtmp=True))
        if not peers["node-media-server"].missing:
            peers["node-media-server"].server = stack.enter_context(node_media_server(root / "nms"))
        for count in _COUNTS:
            load = _Load(count, peers)
            with _bare(root, _join_ms(count)) as bare:
                for _ in range(rounds):
                    load.round(ours, bare, seconds)
            rows += load.rows
    return rows


def _join_ms(count: int) -> int:
    """How long ours waits with so many viewers: see `streamserver.outputs.fanout`."""
    return max(1, min(100, count - 8))


@dataclass(slots=True)
class _Peer:
    """Another server."""

    missing: str
    """Why it cannot be compared with; empty when it can."""

    budget: float | None
    """The largest ratio of ours to its figure that the design allows."""

    server: Running | None = field(default=None)
    """Where it runs."""


class _Load:
    """One number of viewers, on everybody."""

    def __init__(self, count: int, peers: dict[str, _Peer]) -> None:
        name = f"{count} RTMP viewers"
        self._count = count
        self._rtmp = Row("fanout", name, _UNIT, "a bare loop", _BARE_BUDGET)
        self._flv = Row("fanout", f"{count} FLV viewers", _UNIT, "a bare loop", _BARE_BUDGET)
        self._others = {
            peer: Row("fanout", name, _UNIT, peer, it.budget, missing=it.missing)
            for peer, it in peers.items()
        }
        self._peers = peers

    @property
    def rows(self) -> list[Row]:
        """What was found."""
        return [self._rtmp, self._flv, *self._others.values()]

    def round(self, ours: Running, bare: Running, seconds: float) -> None:
        """Everybody once. A server whose figures mean nothing spoils only its own row."""
        count = self._count
        rtmp_ms = _viewers(self._rtmp, ours, "rtmp", ours.rtmp_port, count, seconds)
        flv_ms = _viewers(self._flv, ours, "flv", ours.http_port, count, seconds)
        bare_ms = _viewers(None, bare, "bare", bare.rtmp_port, count, seconds, self._rtmp)
        for row, ms in ((self._rtmp, rtmp_ms), (self._flv, flv_ms)):
            if ms is not None and bare_ms is not None:
                row.ours.append(ms)
                row.theirs.append(bare_ms)
        for name, row in self._others.items():
            server = self._peers[name].server
            if server is None or rtmp_ms is None:
                continue
            ms = _viewers(None, server, "rtmp", server.rtmp_port, count, seconds, row)
            if ms is not None:
                row.ours.append(rtmp_ms)
                row.theirs.append(ms)


def _viewers(
    row: Row | None,
    server: Running,
    form: str,
    port: int,
    count: int,
    seconds: float,
    blamed: Row | None = None,
) -> float | None:
    """CPU ms per viewer-second on one server; None when the figure means nothing, and a row says
    why."""
    try:
        with ExitStack() as stack:
            if form != "bare":
                stack.enter_context(publishers(server, "live", 1, 4096, 600))
                time.sleep(3)
            alone = measure_idle(server, seconds)
            before = _turns(server) if row is not None else {}
            run = measure_players(server, form, port, _STREAM, count, seconds)
    except UselessRunError as error:
        told = row or blamed
        if told is not None:
            told.missing = f"a round was useless: {error}"
        return None
    if row is not None:
        row.notes = {
            "rss_kb": run.rss_kb,
            "rss_kb_without_viewers": alone.rss_kb,
            "rss_kb_per_viewer": round((run.rss_kb - alone.rss_kb) / count, 1),
            "stream_cpu_ms_per_s": alone.cpu_ms / alone.seconds,
            "generator": run.generator,
            "turns_up_to_s": {le: n - before.get(le, 0) for le, n in _turns(server).items()},
        }
    return (run.cpu_ms / run.seconds - alone.cpu_ms / alone.seconds) / count


def _turns(server: Running) -> dict[str, int]:
    """How long the fair slicer has held the loop: turns up to so many seconds, from the metrics.

    New viewers are in it, with the group of pictures that each begins with.
    """
    text = fetch(server.url("/metrics")).decode()
    return {le: int(count) for le, count in _TURNS.findall(text)}


@contextlib.contextmanager
def _bare(root: Path, join_ms: int) -> Iterator[Running]:
    """The bare loop as a process; its port stands where others have that of RTMP."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare", str(join_ms)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Running(process.pid, int(process.stdout.readline()), 0, root)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
