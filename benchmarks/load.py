"""Runs a load generator beside a server, and says what the server spent on it.

A figure counts only when the generator was no part of it: it must have had time to spare, and
everything that was sent must have arrived.
"""

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from benchmarks import clip, rules
from benchmarks.procfs import usage
from benchmarks.rules import UselessRunError
from benchmarks.servers import Running

__all__ = [
    "Measured",
    "UselessRunError",
    "measure_files",
    "measure_glass",
    "measure_idle",
    "measure_idle_all",
    "measure_joins",
    "measure_players",
    "measure_publishers",
    "measure_viewers",
    "measure_whep",
    "publishers",
]

_READY_S = 60.0
"""Until all viewers of a generator are in; a machine that is too busy for them is no machine."""

_REPORT_S = 300.0
"""More than any measured time."""

_SETTLE_S = 3.0
"""From the first frame to the measured time: past the first segment, and whatever starting costs.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    cpu_ms: float
    """CPU time of the server's processes in the measured time."""

    seconds: float
    """The measured time."""

    rss_kb: int
    """Resident memory at its end."""

    generator: dict[str, Any]
    """What the load generator reports about itself and what it got."""


def measure_publishers(
    server: Running, app: str, count: int, chunk: int, seconds: float
) -> Measured:
    """Publishes ``count`` streams in real time. Raises `UselessRunError`."""
    with publishers(server, app, count, chunk, _SETTLE_S + seconds + 0.5) as process:
        time.sleep(_SETTLE_S)
        before, began = usage(server.pid), time.monotonic()
        time.sleep(seconds)
        after, elapsed = usage(server.pid), time.monotonic() - began
        report = json.loads(_line(process, _REPORT_S))
    rules.publishers_count(report)
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, report)


def measure_idle(server: Running, seconds: float) -> Measured:
    """What a server spends with the load that it has already."""
    return measure_idle_all([server], seconds)[server.pid]


def measure_idle_all(servers: Sequence[Running], seconds: float) -> dict[int, Measured]:
    """The same of several, at the same time; by process."""
    before = [(server.pid, usage(server.pid), time.monotonic()) for server in servers]
    time.sleep(seconds)
    idle: dict[int, Measured] = {}
    for pid, was, began in before:
        now, elapsed = usage(pid), time.monotonic() - began
        idle[pid] = Measured(now.cpu_ms - was.cpu_ms, elapsed, now.rss_kb, {})
    return idle


def measure_viewers(server: Running, url: str, count: int, seconds: float) -> Measured:
    """Has ``count`` viewers follow a stream over LL-HLS. Raises `UselessRunError`."""
    return _measure(server, rules.viewers_count, "hls_viewers", url, count, seconds)


def measure_files(
    server: Running, playlist: str, part: str, count: int, period_ms: float, seconds: float
) -> Measured:
    """Has ``count`` viewers ask for two files as if they followed a stream of LL-HLS.

    Raises `UselessRunError`.
    """
    return _measure(
        server, rules.files_count, "hls_viewers", playlist, count, seconds, period_ms, part
    )


def measure_players(
    server: Running, form: str, port: int, stream: str, count: int, seconds: float
) -> Measured:
    """Has ``count`` viewers take a stream as `play_viewers` knows how. Raises `UselessRunError`."""
    least_bytes = clip.load().bit_rate / 8 * seconds

    def check(report: Mapping[str, Any]) -> None:
        # A second less than was measured: a join and a group of pictures lie about its ends.
        rules.players_count(report, max(0.0, least_bytes * (1 - 1 / seconds)))

    return _measure(server, check, "play_viewers", form, port, stream, count, seconds)


def measure_whep(server: Running, url: str, count: int, seconds: float) -> Measured:
    """Has ``count`` viewers take a stream over WebRTC. Raises `UselessRunError`."""
    return _measure(server, rules.whep_counts, "whep_viewers", url, count, seconds)


def measure_joins(server: Running, protocol: str, stream: str, count: int) -> Measured:
    """Joins a stream ``count`` times, one after the other. Raises `UselessRunError`."""
    url = server.where(protocol, stream)

    def check(report: Mapping[str, Any]) -> None:
        rules.joins_count(report, count)

    return _measure(server, check, "joins", protocol, url, count)


def measure_glass(server: Running, protocol: str, stream: str, seconds: float) -> Measured:
    """Reads the clock in the pictures of a stream. Raises `UselessRunError`."""
    url = server.where(protocol, stream)
    return _measure(server, rules.glass_counts, "glass", protocol, url, seconds)


def _measure(
    server: Running, check: Callable[[Mapping[str, Any]], None], module: str, *arguments: object
) -> Measured:
    """From when the generator says that it is ready until it reports."""
    with _generator(module, *map(str, arguments)) as process:
        before, began = usage(server.pid), time.monotonic()
        report: dict[str, Any] = json.loads(_line(process, _REPORT_S))
        after, elapsed = usage(server.pid), time.monotonic() - began
    check(report)
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, report)


@contextlib.contextmanager
def publishers(
    server: Running, app: str, count: int, chunk: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """Publishers that are on air; they are ended with the block, if not before."""
    arguments = ("127.0.0.1", server.rtmp_port, app, count, chunk, seconds)
    with _generator("publish", *map(str, arguments)) as process:
        yield process


@contextlib.contextmanager
def _generator(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A load generator, ready: it has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _line(process, _READY_S)
        yield process
    finally:
        process.terminate()
        process.wait(10)
        _output(process).close()


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line that a load generator says. Raises `UselessRunError` when none comes."""
    ready, _, _ = select.select([_output(process)], [], [], seconds)
    if not ready:
        raise UselessRunError(f"the load generator said nothing for {seconds:.0f} s")
    line = _output(process).readline()
    if not line:
        raise UselessRunError(f"the load generator ended with code {process.wait()}")
    return line


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
