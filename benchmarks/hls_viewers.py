"""Load: many LL-HLS viewers that follow the playlist and download every part, in one light process.

``python -m benchmarks.hls_viewers URL COUNT SECONDS``. Each viewer has two connections like a
browser: one for blocking reloads, one for parts. Prints one line of JSON: bytes and requests in
the measured time, viewers that missed a part, delay from playlist to part, own CPU time.

With a fourth argument, a period in milliseconds, and a fifth, the URL of a part, the same
requests go to a server of files, which cannot hold a reload: all viewers ask for the playlist at
once, every period, and each for the part when it has its answer.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urljoin, urlsplit

import uvloop

__all__ = ["Answer", "HttpClient", "edge"]

_HEADERS = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/156.0.0.0 Safari/537.36\r\n"
    b'sec-ch-ua: "Chromium";v="156", "Not A(Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\n'
    b'sec-ch-ua-platform: "Linux"\r\nAccept: */*\r\nSec-Fetch-Site: same-origin\r\n'
    b"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nAccept-Encoding: identity\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
)

Answer = tuple[int, bytes]


class HttpClient(asyncio.Protocol):
    """One keep-alive connection, one request at a time, answers with Content-Length only."""

    def __init__(self, keep: int = 1 << 30) -> None:
        """``keep`` bytes of a body are enough; those behind them are counted and dropped."""
        self._transport: asyncio.Transport | None = None
        self._keep = keep
        self._head = b""
        self._body: list[bytes] = []
        self._kept = 0
        self._left = -1
        self._status = 0
        self._done: Callable[[int, bytes], None] | None = None
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def get(self, host: bytes, target: bytes, done: Callable[[int, bytes], None]) -> None:
        """Sends a request; ``done(status, body)`` is called with its answer."""
        assert self._transport is not None
        self._done = done
        self._transport.write(
            b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + _HEADERS + b"\r\n"
        )

    def data_received(self, data: bytes) -> None:
        """Collects one answer."""
        self.received += len(data)
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._head = b""
            at = head.find(b"content-length:")
            self._left = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._status = int(head[9:12])
        self._left -= len(data)
        if self._kept < self._keep:
            self._body.append(data)
            self._kept += len(data)
        if self._left <= 0:
            body, done = b"".join(self._body), self._done
            self._body.clear()
            self._kept, self._left, self._done = 0, -1, None
            if done is not None:
                done(self._status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails what was asked last."""
        if self._done is not None:
            self._done(0, b"")


def edge(playlist: bytes) -> tuple[int, int, list[bytes]]:
    """Where a playlist ends: next msn and part to ask for, and the URIs of all listed parts."""
    at = playlist.index(b"#EXT-X-MEDIA-SEQUENCE:") + 22
    msn = int(playlist[at : playlist.index(b"\n", at)]) + playlist.count(b"#EXTINF:")
    tail = playlist[playlist.rfind(b"#EXTINF:") + 1 :]
    uris = [
        line.split(b'URI="', 1)[1].split(b'"', 1)[0]
        for line in playlist.split(b"\n")
        if line.startswith(b"#EXT-X-PART:")
    ]
    return msn, tail.count(b"#EXT-X-PART:"), uris


class Viewer:
    """Follows one stream."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host, self.port = parts.hostname, parts.port or 80
        self.authority = parts.netloc.encode()
        self.base = parts.path
        self.playlists = HttpClient()
        # What a part is stands in its first box.
        self.media = HttpClient(keep=8)
        self.parts = self.reloads = self.errors = self.missed = 0
        self.delays: list[float] = []
        self._seen: set[bytes] = set()
        self._queue: list[tuple[bytes, float]] = []
        self._busy = False
        self._running = True

    async def start(self) -> None:
        """Opens both connections and asks for the multivariant playlist."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.playlists, self.host, self.port)
        await loop.create_connection(lambda: self.media, self.host, self.port)
        answer: asyncio.Future[Answer] = loop.create_future()
        self.playlists.get(
            self.authority,
            self.base.encode(),
            lambda status, body: answer.set_result((status, body)),
        )
        status, body = await answer
        if status != 200:
            raise ConnectionError(f"{self.base}: HTTP {status}")
        line = next(x for x in body.decode().splitlines() if x and not x.startswith("#"))
        self.base = urljoin(self.base, line)
        self.playlists.get(self.authority, self.base.encode(), self._playlist)

    def stop(self) -> None:
        """Asks for nothing more."""
        self._running = False

    def _playlist(self, status: int, body: bytes) -> None:
        if not self._running:
            return
        if status != 200:
            self.errors += 1
            return
        self.reloads += 1
        msn, part, uris = edge(body)
        if self._seen:
            fresh = [uri for uri in uris if uri not in self._seen]
            if uris and uris[0] in fresh and len(fresh) == len(uris):
                self.missed += 1
        else:
            fresh = uris[-1:]
        self._seen = set(uris)
        now = time.monotonic()
        self._queue.extend((uri, now) for uri in fresh)
        self._next_part()
        target = f"{self.base}?_HLS_msn={msn}&_HLS_part={part}"
        self.playlists.get(self.authority, target.encode(), self._playlist)

    def _next_part(self) -> None:
        if self._busy or not self._queue:
            return
        uri, asked = self._queue.pop(0)
        self._busy = True
        target = urljoin(self.base, uri.decode()).encode()
        self.media.get(self.authority, target, lambda status, body: self._part(status, body, asked))

    def _part(self, status: int, body: bytes, asked: float) -> None:
        self._busy = False
        if status == 200 and body[4:8] in (b"moof", b"styp", b"prft"):
            self.parts += 1
            self.delays.append(time.monotonic() - asked)
        elif self._running:
            self.errors += 1
        self._next_part()


