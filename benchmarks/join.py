"""Join latency: from before the connection to the whole first picture, over each protocol.

One viewer at a time, while nobody else watches, at moments all over the group of pictures.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.everybody import STREAM, Everybody, everybody
from benchmarks.load import UselessRunError, measure_joins
from benchmarks.results import Row
from benchmarks.servers import Running

__all__ = ["run"]

_PROTOCOLS = {"rtmp": "RTMP", "flv": "HTTP-FLV", "hls": "LL-HLS", "whep": "WHEP"}
_JOINS = 7
_SETTLE_S = 8.0
"""Until HLS has a few segments and old groups of pictures."""


def run(rounds: int, seconds: float) -> list[Row]:
    """Every protocol in every round, beside every peer that speaks it."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root, everybody(Path(root)) as them:
        time.sleep(_SETTLE_S)
        for protocol in _PROTOCOLS:
            rows += _protocol(them, protocol, rounds)
    return rows


def _protocol(them: Everybody, protocol: str, rounds: int) -> list[Row]:
    load = f"first picture over {_PROTOCOLS[protocol]}"
    rows = [
        Row("join", load, "ms, median", name, None, missing=them.missing.get(name, ""))
        for name in them.that_play(protocol)
    ] or [Row("join", load, "ms, median", "-", None)]
    for _ in range(rounds):
        ours = _joins(them.ours, protocol, rows)
        if ours is None:
            continue
        for row in rows:
            row.ours.append(statistics.median(ours))
            row.notes.setdefault("ours_slowest_ms", []).append(max(ours))
            if row.reference in them.peers:
                theirs = _joins(them.peers[row.reference], protocol, [row])
                if theirs is None:
                    row.ours.pop()
                    continue
                row.theirs.append(statistics.median(theirs))
                row.notes.setdefault("theirs_slowest_ms", []).append(max(theirs))
    return rows


def _joins(server: Running, protocol: str, blamed: list[Row]) -> list[float] | None:
    try:
        run = measure_joins(server, protocol, STREAM, _JOINS)
    except UselessRunError as error:
        for row in blamed:
            row.missing = f"a round was useless: {error}"
        return None
    took_ms: list[float] = run.generator["took_ms"]
    return took_ms
