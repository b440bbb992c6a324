"""From the start of the process until it answers, with a configuration and no streams.

Ours answers ``/readyz`` then; of a peer without such an answer, its port takes connections.
"""

import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import streamserver as streamserver_package
from benchmarks.peers import ALL
from benchmarks.procfs import usage
from benchmarks.results import Row
from benchmarks.servers import streamserver

__all__ = ["run"]

_IMPORTS = "import asyncio, ssl, aiohttp, uvloop"


def run(rounds: int, seconds: float) -> list[Row]:
    """Every server in every round, one at a time."""
    missing = {peer.name: peer.why_missing() for peer in ALL}
    bare = Row("startup", "until ready", "ms", f"python -c '{_IMPORTS}'", None)
    rows = {
        name: Row("startup", "until ready", "ms", name, None, missing=why)
        for name, why in missing.items()
    }
    # What pip does when it installs, and a checkout with PYTHONDONTWRITEBYTECODE never has: the
    # libraries that we are compared with are compiled too.
    compileall.compile_dir(Path(streamserver_package.__file__).parent, quiet=2)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        root = Path(directory)
        for number in range(rounds):
            with streamserver(root / f"ours-{number}") as server:
                ours, used = server.start_ms, usage(server.pid)
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", _IMPORTS], check=True)
            bare.theirs.append((time.monotonic() - began) * 1000)
            for row in (bare, *rows.values()):
                row.ours.append(ours)
                row.notes = {"cpu_ms": used.cpu_ms, "rss_kb": used.rss_kb}
            for peer in ALL:
                if not missing[peer.name]:
                    name = f"{peer.name.replace(' ', '-')}-{number}"
                    with peer.start(root / name) as server:
                        rows[peer.name].theirs.append(server.start_ms)
    return [bare, *rows.values()]
