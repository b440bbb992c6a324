"""The servers under measure, each a process of its own with ports on loopback.

Ours stands here; those of others have an adapter each in `benchmarks.peers`.
"""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["TOKEN", "Running", "fetch", "free_ports", "started", "streamserver"]

_START_S = 60
_LOOK_S = 0.01
TOKEN = "benchmark-token-0123456789"

_OUR_URLS = {
    "flv": "/flv/{app}/{name}",
    "hls": "/hls/{app}/{name}/index.m3u8",
    "whep": "/whep/{app}/{name}",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    pid: int
    """The process whose tree is measured."""

    rtmp_port: int
    """Takes publishers; 0 where it cannot."""

    http_port: int
    """Serves files or HLS."""

    root: Path
    """Its directory; of nginx, ``www`` in it is served."""

    urls: Mapping[str, str] = field(default_factory=dict)
    """Where a stream is watched, by protocol, with ``{app}`` and ``{name}``; RTMP needs none."""

    start_ms: float = 0.0
    """From the start of its process until it was ready."""

    def url(self, path: str) -> str:
        """Where an object is."""
        return f"http://127.0.0.1:{self.http_port}{path}"

    def where(self, protocol: str, stream: str) -> str:
        """Where ``app/name`` is watched."""
        app, name = stream.split("/")
        if protocol == "rtmp":
            return f"rtmp://127.0.0.1:{self.rtmp_port}/{app}/{name}"
        return self.urls[protocol].format(app=app, name=name)


def fetch(url: str) -> bytes:
    """The body of an answer, as the operator of our server."""
    with urlopen(Request(url, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=20) as answer:
        body: bytes = answer.read()
        return body


@contextlib.contextmanager
def streamserver(root: Path, *settings: str) -> Iterator[Running]:
    """Ours: ``streamserver serve`` as it is installed; ``settings`` are ``section.key=value``."""
    rtmp_port, http_port, webrtc_port = free_ports(3)
    root.mkdir(parents=True)
    (root / "config.toml").write_text("")
    flags = (
        f"rtmp.port={rtmp_port}",
        f"http.port={http_port}",
        f"webrtc.port={webrtc_port}",
        "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1",
        "webrtc.host=127.0.0.1",
        'webrtc.public_addresses=["127.0.0.1"]',
        f"storage.path={root / 'state'}",
        f"auth.api_token={TOKEN}",
        # All viewers of a benchmark come from one address.
        "limits.hls_sessions_per_address=5000",
        "limits.connections_per_address=10000",
        *settings,
    )
    command = [
        *(sys.executable, "-m", "streamserver", "serve", "--config", str(root / "config.toml")),
        *(word for flag in flags for word in ("--set", flag)),
    ]
    base = f"http://127.0.0.1:{http_port}"
    urls = {protocol: base + path for protocol, path in _OUR_URLS.items()}
    server = Running(0, rtmp_port, http_port, root, urls)
    with started(command, server, ready=server.url("/readyz")) as running:
        yield running


@contextlib.contextmanager
def started(
    command: Sequence[str], server: Running, *, ready: str | int, cwd: Path | None = None
) -> Iterator[Running]:
    """Runs a server until the end of the block; ``ready`` is a URL that answers then, or a port.

    What it says goes to ``log`` in its directory.
    """
    log = server.root / "log"
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=cwd
        )
    with _stopped_at_the_end(process):
        _wait(process, ready, log)
        start_ms = (time.monotonic() - began) * 1000
        yield replace(server, pid=process.pid, start_ms=start_ms)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(process: subprocess.Popen[Any], ready: str | int, log: Path) -> None:
    """Until a URL answers or a port takes connections."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if isinstance(ready, str):
                fetch(ready)
            else:
                socket.create_connection(("127.0.0.1", ready), timeout=1).close()
            return
        time.sleep(_LOOK_S)
    said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise SystemExit(f"{process.args!r} does not answer:\n{said}")


@contextlib.contextmanager
def _stopped_at_the_end(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
