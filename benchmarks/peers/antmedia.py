"""Ant Media Server (community), when ``STREAMSERVER_ANTMEDIA`` names its ``start.sh``.

Its ports stand in its own installation and are taken as they are, so only one can run; it is asked
for RTMP ingest and memory. Written after its documentation and not run here.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.base import Peer, given_binary
from benchmarks.servers import Running, started

__all__ = ["PEER", "VARIABLE", "antmedia", "ports"]

VARIABLE: Final = "STREAMSERVER_ANTMEDIA"


def ports(properties: str) -> tuple[int, int]:
    """The RTMP and the HTTP port of ``conf/red5.properties``, or those that it comes with."""
    found = dict(
        line.replace(" ", "").split("=", 1) for line in properties.splitlines() if "=" in line
    )
    return int(found.get("rtmp.port", "1935")), int(found.get("http.port", "5080"))


@contextlib.contextmanager
def antmedia(root: Path) -> Iterator[Running]:
    """Its app ``live``; it makes HLS of every stream."""
    binary, _ = given_binary(VARIABLE)
    assert binary is not None
    home = binary.resolve().parent
    rtmp, http = ports((home / "conf" / "red5.properties").read_text())
    root.mkdir(parents=True)
    with started([str(binary)], Running(0, rtmp, http, root), ready=rtmp, cwd=home) as running:
        yield running


PEER: Final = Peer(
    name="Ant Media",
    why_missing=lambda: given_binary(VARIABLE)[1],
    start=antmedia,
    plays=frozenset(),
)
