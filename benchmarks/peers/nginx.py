"""Debian's nginx with one worker, serving files: what an answer costs at best."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.servers import Running, free_ports, started

__all__ = ["configuration", "nginx", "run", "why_missing"]

_CONF: Final = """
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


def why_missing() -> str:
    """What is missing to compare requests with nginx; empty when nothing is."""
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def configuration(root: Path, http_port: int, *, load: str = "", rtmp: str = "") -> str:
    """nginx.conf; ``load`` and ``rtmp`` go where they belong."""
    return _CONF.format(root=root, http_port=http_port, load=load, rtmp=rtmp)


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[Running]:
    """Serves ``www`` of its directory."""
    (http_port,) = free_ports(1)
    server = Running(0, 0, http_port, root)
    with run(server, configuration(root, http_port)) as running:
        yield running


@contextlib.contextmanager
def run(server: Running, text: str) -> Iterator[Running]:
    """Runs it with this configuration."""
    root = server.root
    www = root / "www"
    www.mkdir(parents=True)
    (www / "ready").write_text("yes")
    (root / "nginx.conf").write_text(text)
    command = ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")]
    with started(command, server, ready=server.url("/ready")) as running:
        yield running
