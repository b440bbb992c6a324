"""One playlist and one part of about 60 KB: our server against nginx with the same bytes."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.live import Objects, find
from benchmarks.load import UselessRunError, publishers
from benchmarks.peers.nginx import nginx, why_missing
from benchmarks.results import Row
from benchmarks.servers import Running, streamserver
from benchmarks.wrk import microseconds_per_request

__all__ = ["run"]

_CONNECTIONS = (32, 500)
_PART_MS = 180
"""Parts of 60 KB at 2.65 Mbit/s."""

_SECONDS = 3


def run(rounds: int, seconds: float) -> list[Row]:
    """Both objects at both numbers of connections, on each server in changing order."""
    missing = why_missing()
    if missing:
        return [Row("http", "playlist and part", "us", "nginx", 1.0, missing=missing)]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        ours = stack.enter_context(
            streamserver(
                root / "ours",
                f"hls.part_ms={_PART_MS}",
                # The objects outlive their publisher, so that no ingest is in the figures.
                "server.reconnect_window_s=300",
            )
        )
        peer = stack.enter_context(nginx(root / "nginx"))
        try:
            with publishers(ours, "live", 1, 4096, 60):
                objects = find(ours, "live/bench0")
        except UselessRunError as error:
            return [Row("http", "playlist and part", "us", "nginx", 1.0, missing=str(error))]
        return _measure(ours, peer, objects, rounds, max(1, round(min(seconds, _SECONDS))))


def _measure(
    ours: Running, peer: Running, objects: Objects, rounds: int, seconds: int
) -> list[Row]:
    www = peer.root / "www"
    (www / "video.m3u8").write_bytes(objects.playlist)
    (www / "part.m4s").write_bytes(objects.part)
    loads = (
        (f"playlist of {len(objects.playlist)} B", objects.playlist_path, "/video.m3u8"),
        (f"part of {len(objects.part)} B", objects.part_path, "/part.m4s"),
    )
    rows = []
    for name, our_path, their_path in loads:
        for connections in _CONNECTIONS:
            row = Row("http", f"{name}, {connections} connections", "CPU us", "nginx", 1.0)
            rows.append(row)
            targets = [(row.ours, ours, our_path), (row.theirs, peer, their_path)]
            for number in range(rounds):
                for figures, server, path in targets[:: -1 if number % 2 else 1]:
                    cost, count = microseconds_per_request(server, path, connections, seconds)
                    figures.append(cost)
                    row.notes[f"{'ours' if server is ours else 'nginx'} per s"] = count // seconds
    return rows
