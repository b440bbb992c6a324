"""WebRTC viewers: one viewer-second of our output against one of aiortc's own sender.

Both send the clip's H.264 and Opus of 128 kbit/s. What the stream costs without viewers is measured
just before them and taken off. aiortc is asked with fewer viewers: more would not fit one core.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import clip
from benchmarks.everybody import STREAM, everybody
from benchmarks.load import Measured, UselessRunError, measure_idle, measure_whep
from benchmarks.peers import ALL
from benchmarks.results import Row
from benchmarks.servers import Running

__all__ = ["run"]

_COUNTS = (20, 100, 300)
_AIORTC_COUNT = 20
_WHOLE_COUNT = 100
_SETTLE_S = 4
_BUDGET = 0.25
_LEAST_MEDIA = 0.9
"""Share of the clip that must have been sent: on a busy machine whoever sends it lags."""

_UNIT = "CPU ms per viewer-second"


def run(rounds: int, seconds: float) -> list[Row]:
    """Each number of viewers in every round, beside aiortc in the same round."""
    rows = [
        Row("whep", f"{count} WHEP viewers", _UNIT, "aiortc's sender", _BUDGET, viewers=count)
        for count in _COUNTS
    ]
    too_many = False
    for _ in range(rounds):
        try:
            theirs = _round(None, "aiortc", _AIORTC_COUNT, seconds)
        except UselessRunError as error:
            for row in rows:
                row.missing = f"a round of aiortc's was useless: {error}"
            continue
        for row, count in zip(rows, _COUNTS, strict=True):
            if too_many and count == max(_COUNTS):
                continue  # What was too much once is too much again.
            try:
                ours = _round(row, "ours", count, seconds)
            except UselessRunError as error:
                row.missing = f"a round was useless: {error}"
                too_many = too_many or count == max(_COUNTS)
                continue
            row.ours.append(ours)
            row.theirs.append(theirs)
    return rows + _whole_servers(rounds, seconds)


def _whole_servers(rounds: int, seconds: float) -> list[Row]:
    """The clip over RTMP into whole servers, with their HLS and their conversion of its sound."""
    load = f"{_WHOLE_COUNT} viewers of the whole server"
    peers = [peer for peer in ALL if "whep" in peer.plays]
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as root,
        everybody(Path(root), peers=peers) as them,
    ):
        rows = [
            Row("whep", load, _UNIT, peer.name, peer.budgets.get("whep"),
                missing=them.missing.get(peer.name, ""))
            for peer in peers
        ]  # fmt: skip
        time.sleep(_SETTLE_S)
        for _ in range(rounds):
            ours = _whole(them.ours, rows, seconds)
            for row in rows if ours is not None else ():
                server = them.peers.get(row.reference)
                theirs = None if server is None else _whole(server, [row], seconds)
                if server is None or theirs is not None:
                    row.ours += [ours] if ours is not None else []
                    row.theirs += [theirs] if theirs is not None else []
    return rows


def _whole(server: Running, blamed: list[Row], seconds: float) -> float | None:
    """CPU ms per viewer-second, or a word in the table."""
    alone = measure_idle(server, min(2.0, seconds))
    try:
        run = measure_whep(server, server.where("whep", STREAM), _WHOLE_COUNT, seconds)
    except UselessRunError as error:
        for row in blamed:
            row.missing = f"a round was useless: {error}"
        return None
    return (_per_s(run) - _per_s(alone)) / _WHOLE_COUNT


def _round(row: Row | None, mode: str, count: int, seconds: float) -> float:
    """CPU ms per viewer-second; a fresh server, so that its memory tells something."""
    with _server(mode) as server:
        url = f"http://127.0.0.1:{server.http_port}/whep"
        alone = measure_idle(server, min(3.0, seconds))
        run = measure_whep(server, url, count, seconds)
    least = clip.load().bit_rate // 8 * seconds * _LEAST_MEDIA
    if run.generator["most_bytes"] < least:
        raise UselessRunError("the clip was not sent in real time")
    if row is not None:
        row.notes = {
            "kb_per_viewer": (run.rss_kb - alone.rss_kb) / count,
            "stream_cpu_ms_per_s": _per_s(alone),
            "generator": run.generator,
        }
    return (_per_s(run) - _per_s(alone)) / count


def _per_s(measured: Measured) -> float:
    return measured.cpu_ms / measured.seconds


@contextlib.contextmanager
def _server(mode: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.whep_server", mode],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Running(process.pid, 0, int(process.stdout.readline()), Path())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
