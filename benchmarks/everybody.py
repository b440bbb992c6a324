"""Our server and every peer that is here, with one stream on each, for cases that compare all."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load import publishers
from benchmarks.peers import ALL, Peer
from benchmarks.servers import Running, streamserver

__all__ = ["STREAM", "Everybody", "clocks", "everybody"]

STREAM: Final = "live/bench0"

_AIR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Everybody:
    """Who runs."""

    ours: Running
    """Our server."""

    peers: dict[str, Running]
    """Those that are here, by name."""

    missing: dict[str, str]
    """Why others are not."""

    @property
    def all(self) -> list[Running]:
        """Ours first."""
        return [self.ours, *self.peers.values()]

    def that_play(self, protocol: str) -> dict[str, Peer]:
        """The peers to compare a protocol with, those that are not here among them."""
        return {peer.name: peer for peer in ALL if protocol in peer.plays}


@contextlib.contextmanager
def everybody(
    root: Path, *settings: str, peers: Sequence[Peer] = ALL, stream: bool = True
) -> Iterator[Everybody]:
    """Starts them, and the clip on each."""
    with ExitStack() as stack:
        ours = stack.enter_context(streamserver(root / "ours", *settings))
        missing = {peer.name: peer.why_missing() for peer in peers}
        running = {
            peer.name: stack.enter_context(peer.start(root / peer.name.replace(" ", "-")))
            for peer in peers
            if not missing[peer.name]
        }
        found = Everybody(ours, running, {name: why for name, why in missing.items() if why})
        if stream:
            for each in found.all:
                stack.enter_context(publishers(each, "live", 1, 4096, _AIR_S))
        yield found


@contextlib.contextmanager
def clocks(server: Running) -> Iterator[None]:
    """Publishes pictures with a clock as `STREAM`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peers.clock_publisher", server.where("rtmp", STREAM)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()
