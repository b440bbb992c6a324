"""node-media-server (npm), for comparison and as a far side of destinations.

It is kept in a directory of its own below ``/tmp``, never in the repository.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.base import Peer
from benchmarks.servers import Running, free_ports, started

__all__ = ["PEER", "command", "node_media_server", "why_missing"]

_VERSION: Final = "4.4.3"
_HOME: Final = Path(os.environ.get("XDG_CACHE_HOME", "/tmp")) / "streamserver-peers" / "nms"
_PROGRAM: Final = _HOME / "node_modules/node-media-server/bin/app.js"
_INSTALL_S: Final = 180


def why_missing() -> str:
    """Installs it where it is not there; what is in the way, empty when nothing is."""
    if shutil.which("node") is None:
        return "node not installed"
    if _PROGRAM.exists():
        return ""
    if shutil.which("npm") is None:
        return "npm not installed, and node-media-server is not here"
    _HOME.mkdir(parents=True, exist_ok=True)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(
        [*install, f"node-media-server@{_VERSION}", "--prefix", str(_HOME)],
        check=False, capture_output=True, text=True, timeout=_INSTALL_S,
    )  # fmt: skip
    return "" if _PROGRAM.exists() else f"npm cannot install it: {done.stderr.strip()[-200:]}"


def command(root: Path, rtmp_port: int, http_port: int) -> list[str]:
    """Writes its settings into a directory that is there; the command that runs it on loopback."""
    config = {
        "bind": "127.0.0.1",
        "notify": {"url": ""},
        "store": {"path": str(root / "data"), "maxHistory": 100},
        "auth": {"play": False, "publish": False, "secret": "not-used"},
        "rtmp": {"port": rtmp_port},
        "http": {"port": http_port},
        "record": {"auto": False, "path": str(root / "record")},
    }
    path = root / "config.json"
    path.write_text(json.dumps(config))
    return ["node", str(_PROGRAM), "-c", str(path), "--no-admin"]


@contextlib.contextmanager
def node_media_server(root: Path) -> Iterator[Running]:
    """With its own settings. It answers nothing over HTTP to who has no account."""
    rtmp_port, http_port = free_ports(2)
    root.mkdir(parents=True)
    urls = {"flv": f"http://127.0.0.1:{http_port}/{{app}}/{{name}}.flv"}
    server = Running(0, rtmp_port, http_port, root, urls)
    arguments = command(root, rtmp_port, http_port)
    with started(arguments, server, ready=rtmp_port, cwd=root) as running:
        yield running


PEER: Final = Peer(
    name="node-media-server",
    why_missing=why_missing,
    start=node_media_server,
    plays=frozenset({"rtmp", "flv"}),
)
