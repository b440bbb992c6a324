"""A live stream's objects, found as a player finds them."""

import time
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.parse import urljoin

from benchmarks.hls_viewers import edge
from benchmarks.load import UselessRunError
from benchmarks.servers import Running, fetch

__all__ = ["Objects", "find"]

_WAIT_S = 30


@dataclass(frozen=True, slots=True)
class Objects:
    """A playlist and its newest part."""

    playlist_path: str
    """With a session of its own in it."""

    playlist: bytes
    """Its text."""

    part_path: str
    """The newest part that is there."""

    part: bytes
    """Its bytes."""


def find(server: Running, stream: str, *, segments: int = 3) -> Objects:
    """Waits until the playlist lists some whole segments. Raises `UselessRunError`."""
    base = server.url(f"/hls/{stream}/index.m3u8")
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        try:
            text = fetch(base).decode()
        except HTTPError as error:
            error.close()
            time.sleep(0.2)
            continue
        line = next(line for line in text.splitlines() if line and not line.startswith("#"))
        playlist_url = urljoin(base, line)
        playlist = fetch(playlist_url)
        if playlist.count(b"#EXTINF:") >= segments:
            part_url = urljoin(playlist_url, edge(playlist)[2][-1].decode())
            start = len(server.url(""))
            return Objects(playlist_url[start:], playlist, part_url[start:], fetch(part_url))
        time.sleep(0.5)
    raise UselessRunError(f"{stream} has no {segments} segments after {_WAIT_S} s")
