"""Load: many viewers over RTMP, HTTP-FLV, or a bare socket, that take bytes and drop them.

``python -m benchmarks.play_viewers FORM PORT STREAM COUNT SECONDS`` with FORM ``rtmp``, ``flv`` or
``bare``. Says on a line when all of them get media, then on another what they got.
"""

import asyncio
import json
import resource
import struct
import sys
import time
from typing import cast

import uvloop

from benchmarks.publish import chunks

__all__ = ["Viewer", "opening"]

_SETTLE_S = 2
_AT_ONCE = 50
_SCRATCH = memoryview(bytearray(256 * 1024))
"""Where everything that comes is written over what came before."""


def _string(text: str) -> bytes:
    raw = text.encode()
    return b"\x02" + struct.pack(">H", len(raw)) + raw


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def opening(form: str, port: int, stream: str) -> bytes:
    """All that a player says, at once: servers read it in order. Of FLV ``stream`` is the path."""
    if form == "flv":
        return f"GET {stream} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    if form == "bare":
        return b""
    app, name = stream.split("/")
    pairs = {"app": app, "tcUrl": f"rtmp://127.0.0.1:{port}/{app}"}
    fields = b"".join(struct.pack(">H", len(k)) + k.encode() + _string(v) for k, v in pairs.items())
    connect = _string("connect") + _number(1) + b"\x03" + fields + b"\0\0\x09"
    create = _string("createStream") + _number(2) + b"\x05"
    play = _string("play") + _number(3) + b"\x05" + _string(name) + _number(-2000)
    return (
        b"\x03" + bytes(1536) + bytes(1536)
        + chunks(3, 20, 0, 0, connect, 128)
        + chunks(3, 20, 0, 0, create, 128)
        + chunks(3, 20, 0, 1, play, 128)
    )  # fmt: skip


class Viewer(asyncio.BufferedProtocol):
    """One viewer; ``received`` counts."""

    def __init__(self, opening: bytes) -> None:
        self._opening = opening
        self.received = 0
        self.first_s = 0.0
        self.lost = False
        self._began = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says everything."""
        cast(asyncio.Transport, transport).write(self._opening)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The same for all."""
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        """Counts."""
        self.received += nbytes
        # Handshake, answers and headers are less; a keyframe is more.
        if not self.first_s and self.received > 8000:
            self.first_s = time.monotonic() - self._began

    def connection_lost(self, exc: Exception | None) -> None:
        """That should not happen."""
        self.lost = True


async def run(form: str, port: int, stream: str, count: int, seconds: float) -> None:
    """Watches for a while and reports on the second part of it."""
    loop = asyncio.get_running_loop()
    hello = opening(form, port, stream)
    viewers: list[Viewer] = []
    for at in range(0, count, _AT_ONCE):
        group = [Viewer(hello) for _ in range(min(_AT_ONCE, count - at))]
        await asyncio.gather(
            *(loop.create_connection(lambda v=v: v, "127.0.0.1", port) for v in group)  # type: ignore[misc]  # mypy has no type for the default
        )
        viewers += group
    await asyncio.sleep(_SETTLE_S)
    print(json.dumps({"watching": count}), flush=True)
    before = [viewer.received for viewer in viewers]
    began, spent0 = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(seconds)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    got = sorted(viewer.received - b for viewer, b in zip(viewers, before, strict=True))
    firsts = sorted(viewer.first_s for viewer in viewers)
    report = {
        "cpu_ms": (spent.ru_utime + spent.ru_stime - spent0.ru_utime - spent0.ru_stime) * 1000,
        "seconds": time.monotonic() - began,
        "fewest_bytes": got[0],
        "most_bytes": got[-1],
        "lost": sum(viewer.lost for viewer in viewers),
        "first_frame_ms": [round(firsts[count // 2] * 1000), round(firsts[-1] * 1000)],
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    form, port, stream, count, seconds = sys.argv[1:]
    uvloop.run(run(form, int(port), stream, int(count), float(seconds)))
