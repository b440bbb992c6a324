"""Glass to glass: how old a picture is when it comes, told by the clock that is drawn into it.

Drawing, encoding and publishing (640x360, x264, over RTMP) are in the figures of all. Of pictures
that come together, a part of LL-HLS, the oldest counts.
"""

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.everybody import STREAM, Everybody, clocks, everybody
from benchmarks.load import UselessRunError, measure_glass
from benchmarks.results import Row
from benchmarks.servers import Running

__all__ = ["run"]

_PROTOCOLS = {"rtmp": "RTMP", "flv": "HTTP-FLV", "hls": "LL-HLS, 333 ms parts", "whep": "WHEP"}
_SETTLE_S = 6.0


def run(rounds: int, seconds: float) -> list[Row]:
    """Every protocol in every round. Each server has its own publisher, one server at a time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root, everybody(
        Path(root), stream=False
    ) as them:  # fmt: skip
        rows = {protocol: _rows(them, protocol) for protocol in _PROTOCOLS}
        for _ in range(rounds):
            ours = _server(them.ours, list(_PROTOCOLS), rows, seconds, "")
            for name, peer in them.peers.items():
                spoken = [one for one in _PROTOCOLS if name in them.that_play(one)]
                theirs = _server(peer, spoken, rows, seconds, name) if spoken else {}
                for protocol in spoken:
                    if protocol in ours and protocol in theirs:
                        _note(rows[protocol][name], ours[protocol], theirs[protocol])
            for protocol, ages in ours.items():
                if "" in rows[protocol]:
                    _note(rows[protocol][""], ours[protocol], None)
                for row in rows[protocol].values():
                    if row.reference in them.missing:
                        _note(row, ages, None)
    return [row for each in rows.values() for row in each.values()]


def _rows(them: Everybody, protocol: str) -> dict[str, Row]:
    load, unit = f"picture over {_PROTOCOLS[protocol]}", "ms, median"
    names = them.that_play(protocol)
    if not names:
        return {"": Row("latency", load, unit, "-", None)}
    return {
        name: Row("latency", load, unit, name, None, missing=them.missing.get(name, ""))
        for name in names
    }


def _server(
    server: Running,
    protocols: list[str],
    rows: dict[str, dict[str, Row]],
    seconds: float,
    blamed: str,
) -> dict[str, list[float]]:
    """The ages of pictures over each protocol that worked."""
    ages: dict[str, list[float]] = {}
    with ExitStack() as stack:
        stack.enter_context(clocks(server))
        time.sleep(_SETTLE_S)
        for protocol in protocols:
            try:
                run = measure_glass(server, protocol, STREAM, seconds)
            except UselessRunError as error:
                for name, row in rows[protocol].items():
                    if blamed in ("", name):
                        row.missing = f"a round was useless: {error}"
                continue
            ages[protocol] = run.generator["age_ms"]
    return ages


def _note(row: Row, ours: list[float], theirs: list[float] | None) -> None:
    for name, values, figures in (("ours", row.ours, ours), ("theirs", row.theirs, theirs)):
        if figures:
            values.append(statistics.median(figures))
            p95 = statistics.quantiles(figures, n=20)[-1]
            row.notes.setdefault(f"{name}_p95_ms", []).append(p95)
