"""``python -m benchmarks [CASE ...]``: our server beside Debian's nginx, in the same run."""

import argparse
import json
import sys
from collections.abc import Callable
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
    startup,
    whep,
    whip,
)
from benchmarks.results import Row, as_json, as_table

_CASES: dict[str, Callable[[int, float], list[Row]]] = {
    "ingest": ingest.run,
    "fanout": fanout.run,
    "destinations": destinations.run,
    "hls": hls.run,
    "http": http_objects.run,
    "whep": whep.run,
    "whip": whip.run,
    "join": join.run,
    "latency": latency.run,
    "memory": memory.run,
    "startup": startup.run,
}


def main() -> int:
    """Runs the cases and prints their table; 1 when a budget was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="See benchmarks/README.md for how to read it."
    )
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"{', '.join(_CASES)}; all")
    parser.add_argument("--rounds", type=int, default=3, help="of each load (3)")
    parser.add_argument("--seconds", type=float, default=8, help="measured in each run (8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    options = parser.parse_args()
    unknown = set(options.case) - set(_CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    clip.load()
    rows: list[Row] = []
    for name in options.case or _CASES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += _CASES[name](options.rounds, options.seconds)
    print(as_table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(rows), indent=1) + "\n")
    return int(any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
