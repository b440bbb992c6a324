"""RTMP and FLV viewers: one viewer-second against a bare loop and the peers that are here.

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
from pathlib import Path

from benchmarks.everybody import STREAM, Everybody, everybody
from benchmarks.load import Measured, UselessRunError, measure_idle_all, measure_players
from benchmarks.results import Row
from benchmarks.servers import Running, fetch

__all__ = ["run"]

_COUNTS = (50, 200, 1000)
_FEW, _MANY = min(_COUNTS), max(_COUNTS)
_MORE_ROUNDS, _LONGER = 1, 2
"""With few viewers runs differ most: more rounds, and so many times as long. What is more is only
beside those peers for whom there is a budget."""

_BARE_BUDGET = 1.5
_TURNS = re.compile(r'^streamserver_slicer_turn_seconds_bucket{le="([^"]+)"} (\d+)', re.MULTILINE)
_UNIT = "CPU ms per viewer-second"
_SETTLE_S = 3
_PART_S = 1.5
"""Until those who left are forgotten: their end is not what a stream costs alone."""

_IDLE_S = 2.0
_FORMS = ("rtmp", "flv")


def run(rounds: int, seconds: float) -> list[Row]:
    """Each number of viewers in every round, on each server in turn."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        root = Path(directory)
        with everybody(root) as them:
            time.sleep(_SETTLE_S)
            for count in _COUNTS:
                load = _Load(count, them)
                with _bare(root, _join_ms(count)) as bare:
                    more, longer = (_MORE_ROUNDS, _LONGER) if count == _FEW else (0, 1)
                    for number in range(rounds + more):
                        load.round(bare, seconds * longer, all_peers=number < rounds)
                rows += load.rows
    return rows


def _join_ms(count: int) -> int:
    """How long ours waits with so many viewers: see `streamserver.outputs.fanout`."""
    return max(1, min(100, (count - 8) * 5 // 2))


class _Load:
    """One number of viewers, on everybody."""

    def __init__(self, count: int, them: Everybody) -> None:
        self._count = count
        self._them = them
        self._bare = {form: self._row(form, "a bare loop", _BARE_BUDGET) for form in _FORMS}
        self._peers = {
            form: [
                self._row(form, name, peer.budgets.get(form), them.missing.get(name, ""))
                for name, peer in them.that_play(form).items()
            ]
            for form in _FORMS
        }
        self._alone: dict[int, Measured] = {}
        """What the stream costs alone, just before a round."""
        self._too_much: list[Row] = []
        """Of peers that failed with the most viewers, and would again."""

    def _row(self, form: str, reference: str, budget: float | None, missing: str = "") -> Row:
        load = f"{self._count} {form.upper()} viewers"
        return Row("fanout", load, _UNIT, reference, budget, missing=missing, viewers=self._count)

    @property
    def rows(self) -> list[Row]:
        """What was found."""
        return [row for form in _FORMS for row in (self._bare[form], *self._peers[form])]

    def round(self, bare: Running, seconds: float, *, all_peers: bool) -> None:
        """Everybody once. A server whose figures mean nothing spoils only its own row."""
        count = self._count
        time.sleep(_PART_S)
        self._alone = measure_idle_all(self._them.all, _IDLE_S)
        bare_ms = self._viewers(bare, "bare", "", count, seconds, list(self._bare.values()))
        for form, own in self._bare.items():
            others = [
                row
                for row in self._peers[form]
                if (all_peers or row.budget is not None) and row not in self._too_much
            ]
            ours = self._viewers(
                self._them.ours, form, STREAM, count, seconds, [own, *others], ours=True
            )
            if ours is None:
                continue
            if bare_ms is not None:
                own.ours.append(ours)
                own.theirs.append(bare_ms)
            for row in others:
                server = self._them.peers.get(row.reference)
                theirs = (
                    None if server is None
                    else self._viewers(server, form, STREAM, count, seconds, [row])
                )  # fmt: skip
                if theirs is not None:
                    row.ours.append(ours)
                    row.theirs.append(theirs)
                elif count == _MANY:
                    self._too_much.append(row)

    def _viewers(
        self,
        server: Running,
        form: str,
        stream: str,
        count: int,
        seconds: float,
        rows: list[Row],
        *,
        ours: bool = False,
    ) -> float | None:
        """CPU ms per viewer-second on one server; None when the figure means nothing, and the rows
        say why."""
        port = server.rtmp_port
        if form == "flv":
            port = server.http_port
            stream = server.where("flv", stream).removeprefix(server.url(""))
        before = _turns(server) if ours else {}
        try:
            run = measure_players(server, form, port, stream, count, seconds)
        except UselessRunError as error:
            for row in rows:
                row.missing = f"a round was useless: {error}"
            return None
        alone = self._alone.get(server.pid)
        alone_ms = 0.0 if alone is None else alone.cpu_ms / alone.seconds
        notes = {
            "rss_kb": run.rss_kb,
            "stream_cpu_ms_per_s": alone_ms,
            "generator": run.generator,
        }
        if ours:
            after = _turns(server)
            notes["turns_up_to_s"] = {le: n - before.get(le, 0) for le, n in after.items()}
        for row in rows:
            row.notes["ours" if ours else "theirs"] = notes
        return (run.cpu_ms / run.seconds - alone_ms) / count


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
