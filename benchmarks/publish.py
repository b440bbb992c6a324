"""Load: many RTMP publishers in one light process, every byte prepared before the clock starts.

``python -m benchmarks.publish HOST PORT APP COUNT CHUNK SECONDS``: publishes ``bench0`` …; prints
one line of JSON with its own CPU time and how late it was at worst.
"""

import asyncio
import json
import resource
import struct
import sys
import time

import uvloop

from benchmarks import clip

__all__ = ["chunks", "commands"]

_TIMESTAMP_FIELD = slice(1, 4)


def _string(text: str) -> bytes:
    raw = text.encode()
    return b"\x02" + struct.pack(">H", len(raw)) + raw


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def _object(**pairs: str) -> bytes:
    fields = b"".join(
        struct.pack(">H", len(key)) + key.encode() + _string(value) for key, value in pairs.items()
    )
    return b"\x03" + fields + b"\0\0\x09"


def chunks(csid: int, kind: int, ms: int, stream_id: int, body: bytes, size: int) -> bytearray:
    """One message as chunks with an absolute timestamp (below 4 h 39 min)."""
    out = bytearray([csid])
    out += ms.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([kind])
    out += stream_id.to_bytes(4, "little")
    out += body[:size]
    for at in range(size, len(body), size):
        out.append(0xC0 | csid)
        out += body[at : at + size]
    return out


def commands(tc_url: str, app: str, name: str, size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """SetChunkSize, connect, createStream, and publish for the message stream that comes of it."""
    connect = _string("connect") + _number(1) + _object(app=app, tcUrl=tc_url, type="nonprivate")
    create = _string("createStream") + _number(2) + b"\x05"
    publish = _string("publish") + _number(3) + b"\x05" + _string(name) + _string("live")
    return (
        bytes(chunks(2, 1, 0, 0, struct.pack(">I", size), 128)),
        bytes(chunks(3, 20, 0, 0, connect, size)),
        bytes(chunks(3, 20, 0, 0, create, size)),
        bytes(chunks(3, 20, 0, 1, publish, size)),
    )


async def _connect(host: str, port: int, app: str, name: str, size: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"\x03" + bytes(1536))
    answer = await reader.readexactly(1 + 1536 + 1536)
    writer.write(answer[1:1537])
    set_size, connect, create, publish = commands(f"rtmp://{host}:{port}/{app}", app, name, size)
    writer.write(set_size + connect + create)
    # All three answers are read for the codes in them, not parsed.
    seen = b""
    while seen.count(b"_result") < 2:
        seen += await reader.read(4096)
    writer.write(publish)
    while b"NetStream.Publish.Start" not in seen:
        data = await reader.read(4096)
        if not data:
            raise ConnectionError(f"publish refused: {seen[-200:]!r}")
        seen += data
    asyncio.get_running_loop().create_task(_swallow(reader))
    return writer


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def run(host: str, port: int, app: str, count: int, size: int, seconds: float) -> None:
    """Publishes for a while."""
    media = clip.load()
    prepared = [
        (ms, chunks(4 if kind == 8 else 6, kind, ms, 1, body, size))
        for kind, ms, body in media.messages
    ]
    headers = [
        bytes(chunks(4 if kind == 8 else 6, kind, 0, 1, body, size)) for kind, body in media.headers
    ]
    writers = [await _connect(host, port, app, f"bench{i}", size) for i in range(count)]
    for writer in writers:
        writer.write(b"".join(headers))
    print(json.dumps({"publishing": count}), flush=True)
    began, spent0 = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    late = 0.0
    sent = loops = 0
    while time.monotonic() - began < seconds:
        for ms, wire in prepared:
            at = loops * media.duration_ms + ms
            delay = began + at / 1000 - time.monotonic()
            if delay > 0.002:
                await asyncio.sleep(delay)
            late = max(late, -delay)
            wire[_TIMESTAMP_FIELD] = at.to_bytes(3, "big")
            ready = bytes(wire)
            for writer in writers:
                writer.write(ready)
            sent += len(ready)
            if time.monotonic() - began >= seconds:
                break
        loops += 1
    spent = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "cpu_ms": (spent.ru_utime + spent.ru_stime - spent0.ru_utime - spent0.ru_stime) * 1000,
        "seconds": time.monotonic() - began,
        "late_ms": late * 1000,
        "bytes": sent,
        "unsent": sum(writer.transport.get_write_buffer_size() for writer in writers),
    }
    print(json.dumps(report), flush=True)
    for writer in writers:
        writer.close()


if __name__ == "__main__":
    host, port, app, count, size, seconds = sys.argv[1:]
    uvloop.run(run(host, int(port), app, int(count), int(size), float(seconds)))
