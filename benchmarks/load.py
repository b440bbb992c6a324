"""Runs a load generator beside a server, and says what the server spent on it.

A figure counts only when the generator was no part of it: it must have had time to spare, and
everything that was sent must have arrived.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from benchmarks.procfs import usage
from benchmarks.servers import Running

__all__ = [
    "Measured",
    "UselessRunError",
    "measure_idle",
    "measure_players",
    "measure_publishers",
    "measure_viewers",
    "measure_whep",
    "publishers",
]

_MOST_CPU = 0.85
"""Share of a core beyond which a generator may have been what was measured."""

_LEAST_MEDIA = 0.97
"""Share of the media that every viewer must get."""

_LATEST_MS = 500
"""How late a publisher may send a frame."""

_SETTLE_S = 3.0
"""From the first frame to the measured time: past the first segment, and whatever starting costs.
"""


class UselessRunError(Exception):
    """A run whose figures mean nothing, and why."""


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
        report = _last_line(process)
    own = report["cpu_ms"] / 1000 / report["seconds"]
    if own > _MOST_CPU:
        raise UselessRunError(f"the publishers needed {own:.0%} of a core")
    if report["late_ms"] > _LATEST_MS:
        raise UselessRunError(f"a frame was sent {report['late_ms']:.0f} ms late")
    if report["unsent"]:
        raise UselessRunError(f"{report['unsent']} bytes were not taken by the server")
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, report)


def measure_idle(server: Running, seconds: float) -> Measured:
    """What a server spends with the load that it has already."""
    before, began = usage(server.pid), time.monotonic()
    time.sleep(seconds)
    after, elapsed = usage(server.pid), time.monotonic() - began
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, {})


def measure_viewers(server: Running, url: str, count: int, seconds: float) -> Measured:
    """Has ``count`` viewers follow a stream that is live. Raises `UselessRunError`."""
    with _generator("hls_viewers", url, str(count), str(seconds)) as process:
        # The generator says when all of them follow, and measures from then on.
        before, began = usage(server.pid), time.monotonic()
        report = _last_line(process)
        after, elapsed = usage(server.pid), time.monotonic() - began
    own = report["cpu_ms"] / 1000 / report["seconds"]
    if own > _MOST_CPU:
        raise UselessRunError(f"the viewers needed {own:.0%} of a core")
    if report["errors"] or report["missed"]:
        raise UselessRunError(f"{report['errors']} errors, {report['missed']} holes")
    if report["fewest_parts"] < _LEAST_MEDIA * report["most_parts"] - 1:
        raise UselessRunError(
            f"one viewer got {report['fewest_parts']} parts, another {report['most_parts']}"
        )
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, report)


def measure_players(
    server: Running, form: str, port: int, stream: str, count: int, seconds: float
) -> Measured:
    """Has ``count`` viewers take a stream as `play_viewers` knows how. Raises `UselessRunError`."""
    arguments = (form, port, stream, count, seconds)
    with _generator("play_viewers", *map(str, arguments)) as process:
        before, began = usage(server.pid), time.monotonic()
        report = _last_line(process)
        after, elapsed = usage(server.pid), time.monotonic() - began
    own = report["cpu_ms"] / 1000 / report["seconds"]
    if own > _MOST_CPU:
        raise UselessRunError(f"the viewers needed {own:.0%} of a core")
    if report["lost"]:
        raise UselessRunError(f"{report['lost']} viewers were let go")
    if report["fewest_bytes"] < _LEAST_MEDIA * report["most_bytes"]:
        raise UselessRunError(
            f"one viewer got {report['fewest_bytes']} bytes, another {report['most_bytes']}"
        )
    return Measured(after.cpu_ms - before.cpu_ms, elapsed, after.rss_kb, report)


def measure_whep(server: Running, url: str, count: int, seconds: float) -> Measured:
    """Has ``count`` viewers take a stream over WebRTC. Raises `UselessRunError`."""
    with _generator("whep_viewers", url, str(count), str(seconds)) as process:
        before, began = usage(server.pid), time.monotonic()
        report = _last_line(process)
        after, elapsed = usage(server.pid), time.monotonic() - began
    own = report["cpu_ms"] / 1000 / report["seconds"]
    if own > _MOST_CPU:
        raise UselessRunError(f"the viewers needed {own:.0%} of a core")
    if report["damaged"] or report["gaps"]:
        raise UselessRunError(f"{report['damaged']} packets damaged, {report['gaps']} gaps")
    if report["fewest_bytes"] < _LEAST_MEDIA * report["most_bytes"]:
        raise UselessRunError(
            f"one viewer got {report['fewest_bytes']} bytes, another {report['most_bytes']}"
        )
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
        if not _output(process).readline():
            raise UselessRunError(f"benchmarks.{module} ended with code {process.wait()}")
        yield process
    finally:
        process.terminate()
        process.wait(10)
        _output(process).close()


def _last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _output(process).readline()
    if not line:
        raise UselessRunError(f"the load generator ended with code {process.wait()}")
    report: dict[str, Any] = json.loads(line)
    return report


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
