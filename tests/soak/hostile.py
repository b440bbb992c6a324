"""``python -m tests.soak.hostile``: thousands of hostile connections, one stream, its viewers.

Silence, garbage, half handshakes, half requests, trickles, and messages larger than they may be,
over RTMP and HTTP, from a process of their own. Tells what the viewers missed, and the server's
memory against what the bounds allow; 1 when a viewer missed something or memory is above them.
"""

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import random
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from streamserver.config import load, memory_bound
from tests.endpoints.rtmp_client import message
from tests.peers.server import RunningServer
from tests.soak.report import Sample, sample
from tests.soak.traffic import Seen, Site, publish, watch_hls, watch_rtmp

_MIB: Final = 1024 * 1024
_SETTINGS: Final = ("limits.connections_per_address=20000",)
_RTMP, _HTTP = "rtmp", "http"

_LARGE: Final = b"\x03" + bytes(2 * 1536) + message(6, 9, 0, 1, bytes(8 * _MIB - 1))[:300_000]

Writer = asyncio.StreamWriter
Misdeed = Callable[[Writer], Coroutine[Any, Any, None]]


async def _nothing(writer: Writer) -> None:
    """Says nothing."""


async def _garbage(writer: Writer) -> None:
    writer.write(random.randbytes(random.randrange(1, 4000)))


async def _half_handshake(writer: Writer) -> None:
    writer.write(b"\x03" + bytes(random.randrange(1536)))


async def _trickle(writer: Writer) -> None:
    writer.write(b"\x03")
    for _ in range(200):
        writer.write(b"\0")
        await asyncio.sleep(0.2)


async def _large_message(writer: Writer) -> None:
    """A whole handshake, and then media that nobody asked for, in messages of 8 MiB."""
    writer.write(_LARGE)


async def _half_request(writer: Writer) -> None:
    writer.write(b"GET /hls/live/steady/index.m3u8 HTTP/1.1\r\nHost: a\r\n")


async def _long_head(writer: Writer) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    for at in range(200):
        writer.write(b"X-%d: %s\r\n" % (at, b"a" * 200))
        await asyncio.sleep(0.1)


async def _long_body(writer: Writer) -> None:
    writer.write(b"POST /whip/live/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        writer.write(bytes(20_000))
        await asyncio.sleep(0.1)


async def _unread(writer: Writer) -> None:
    """Asks for everything at once, and reads nothing."""
    writer.write(b"GET /hls/live/steady/index.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n" * 50)


_MISDEEDS: Final[tuple[tuple[str, Misdeed], ...]] = (
    (_RTMP, _nothing), (_RTMP, _garbage), (_RTMP, _half_handshake), (_RTMP, _trickle),
    (_RTMP, _large_message), (_HTTP, _nothing), (_HTTP, _garbage), (_HTTP, _half_request),
    (_HTTP, _long_head), (_HTTP, _long_body), (_HTTP, _unread),
)  # fmt: skip


async def _attack(ports: dict[str, int], at: int, hold_s: float) -> int:
    where, misdeed = _MISDEEDS[at % len(_MISDEEDS)]
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", ports[where], limit=1024)
    except OSError:
        return 0
    # A write to what the server has closed is no matter here.
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(hold_s):
            work = asyncio.create_task(misdeed(writer))
            while not writer.is_closing() and not work.done():
                await asyncio.sleep(0.1)
            work.cancel()
            await asyncio.sleep(hold_s)
    writer.transport.abort()
    return 1


def _attack_all(ports: dict[str, int], connections: int, hold_s: float) -> int:
    """In the other process; answers how many were let connect."""
    logging.disable()

    async def attack() -> int:
        return sum(await asyncio.gather(*(_attack(ports, at, hold_s) for at in range(connections))))

    _many_files()
    return asyncio.run(attack())


def _many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


async def _run(directory: Path, connections: int, viewers: int, hold_s: float) -> int:
    seen = Seen()
    server = RunningServer(directory, settings=_SETTINGS)
    await asyncio.to_thread(server.start)
    loop = asyncio.get_running_loop()
    samples: list[Sample] = []
    try:
        site = Site(server.rtmp_port, server.base_url, seen)
        tasks = [loop.create_task(publish(site, "steady"))]
        await asyncio.to_thread(server.wait_live, "live/steady")
        await asyncio.sleep(5)
        ways = (watch_hls, watch_rtmp)
        tasks += [loop.create_task(ways[at % 2](site, "steady")) for at in range(viewers)]
        await asyncio.sleep(10)
        samples.append(await asyncio.to_thread(sample, server))
        ports = {_RTMP: server.rtmp_port, _HTTP: server.http_port}
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            attack = loop.run_in_executor(pool, _attack_all, ports, connections, hold_s)
            while not attack.done():
                await asyncio.sleep(2)
                samples.append(await asyncio.to_thread(sample, server))
            connected = await attack
        watching = await asyncio.to_thread(server.viewers, "live/steady")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await asyncio.to_thread(server.stop)
    return _judge(samples, seen, connected, viewers, watching)


def _judge(samples: list[Sample], seen: Seen, connected: int, viewers: int, watching: int) -> int:
    config = load(environ={}, overrides=_SETTINGS, directory=Path("/nowhere")).config
    bound = memory_bound(config)
    before, most = samples[0].memory, max(one.memory for one in samples)
    # What strangers may make us hold, over both kinds of ports.
    strangers = connected * config.limits.bytes_before_auth
    allowed = bound.per_stream_bytes + bound.per_publisher_connection_bytes
    allowed += viewers * bound.per_viewer_bytes
    print(f"{connected} hostile connections; {watching} of {viewers} viewers still watch")
    print(f"missed by viewers: {len(seen.gaps)}; our publisher was late by {seen.late_s:.1f} s")
    print(
        f"memory: {before / _MIB:.0f} MiB before, {most / _MIB:.0f} MiB at most; the bounds allow "
        f"{allowed / _MIB:.0f} MiB for stream and viewers, {strangers / _MIB:.0f} for strangers"
    )
    print(f"open files at most: {max(one.fds for one in samples)}; log lines: {samples[-1].lines}")
    for gap in seen.gaps[:10]:
        print(f"FAULT: {gap}")
    return int(bool(seen.gaps) or watching < viewers or most - before > allowed + strangers)


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.hostile", description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="streamserver-hostile-"))
    print(f"the log of the server is in {directory}", flush=True)
    return asyncio.run(_run(directory, asked.connections, asked.viewers, asked.seconds))


if __name__ == "__main__":
    sys.exit(main())
