"""Memory: what a stream costs, and what a viewer of each protocol adds.

Resident memory of a server that has done nothing else before: a server for every figure, all with
the same stream for longer than their logs hold.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.everybody import STREAM
from benchmarks.load import (
    Measured,
    UselessRunError,
    measure_idle,
    measure_players,
    measure_viewers,
    measure_whep,
    publishers,
)
from benchmarks.peers import ALL, Peer
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver

__all__ = ["run"]

_STREAMS = 5
_SETTLE_S = 20.0
"""Longer than a log of 12 s, and than what was in a playlist stays to be had, some 18."""

_SECONDS = 4.0
_UNIT = "KB of resident memory"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Viewers of one protocol."""

    name: str
    """As the table has it."""

    count: int
    """How many."""

    measure: Callable[[Running, int], Measured]
    """Has them watch."""


_KINDS = {
    "rtmp": _Kind(
        "RTMP", 200,
        lambda server, count: measure_players(
            server, "rtmp", server.rtmp_port, STREAM, count, _SECONDS
        ),
    ),
    "flv": _Kind("HTTP-FLV", 200, lambda server, count: measure_players(
        server, "flv", server.http_port, _path(server, "flv"), count, _SECONDS
    )),
    "hls": _Kind("LL-HLS", 200, lambda server, count: measure_viewers(
        server, server.where("hls", STREAM), count, _SECONDS
    )),
    "whep": _Kind("WHEP", 50, lambda server, count: measure_whep(
        server, server.where("whep", STREAM), count, _SECONDS
    )),
}  # fmt: skip


def _path(server: Running, protocol: str) -> str:
    return server.where(protocol, STREAM).removeprefix(server.url(""))


def run(rounds: int, seconds: float) -> list[Row]:
    """Once: memory does not depend on how busy the machine is."""
    missing = {peer.name: peer.why_missing() for peer in ALL}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, ExitStack() as stack:
        root = Path(directory)
        ours = stack.enter_context(streamserver(root / "ours"))
        servers = {"": ours} | _started(stack, root, missing)
        idle_kb = {name: measure_idle(server, 0.2).rss_kb for name, server in servers.items()}
        for server in servers.values():
            stack.enter_context(publishers(server, "live", _STREAMS, 4096, 3600))
        viewed = _viewed(stack, root, missing)
        time.sleep(_SETTLE_S)
        stream_kb = {
            name: (measure_idle(server, 0.2).rss_kb - idle_kb[name]) / _STREAMS
            for name, server in servers.items()
        }
        rows: list[Row] = []
        for what, kb in (("idle", idle_kb), ("a stream of 2.65 Mbit/s", stream_kb)):
            for name, why in missing.items():
                row = Row("memory", what, _UNIT, name, None, ours=[kb[""]], missing=why)
                row.theirs += [kb[name]] if name in kb else []
                rows.append(row)
        return rows + _viewers(viewed, missing)


def _started(stack: ExitStack, root: Path, missing: dict[str, str]) -> dict[str, Running]:
    return {
        peer.name: stack.enter_context(peer.start(root / f"{peer.name.replace(' ', '-')}-streams"))
        for peer in ALL
        if not missing[peer.name]
    }


def _viewed(
    stack: ExitStack, root: Path, missing: dict[str, str]
) -> dict[tuple[str, str], Running]:
    """A server for every protocol, ours under the empty name, and one stream on each."""
    found: dict[tuple[str, str], Running] = {}
    for protocol in _KINDS:
        found[protocol, ""] = stack.enter_context(streamserver(root / f"ours-{protocol}"))
        for peer in ALL:
            if protocol in peer.plays and not missing[peer.name]:
                found[protocol, peer.name] = _start(stack, root, peer, protocol)
    for server in found.values():
        stack.enter_context(publishers(server, "live", 1, 4096, 3600))
    return found


def _viewers(viewed: dict[tuple[str, str], Running], missing: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    for protocol, kind in _KINDS.items():
        names = [peer.name for peer in ALL if protocol in peer.plays] or ["-"]
        found = [
            Row("memory", f"a viewer over {kind.name}", _UNIT, name, None,
                missing=missing.get(name, ""), notes={"viewers": kind.count})
            for name in names
        ]  # fmt: skip
        mine = _each(viewed[protocol, ""], kind, found)
        for row in found:
            row.ours += mine
            if (protocol, row.reference) in viewed:
                row.theirs += _each(viewed[protocol, row.reference], kind, [row])
        rows += found
    return rows


def _start(stack: ExitStack, root: Path, peer: Peer, protocol: str) -> Running:
    return stack.enter_context(peer.start(root / f"{peer.name.replace(' ', '-')}-{protocol}"))


def _each(server: Running, kind: _Kind, blamed: list[Row]) -> list[float]:
    """KB for each viewer; nothing, and a word in the table, when the run was useless."""
    before = measure_idle(server, 0.5).rss_kb
    try:
        run = kind.measure(server, kind.count)
    except UselessRunError as error:
        for row in blamed:
            row.missing = f"a round was useless: {error}"
        return []
    return [(run.rss_kb - before) / kind.count]
