"""``python -m benchmarks [CASE ...]``: our server beside others that are here, in the same run."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import (
    clip,
    destinations,
    fanout,
    hls,
    http_objects,
    ingest,
    join,
    latency,
    memory,
    mixed,
    plot,
    startup,
    whep,
    whip,
)
from benchmarks.results import Row, as_json, as_table
from benchmarks.warm import touch_memory

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark, and how much of it is enough."""

    run: Callable[[int, float], list[Row]]
    """Takes the number of rounds and the seconds of each run."""

    rounds: int
    """In `make bench`."""

    seconds: float
    """Likewise."""

    minutes: float
    """How long that takes about, with nginx-rtmp and node-media-server on the machine."""

    long_rounds: int = 5
    """With ``--long``."""

    long_seconds: float = 15
    """Likewise."""

    long_only: bool = False
    """Whether it runs with ``--long``, or when it is named, only."""


CASES: dict[str, Case] = {
    "startup": Case(startup.run, 2, 1, 0.1),
    "ingest": Case(ingest.run, 2, 2, 2.8),
    "fanout": Case(fanout.run, 2, 2, 3.9),
    "hls": Case(hls.run, 2, 3, 1.2),
    "http": Case(http_objects.run, 2, 2, 0.7),
    "whep": Case(whep.run, 2, 2, 1.5),
    "whip": Case(whip.run, 2, 3, 0.1),
    "destinations": Case(destinations.run, 1, 5, 1.1),
    "join": Case(join.run, 1, 1, 1.1, long_rounds=3),
    "latency": Case(latency.run, 1, 3, 1.0),
    "memory": Case(memory.run, 1, 4, 1.5, long_rounds=1),
    "ingest-more": Case(partial(ingest.run, loads=ingest.MORE_LOADS), 3, 3, 3, long_only=True),
    "mixed": Case(mixed.run, 1, 3600, 60, long_rounds=1, long_seconds=3600, long_only=True),
}
"""All of `make bench` together are to stay under 15 minutes; a test adds them up."""


def main() -> int:
    """Runs the cases and prints their table; 1 when a budget was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="See benchmarks/README.md for how to read it."
    )
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; all")
    parser.add_argument("--long", action="store_true", help="more rounds, and the mixed hour")
    parser.add_argument("--rounds", type=int, help="of each load (as the case has it)")
    parser.add_argument("--seconds", type=float, help="measured in each run (likewise)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost against viewers")
    options = parser.parse_args()
    unknown = set(options.case) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if options.plot is not None and (missing := plot.why_missing()):
        parser.error(missing)
    # Whoever ends a run ends its servers too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    clip.load()
    touch_memory()
    rows: list[Row] = []
    took_s: dict[str, float] = {}
    for name in options.case or [n for n in CASES if options.long or not CASES[n].long_only]:
        case, began = CASES[name], time.monotonic()
        rounds = options.rounds or (case.long_rounds if options.long else case.rounds)
        seconds = options.seconds or (case.long_seconds if options.long else case.seconds)
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += case.run(rounds, seconds)
        took_s[name] = round(time.monotonic() - began, 1)
        # What has been found is kept, whatever becomes of the next case.
        if options.json is not None:
            told = as_json(rows) | {"took_s": took_s}
            options.json.write_text(json.dumps(told, indent=1) + "\n")
    print(as_table(rows))
    if options.plot is not None:
        plot.draw(as_json(rows), options.plot)
    return int(any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
