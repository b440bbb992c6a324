"""Destinations over RTMP and RTMPS: what one costs, against one viewer of the same stream.

All of them send one stream to a sink, which is a process of its own. What the stream costs without
them is measured just before and taken off.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks import clip
from benchmarks.load import UselessRunError, measure_idle, measure_players, publishers
from benchmarks.results import Row
from benchmarks.rules import all_sent
from benchmarks.servers import TOKEN, Running, fetch, streamserver

__all__ = ["run"]

_COUNTS = (1, 5, 20)
_VIEWERS = 200
_BUDGETS = {"rtmp": 2.0, "rtmps": 4.0}
_APP, _NAME = "live", "bench0"
_PATH = f"/api/v1/streams/{_APP}/{_NAME}/destinations"
_UNIT = "CPU ms per destination- or viewer-second"
_CONNECT_S = 30


def run(rounds: int, seconds: float) -> list[Row]:
    """Viewers, RTMP and RTMPS in every round."""
    rows = {
        (scheme, count): Row(
            "destinations", f"{count} over {scheme.upper()}", _UNIT, "a viewer",
            # A single one joins nothing: its figure is told, not judged.
            budget if count == max(_COUNTS) else None,
        )
        for scheme, budget in _BUDGETS.items()
        for count in _COUNTS
    }  # fmt: skip
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        sinks = {
            "rtmp": stack.enter_context(_sink(root)),
            "rtmps": stack.enter_context(
                _sink(root, "--tls", "--save-cert", str(root / "cert.pem"))
            ),
        }
        ours = stack.enter_context(
            streamserver(root / "ours", f"outgoing.ca_file={root / 'cert.pem'}")
        )
        for _ in range(rounds):
            try:
                _round(rows, ours, sinks, seconds)
            except UselessRunError as error:
                for row in rows.values():
                    row.missing = f"a round was useless: {error}"
    return list(rows.values())


def _round(
    rows: dict[tuple[str, int], Row], ours: Running, sinks: dict[str, int], seconds: float
) -> None:
    with publishers(ours, _APP, 1, 4096, 600):
        time.sleep(3)
        alone = measure_idle(ours, seconds)
        alone_ms = alone.cpu_ms / alone.seconds
        viewing = measure_players(
            ours, "rtmp", ours.rtmp_port, f"{_APP}/{_NAME}", _VIEWERS, seconds
        )
        viewer_ms = (viewing.cpu_ms / viewing.seconds - alone_ms) / _VIEWERS
        for (scheme, count), row in rows.items():
            with _sending(ours, scheme, sinks[scheme], count):
                before = _sent(ours)
                run = measure_idle(ours, seconds)
                after = _sent(ours)
            least = min(b - a for a, b in zip(before, after, strict=True))
            try:
                # What was sent is counted once a second.
                all_sent(least, clip.load().bit_rate / 8 * (run.seconds - 1))
            except UselessRunError as error:
                row.missing = f"a round was useless: {error}"
                continue
            row.notes = {
                "rss_kb_per_destination": round((run.rss_kb - alone.rss_kb) / count, 1),
                "fewest_kbit_s": round(least * 8 / 1000 / run.seconds),
                "stream_cpu_ms_per_s": alone_ms,
            }
            row.ours.append((run.cpu_ms / run.seconds - alone_ms) / count)
            row.theirs.append(viewer_ms)


@contextlib.contextmanager
def _sending(ours: Running, scheme: str, port: int, count: int) -> Iterator[None]:
    """All destinations, live; taken away at the end."""
    ids: list[str] = []
    try:
        for index in range(count):
            url = f"{scheme}://localhost:{port}/live/key-{index}"
            ids.append(_call(ours, "POST", _PATH, {"url": url})["id"])
        deadline = time.monotonic() + _CONNECT_S
        while {one["state"] for one in _all(ours)} != {"live"}:
            if time.monotonic() > deadline:
                raise UselessRunError(f"not all live: {[one['last_error'] for one in _all(ours)]}")
            time.sleep(0.2)
        time.sleep(2)
        yield
    finally:
        for each in ids:
            _call(ours, "DELETE", f"{_PATH}/{each}")
        # The next load begins when nothing of this one is left.
        while _all(ours):
            time.sleep(0.1)


def _all(ours: Running) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(fetch(ours.url(_PATH)))["items"]
    return found


def _sent(ours: Running) -> list[int]:
    return [int(str(one["bytes_sent"])) for one in _all(ours)]


def _call(ours: Running, method: str, path: str, body: object = None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(
        Request(ours.url(path), data=data, headers=headers, method=method), timeout=20
    ) as answer:
        text = answer.read()
    found: dict[str, str] = json.loads(text) if text else {}
    return found


@contextlib.contextmanager
def _sink(root: Path, *arguments: str) -> Iterator[int]:
    """Our own sink as a process; answers its port. It talks to a file: a pipe would fill."""
    path = root / f"sink{len(arguments)}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamserver", "sink", "--json", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL, stdout=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _CONNECT_S
        while b"\n" not in path.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield int(json.loads(path.read_text().partition("\n")[0])["port"])
    finally:
        process.terminate()
        process.wait(10)
