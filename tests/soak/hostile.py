"""``python -m tests.soak.hostile``: thousands of hostile connections, one stream, its viewers.

Silence, garbage, half handshakes, half requests, trickles, floods, and messages larger than they
may be (`misdeeds`), over RTMP, HTTP, TLS and WebRTC, from a process of their own. Tells what the
viewers missed, how late the server's loop was, and its memory against what the bounds allow; 1 when
a viewer missed something or memory is above them.
"""

import argparse
import asyncio
import logging
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from streamserver.config import load, memory_bound
from streamserver.endpoints.strangers import StrangersSettings
from streamserver.net.tls import self_signed_pem
from tests.peers.server import RunningServer
from tests.soak.misdeeds import MISDEEDS, Ports, attack
from tests.soak.report import Sample, sample, worst_lag
from tests.soak.traffic import Seen, Site, note_own_lag, publish, watch_hls, watch_rtmp

_MIB: Final = 1024 * 1024
_PER_CONNECTION: Final = 128 * 1024
"""Heads, bodies and buffers of TLS; a peer of WebRTC has about as much."""

_SETTINGS: Final = ("limits.connections_per_address=20000",)


def _attack_all(ports: Ports, which: Sequence[int], connections: int, hold_s: float) -> int:
    """In the other process; answers how many were let connect."""
    logging.disable()

    async def attack_all() -> int:
        all_of_them = (attack(ports, which[at % len(which)], hold_s) for at in range(connections))
        return sum(await asyncio.gather(*all_of_them))

    _many_files()
    return asyncio.run(attack_all())


def _many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def _certificate(directory: Path) -> tuple[str, ...]:
    """Settings that open the ports of TLS."""
    files = directory / "cert.pem", directory / "key.pem"
    for path, pem in zip(files, self_signed_pem(()), strict=True):
        path.write_bytes(pem)
    cert, key = files
    return tuple(f"{section}.{name}_file={path}" for section in ("http", "rtmp") for name, path in (
        ("cert", cert), ("key", key),
    ))  # fmt: skip


async def _run(directory: Path, asked: argparse.Namespace) -> int:
    seen = Seen(stall_s=asked.stall)
    server = RunningServer(directory, settings=(*_SETTINGS, *_certificate(directory)))
    await asyncio.to_thread(server.start)
    loop = asyncio.get_running_loop()
    samples: list[Sample] = []
    which = [at for at, name in enumerate(MISDEEDS) if asked.only in name]
    try:
        site = Site(server.rtmp_port, server.base_url, seen)
        tasks = [loop.create_task(publish(site, "steady")), loop.create_task(note_own_lag(seen))]
        await asyncio.to_thread(server.wait_live, "live/steady")
        await asyncio.sleep(5)
        ways = (watch_hls, watch_rtmp)
        tasks += [loop.create_task(ways[at % 2](site, "steady")) for at in range(asked.viewers)]
        await asyncio.sleep(10)
        samples.append(await asyncio.to_thread(sample, server))
        quiet = dict(seen.longest_s)
        ports = {
            "rtmp": server.rtmp_port, "rtmps": server.rtmps_port, "http": server.http_port,
            "https": server.https_port, "webrtc": server.webrtc_port,
        }  # fmt: skip
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            await loop.run_in_executor(pool, _many_files)  # the process is there now
            seen.longest_s, seen.own_lag_s = {}, 0
            work = loop.run_in_executor(
                pool, _attack_all, ports, which, asked.connections, asked.seconds
            )
            while not work.done():
                await asyncio.sleep(2)
                samples.append(await asyncio.to_thread(sample, server))
            connected = await work
        watching = await asyncio.to_thread(server.viewers, "live/steady")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await asyncio.to_thread(server.stop)
    print(f"longest silence of a viewer before: {_seconds(quiet)}")
    return _judge(samples, seen, connected, asked.viewers, watching)


def _seconds(longest_s: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} s" for name, value in sorted(longest_s.items()))


def _judge(samples: list[Sample], seen: Seen, connected: int, viewers: int, watching: int) -> int:
    config = load(environ={}, overrides=_SETTINGS, directory=Path("/nowhere")).config
    bound = memory_bound(config)
    before, most = samples[0].memory, max(one.memory for one in samples)
    # What strangers may make us hold: over RTMP and RTMPS together, and for each connection.
    strangers = 2 * StrangersSettings().max_held_bytes + connected * _PER_CONNECTION
    allowed = bound.per_stream_bytes + bound.per_publisher_connection_bytes
    allowed += viewers * bound.per_viewer_bytes
    print(f"{connected} hostile connections; {watching} viewers, {viewers} are ours")
    print(f"longest silence of a viewer while they came: {_seconds(seen.longest_s)}")
    print(f"the server's loop was late by at most {worst_lag(samples[0], samples[-1])}")
    print(f"our own clients were late by {seen.own_lag_s:.2f} s, their publisher {seen.late_s:.2f}")
    print(f"stalls and gaps of viewers: {len(seen.gaps)}")
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
    parser.add_argument("--stall", type=float, default=1, help="seconds of silence that are a gap")
    parser.add_argument("--only", default="", help=f"words of misdeeds: {', '.join(MISDEEDS)}")
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="streamserver-hostile-"))
    print(f"the log of the server is in {directory}", flush=True)
    return asyncio.run(_run(directory, asked))


if __name__ == "__main__":
    sys.exit(main())
