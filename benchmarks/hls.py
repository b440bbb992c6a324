"""LL-HLS viewers that really follow: one viewer-second against nginx's cost of the same requests.

nginx speaks no low-latency HLS, so the reference is what it would need for as many requests of the
same objects: this playlist and this part as files, asked for by as many connections. What the
stream costs without viewers is measured just before them and taken off: the ingest case tells it.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.live import find
from benchmarks.load import UselessRunError, measure_idle, measure_viewers, publishers
from benchmarks.peers.nginx import nginx, why_missing
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver
from benchmarks.wrk import microseconds_per_request

__all__ = ["run"]

_COUNTS = (100, 1000)
_BUDGET = 1.5
_STREAM = "live/bench0"
_WRK_S = 2


def run(rounds: int, seconds: float) -> list[Row]:
    """Each number of viewers in every round, then the reference in the same round."""
    missing = why_missing()
    rows = [
        Row(
            "hls", f"{count} LL-HLS viewers, 333 ms parts", "CPU ms per viewer-second",
            "its requests on nginx", _BUDGET, missing=missing, viewers=count,
        )
        for count in _COUNTS
    ]  # fmt: skip
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        ours = stack.enter_context(streamserver(root / "ours", "hls.part_ms=333"))
        peer = None if missing else stack.enter_context(nginx(root / "nginx"))
        for _ in range(rounds):
            for row, count in zip(rows, _COUNTS, strict=True):
                try:
                    _round(row, ours, peer, count, seconds)
                except UselessRunError as error:
                    row.missing = f"a round was useless: {error}"
    return rows


def _round(row: Row, ours: Running, peer: Running | None, count: int, seconds: float) -> None:
    with publishers(ours, "live", 1, 4096, 600):
        objects = find(ours, _STREAM)
        url = ours.url(f"/hls/{_STREAM}/index.m3u8")
        alone = measure_idle(ours, seconds / 2)
        run = measure_viewers(ours, url, count, seconds)
    theirs = 0.0
    if peer is not None:
        www = peer.root / "www"
        for name, body, asked in (
            ("video.m3u8", objects.playlist, run.generator["reloads"]),
            ("part.m4s", objects.part, run.generator["parts"]),
        ):
            (www / name).write_bytes(body)
            cost_us, _ = microseconds_per_request(peer, f"/{name}", count, _WRK_S)
            theirs += asked * cost_us / 1000
        row.theirs.append(theirs / run.seconds / count)
    stream_ms = alone.cpu_ms / alone.seconds
    row.ours.append((run.cpu_ms / run.seconds - stream_ms) / count)
    row.notes = {
        "rss_kb": run.rss_kb,
        "rss_kb_without_viewers": alone.rss_kb,
        "stream_cpu_ms_per_s": stream_ms,
        "generator": run.generator,
    }
