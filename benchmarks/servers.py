"""The servers under measure, each a process of its own with ports on loopback."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks import node_media_server as nms

__all__ = [
    "RTMP_MODULE",
    "TOKEN",
    "Running",
    "fetch",
    "nginx",
    "node_media_server",
    "streamserver",
    "why_no_nginx",
    "why_no_nginx_rtmp",
]

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_START_S = 30
TOKEN = "benchmark-token-0123456789"

_NGINX_CONF = """
{load} user root; worker_processes 1; daemon off; pid {root}/nginx.pid;
error_log {root}/error.log crit;
events {{ worker_connections 8192; }}
{rtmp}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}
  server {{ listen 127.0.0.1:{http_port} backlog=4096; root {root}/www;
            add_header Cache-Control no-cache; }}
}}
"""

_NGINX_RTMP = """
rtmp {{ server {{
  listen 127.0.0.1:{rtmp_port}; chunk_size 4096;
  application live {{ live on; }}
  application hls {{ live on; hls on; hls_path {root}/hls; hls_fragment 2s; }}
}} }}
"""


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

    def url(self, path: str) -> str:
        """Where an object is."""
        return f"http://127.0.0.1:{self.http_port}{path}"


def fetch(url: str) -> bytes:
    """The body of an answer, as the operator of our server."""
    with urlopen(Request(url, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=20) as answer:
        body: bytes = answer.read()
        return body


def why_no_nginx() -> str:
    """What is missing to compare with nginx; empty when nothing is."""
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def why_no_nginx_rtmp() -> str:
    """What is missing to compare with nginx-rtmp; empty when nothing is."""
    if shutil.which("nginx") is None:
        return "nginx not installed"
    return "" if RTMP_MODULE.exists() else f"no {RTMP_MODULE} (libnginx-mod-rtmp)"


@contextlib.contextmanager
def streamserver(root: Path, *settings: str) -> Iterator[Running]:
    """Ours: ``streamserver serve`` as it is installed; ``settings`` are ``section.key=value``."""
    rtmp_port, http_port = _free_ports(2)
    root.mkdir(parents=True)
    (root / "config.toml").write_text("")
    flags = (
        f"rtmp.port={rtmp_port}",
        f"http.port={http_port}",
        "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1",
        f"storage.path={root / 'state'}",
        f"auth.api_token={TOKEN}",
        # All viewers of a benchmark come from one address.
        "limits.hls_sessions_per_address=5000",
        "limits.connections_per_address=10000",
        *settings,
    )
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamserver", "serve"),
                *("--config", str(root / "config.toml")),
                *(word for flag in flags for word in ("--set", flag)),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    running = Running(process.pid, rtmp_port, http_port, root)
    with _stopped_at_the_end(process):
        _wait(process, running.url("/readyz"), root / "server.log")
        yield running


@contextlib.contextmanager
def nginx(root: Path, *, rtmp: bool = False) -> Iterator[Running]:
    """Debian's nginx with one worker, serving ``www`` of its directory; with its RTMP module."""
    rtmp_port, http_port = _free_ports(2)
    www = root / "www"
    www.mkdir(parents=True)
    (www / "ready").write_text("yes")
    names = {"root": root, "rtmp_port": rtmp_port, "http_port": http_port}
    (root / "nginx.conf").write_text(
        _NGINX_CONF.format(
            load=f"load_module {RTMP_MODULE};" if rtmp else "",
            rtmp=_NGINX_RTMP.format(**names) if rtmp else "",
            **names,
        )
    )
    process = subprocess.Popen(
        ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    running = Running(process.pid, rtmp_port if rtmp else 0, http_port, root)
    with _stopped_at_the_end(process):
        _wait(process, running.url("/ready"), root / "error.log")
        yield running


@contextlib.contextmanager
def node_media_server(root: Path) -> Iterator[Running]:
    """node-media-server from the npm registry, with its own settings."""
    rtmp_port, http_port = _free_ports(2)
    process = nms.start(root, rtmp_port, http_port)
    running = Running(process.pid, rtmp_port, http_port, root)
    with _stopped_at_the_end(process):
        # It answers nothing over HTTP to who has no account.
        _wait(process, rtmp_port, root / "log")
        yield running


def _free_ports(count: int) -> list[int]:
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
        time.sleep(0.05)
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
