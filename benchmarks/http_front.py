"""Server CPU per request: the front against nginx on the same objects, in the same run.

``python -m benchmarks.http_front [--seconds 3] [--rounds 3]``; needs ``nginx`` and ``wrk``. Each
round takes every object at every number of connections, both servers in turn and in changing
order; the medians over the rounds are printed, with browser headers on each request.
"""

import argparse
import asyncio
import contextlib
import gc
import gzip
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import uvloop
from aiohttp import web

from benchmarks.procfs import usage
from streamserver.clock import SystemClock
from streamserver.endpoints.http.connections import FrontSettings
from streamserver.endpoints.http.listener import HttpEndpoint, Listener, Mount

__all__ = ["main"]

_FRONT_PORT = 18480
_NGINX_PORT = 18481
_CONNECTIONS = (32, 500)
_HEADERS = {
    "sec-ch-ua": '"Chromium";v="126", "Not.A/Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "sec-ch-ua-platform": '"Linux"',
    "Accept": "*/*",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Referer": "http://localhost:8080/play/live/demo",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
}
_NGINX_CONF = """
worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  types {{ application/vnd.apple.mpegurl m3u8 gz; video/mp4 m4s; }}
  server {{ listen 127.0.0.1:{port}; root {root}/www; add_header Cache-Control no-cache; }}
}}
"""


def objects() -> dict[str, bytes]:
    """A playlist, the same in gzip, and a part of 60 KB that does not compress."""
    random.seed(1)
    lines = [
        f'#EXT-X-PART:DURATION=0.33333,URI="../../{random.randbytes(12).hex()}/p{n}.m4s"'
        for n in range(28)
    ]
    text = "\n".join(["#EXTM3U", "#EXT-X-VERSION:9", *lines])[:2400].encode()
    return {
        "video.m3u8": text,
        "video.gz": gzip.compress(text),
        "p1.m4s": random.randbytes(60_000),
    }


async def serve_front() -> None:
    """The front on its port, until it is killed."""
    wires = {}
    for name, body in objects().items():
        kind = "video/mp4" if name.endswith("m4s") else "application/vnd.apple.mpegurl"
        wires[f"/hls/{name}".encode()] = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-cache\r\n"
            "Access-Control-Allow-Origin: *\r\nX-Content-Type-Options: nosniff\r\n"
            f"Server: streamserver\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def fast(target: bytes, gzip: bool) -> bytes | None:
        return wires.get(target.partition(b"?")[0])

    def nothing(app: web.Application) -> None:
        """Every object is fast here."""

    endpoint = HttpEndpoint(
        Listener("http", "127.0.0.1", _FRONT_PORT, (Mount("/hls/", nothing, fast=fast),)),
        clock=SystemClock(),
        front_settings=FrontSettings(max_connections_per_address=10_000),
    )
    await endpoint.start()
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


@contextlib.contextmanager
def servers(root: Path) -> Iterator[dict[str, int]]:
    """Both servers; answers the process whose tree is measured, by name."""
    www = root / "www" / "hls"
    www.mkdir(parents=True)
    for name, body in objects().items():
        (www / name).write_bytes(body)
    os.chmod(root, 0o755)  # nginx's worker is another user
    conf = root / "nginx.conf"
    conf.write_text(_NGINX_CONF.format(root=root, port=_NGINX_PORT))
    running = {
        "front": subprocess.Popen([sys.executable, "-m", "benchmarks.http_front", "--serve"]),
        "nginx": subprocess.Popen(["nginx", "-p", str(root), "-c", str(conf)]),
    }
    try:
        for port in (_FRONT_PORT, _NGINX_PORT):
            for _ in range(100):
                with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/hls/p1.m4s"):
                    break
                time.sleep(0.1)
        yield {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait(10)


def measure(pid: int, port: int, name: str, connections: int, seconds: int) -> tuple[float, float]:
    """Server CPU in microseconds per request, and requests per second."""
    headers = [part for pair in _HEADERS.items() for part in ("-H", f"{pair[0]}: {pair[1]}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *headers]
    before = usage(pid).cpu_ms
    made = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/hls/{name}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    spent_ms = usage(pid).cpu_ms - before
    found = re.search(r"(\d+) requests in", made)
    if found is None or "Non-2xx" in made:
        raise SystemExit(f"wrk says:\n{made}")
    count = int(found.group(1))
    return spent_ms * 1000 / count, count / seconds


def main() -> None:
    """Runs the rounds and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help="be the front that is measured")
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve_front())
        return
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    root = Path(tempfile.mkdtemp(dir="/dev/shm"))
    ports = {"front": _FRONT_PORT, "nginx": _NGINX_PORT}
    results: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    try:
        with servers(root) as pids:
            for round_number in range(options.rounds):
                for name in objects():
                    for connections in _CONNECTIONS:
                        order = sorted(pids, reverse=bool(round_number % 2))
                        for server in order:
                            figures = measure(
                                pids[server], ports[server], name, connections, options.seconds
                            )
                            results.setdefault((name, connections, server), []).append(figures)
            memory = {server: usage(pid).rss_kb // 1024 for server, pid in pids.items()}
    finally:
        shutil.rmtree(root)
    print(f"{'object':<12}{'conns':>6}{'front us':>10}{'nginx us':>10}{'ratio':>7}{'front/s':>10}")
    for name in objects():
        for connections in _CONNECTIONS:
            front, nginx = (
                statistics.median(cpu for cpu, _ in results[name, connections, server])
                for server in ("front", "nginx")
            )
            rate = statistics.median(rate for _, rate in results[name, connections, "front"])
            row = f"{front:>10.1f}{nginx:>10.1f}{front / nginx:>7.2f}{rate:>10.0f}"
            print(f"{name:<12}{connections:>6}{row}")
    print(f"resident MB: {memory}")


if __name__ == "__main__":
    main()
