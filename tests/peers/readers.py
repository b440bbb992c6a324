"""What players read of a stream, and every word that they complain with."""

import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import m3u8

from tests.peers.server import RunningServer

__all__ = [
    "Decoded",
    "PyavRead",
    "decode",
    "finish_decoding",
    "finish_pyav",
    "media_playlist",
    "probe",
    "start_decoding",
    "start_pyav",
    "until",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What ffmpeg made of a playlist."""

    frames: int
    """Pictures decoded."""

    time_s: float
    """Where the output ended."""

    complaints: list[str] = field(default_factory=list)
    """What it printed at level ``error``."""


@dataclass(frozen=True, slots=True)
class PyavRead:
    """What FFmpeg 8 made of a URL."""

    streams: list[dict[str, Any]]
    """``codec width height fps sample_rate`` of each."""

    widths: dict[int, int]
    """How many of the decoded pictures had which width."""

    complaints: list[str]
    """What it printed."""


def until(look: Callable[[], T], what: str, timeout_s: float = 30) -> T:
    """Looks five times a second until the answer is true; returns it."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what} ({seen!r})")
        time.sleep(0.2)
    return seen


def start_decoding(url: str, seconds: float) -> subprocess.Popen[str]:
    """``ffmpeg -v error -i URL -t SECONDS -f null -``, running."""
    return subprocess.Popen(
        [
            *("ffmpeg", "-nostdin", "-v", "error", "-i", url, "-t", f"{seconds:g}"),
            *("-f", "null", "-progress", "pipe:1", "-"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_decoding(process: subprocess.Popen[str], timeout_s: float) -> Decoded:
    """Waits for what `start_decoding` began."""
    try:
        progress, complaints = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        progress, complaints = process.communicate()
        complaints += f"\nstill reading after {timeout_s:g} s"
    values = dict(line.partition("=")[::2] for line in progress.splitlines())
    time_us = values.get("out_time_us", "0")
    return Decoded(
        int(values.get("frame", 0)),
        int(time_us) / 1e6 if time_us.lstrip("-").isdigit() else 0.0,
        [line for line in complaints.splitlines() if line.strip()],
    )


def decode(*urls: str, seconds: float = 8, timeout_s: float | None = None) -> list[Decoded]:
    """Reads playlists at the same time, as ffmpeg does."""
    running = [start_decoding(url, seconds) for url in urls]
    return [finish_decoding(each, timeout_s or seconds + 30) for each in running]


def start_pyav(url: str, frames: int) -> subprocess.Popen[str]:
    """FFmpeg 8, reading so many frames of the first stream."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.peers.pyav_reader", url, str(frames)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_pyav(process: subprocess.Popen[str], timeout_s: float) -> PyavRead:
    """Waits for what `start_pyav` began."""
    try:
        output, complaints = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, complaints = process.communicate()
        complaints += f"\nstill reading after {timeout_s:g} s"
    found = json.loads(output.splitlines()[-1]) if output.strip() else {}
    widths = {int(width): count for width, count in found.get("widths", {}).items()}
    lines = [*output.splitlines()[:-1], *complaints.splitlines()]
    return PyavRead(found.get("streams", []), widths, [line for line in lines if line.strip()])


def probe(url: str) -> list[dict[str, Any]]:
    """The streams that Debian's ffprobe finds."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_streams", url],
        check=True,
        capture_output=True,
        timeout=40,
    )
    streams: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return streams


def media_playlist(server: RunningServer, key: str) -> m3u8.M3U8:
    """The media playlist that the multivariant one names first."""
    master_path = f"/hls/{key}/index.m3u8"
    master = m3u8.loads(server.get(master_path).decode())
    path = urllib.parse.urljoin(master_path, master.playlists[0].uri)
    return m3u8.loads(server.get(path).decode())
