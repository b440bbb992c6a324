"""``python -m tests.fuzz [--seconds N] [TARGET …]``: looks for bytes that break something.

With atheris (``pip install atheris``) each target is led by its coverage, in a process of its own;
without it, the committed corpus is mutated. Findings are written to ``/tmp/streamserver-fuzz``; put
one into ``tests/fuzz/corpus/TARGET`` and it is a failing test.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import TARGETS

_FOUND: Final = Path(tempfile.gettempdir()) / "streamserver-fuzz"
_SLOW_S: Final = 5
_LED: Final = """
import sys, atheris
with atheris.instrument_imports(include=["streamserver"]):
    from tests.fuzz.targets import TARGETS
atheris.Setup(sys.argv, TARGETS[{name!r}])
atheris.Fuzz()
"""


def main() -> int:
    """1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=None, help="of our own mutations")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    if set(names) - TARGETS.keys():
        parser.error(f"targets are {', '.join(TARGETS)}")
    led = importlib.util.find_spec("atheris") is not None
    seed = asked.seed if asked.seed is not None else time.time_ns()
    print(f"{'atheris' if led else f'own mutations, seed {seed}'}, {asked.seconds:g} s each")
    found = 0
    for name in names:
        runs, faults = (_led if led else _mutated)(name, asked.seconds, seed)
        found += faults
        print(f"{name:<24} {runs:>9} executions, {faults} findings", flush=True)
    return 1 if found else 0


def _seeds(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def _mutated(name: str, seconds: float, seed: int) -> tuple[int, int]:
    target, seeds, chance = TARGETS[name], _seeds(name), random.Random(f"{name}{seed}")
    seen = set[str]()
    runs = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        data = mutate(chance, seeds)
        began = time.process_time()
        runs += 1
        try:
            target(data)
        except Exception as error:  # whatever it is, it is what we look for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} in {last.filename}:{last.lineno}"
            if where not in seen:
                seen.add(where)
                print(f"  {where}: {error}\n  {_keep(name, data)}")
        if time.process_time() - began > _SLOW_S and "slow" not in seen:
            seen.add("slow")
            print(f"  slower than {_SLOW_S} s\n  {_keep(name, data)}")
    return runs, len(seen)


def _keep(name: str, data: bytes) -> Path:
    path = _FOUND / name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _led(name: str, seconds: float, seed: int) -> tuple[int, int]:
    del seed
    grown = _FOUND / "grown" / name
    found = _FOUND / name
    for directory in (grown, found):
        directory.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [
            *(sys.executable, "-c", _LED.format(name=name)),
            *(f"-max_total_time={max(1, int(seconds))}", f"-artifact_prefix={found}/"),
            *(f"-timeout={_SLOW_S}", "-rss_limit_mb=1500", "-max_len=8192", "-print_final_stats=1"),
            *(str(grown), str(CORPUS / name)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    counted = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
    if ran.returncode:
        print(ran.stderr[-3000:])
    with contextlib.suppress(OSError):
        found.rmdir()
    return int(counted[1]) if counted else 0, int(ran.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
