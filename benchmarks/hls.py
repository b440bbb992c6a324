"""LL-HLS viewers that really follow: one viewer-second against nginx's cost of the same requests.

nginx speaks no low-latency HLS, so the reference is what it needs for as many requests of the same
objects: this playlist, and a part of their mean size, as files. The same generator makes them, over
as many connections and in the same bursts. What the stream costs without viewers is measured just
before and just after them, and taken off: the ingest case tells it.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.live import find
from benchmarks.load import (
    UselessRunError,
    measure_files,
    measure_idle,
    measure_viewers,
    publishers,
)
from benchmarks.peers.nginx import nginx, why_missing
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver

__all__ = ["run"]

_COUNTS = (100, 1000)
_BUDGET = 1.5
_STREAM = "live/bench0"
_LEAVE_S = 1
"""Until the connections of viewers that ended are closed."""


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
        # `find` is a viewer for 10 s, those who leave likewise: the publisher of a stream that is
        # watched is read more often than of one that is not, and is so in all three.
        before = measure_idle(ours, seconds / 2)
        run = measure_viewers(ours, url, count, seconds)
        time.sleep(_LEAVE_S)
        after = measure_idle(ours, seconds / 2)
    reloads, parts = run.generator["reloads"], run.generator["parts"]
    if peer is not None:
        www = peer.root / "www"
        (www / "video.m3u8").write_bytes(objects.playlist)
        size = (run.generator["bytes"] - reloads * len(objects.playlist)) // parts
        (www / "part.m4s").write_bytes((objects.part * (size // len(objects.part) + 1))[:size])
        period_ms = run.seconds * 1000 * count / reloads
        playlist, part = peer.url("/video.m3u8"), peer.url("/part.m4s")
        files = measure_files(peer, playlist, part, count, period_ms, seconds)
        asked = (files.generator["reloads"] + files.generator["parts"]) / (reloads + parts)
        row.theirs.append(files.cpu_ms / asked / run.seconds / count)
    alone = [idle.cpu_ms / idle.seconds for idle in (before, after)]
    row.ours.append((run.cpu_ms / run.seconds - sum(alone) / 2) / count)
    row.notes = {
        "rss_kb": run.rss_kb,
        "rss_kb_without_viewers": before.rss_kb,
        "stream_cpu_ms_per_s": alone,
        "generator": run.generator,
    }
