"""Other servers, each in a small file with its configuration.

A peer that is not on the machine is a line in the table that says why.
"""

from benchmarks.peers import antmedia, mediamtx, nginx_rtmp, node_media_server, srs
from benchmarks.peers.base import Peer

__all__ = ["ALL", "Peer"]

ALL: tuple[Peer, ...] = (
    nginx_rtmp.PEER,
    node_media_server.PEER,
    mediamtx.PEER,
    srs.PEER,
    antmedia.PEER,
)
"""Those that take a stream over RTMP. nginx for files is `peers.nginx`, aiortc's sender
`whep_server`."""