class FileViewer(Viewer):
    """Makes the requests of a viewer to files that do not change."""

    def __init__(self, url: str, part: str) -> None:
        super().__init__(url)
        self._part_path = urlsplit(part).path.encode()
        self._asking = False

    async def start(self) -> None:
        """Opens both connections."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.playlists, self.host, self.port)
        await loop.create_connection(lambda: self.media, self.host, self.port)

    def tick(self) -> None:
        """Time for the next playlist."""
        if self._running and not self._asking:
            self._asking = True
            self.playlists.get(self.authority, self.base.encode(), self._playlist)

    def _playlist(self, status: int, body: bytes) -> None:
        self._asking = False
        if status != 200:
            self.errors += 1
            return
        self.reloads += 1
        # What a viewer does with a playlist, so that the load comes at the same pace.
        edge(body)
        self._queue.append((self._part_path, time.monotonic()))
        self._next_part()


async def _tick(viewers: list[FileViewer], period_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += period_s
        await asyncio.sleep(due - loop.time())
        for viewer in viewers:
            viewer.tick()


async def run(url: str, count: int, seconds: float, period_ms: float = 0, part: str = "") -> None:
    """Watches for a while and reports on the second part of it."""
    files = [FileViewer(url, part) for _ in range(count)] if part else []
    viewers: list[Viewer] = [*files] or [Viewer(url) for _ in range(count)]
    for at in range(0, count, 50):
        await asyncio.gather(*(viewer.start() for viewer in viewers[at : at + 50]))
    ticking = asyncio.create_task(_tick(files, period_ms / 1000)) if part else None
    await asyncio.sleep(2)
    print(json.dumps({"watching": count}), flush=True)
    before = [(v.parts, v.reloads, v.media.received + v.playlists.received) for v in viewers]
    for viewer in viewers:
        viewer.delays.clear()
    began, spent0 = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(seconds)
    elapsed, spent1 = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    delays = sorted(delay for viewer in viewers for delay in viewer.delays)
    report = {
        "seconds": elapsed,
        "parts": sum(v.parts for v in viewers) - sum(b[0] for b in before),
        "reloads": sum(v.reloads for v in viewers) - sum(b[1] for b in before),
        "bytes": sum(v.media.received + v.playlists.received for v in viewers)
        - sum(b[2] for b in before),
        "fewest_parts": min(v.parts - b[0] for v, b in zip(viewers, before, strict=True)),
        "most_parts": max(v.parts - b[0] for v, b in zip(viewers, before, strict=True)),
        "errors": sum(v.errors for v in viewers),
        "missed": sum(v.missed for v in viewers),
        "part_delay_ms": [
            round(delays[int(len(delays) * q)] * 1000, 1) if delays else None for q in (0.5, 0.95)
        ],
        "cpu_ms": (spent1.ru_utime + spent1.ru_stime - spent0.ru_utime - spent0.ru_stime) * 1000,
    }
    print(json.dumps(report), flush=True)
    if ticking is not None:
        ticking.cancel()
    for viewer in viewers:
        viewer.stop()


if __name__ == "__main__":
    period_ms, part = (float(sys.argv[4]), sys.argv[5]) if len(sys.argv) > 4 else (0.0, "")
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), period_ms, part))
