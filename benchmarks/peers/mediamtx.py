"""MediaMTX, when ``STREAMSERVER_MEDIAMTX`` names its program.

Written after its documentation and not run here: no registry that this machine reaches has it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.base import Peer, given_binary
from benchmarks.servers import Running, free_ports, started

__all__ = ["PEER", "VARIABLE", "configuration", "mediamtx"]

VARIABLE: Final = "STREAMSERVER_MEDIAMTX"

_CONF: Final = """
logLevel: error
rtsp: no
srt: no
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
hls: yes
hlsAddress: 127.0.0.1:{hls}
hlsAlwaysRemux: yes
hlsVariant: lowLatency
webrtc: yes
webrtcAddress: 127.0.0.1:{webrtc}
webrtcLocalUDPAddress: 127.0.0.1:{udp}
webrtcIPsFromInterfaces: no
webrtcAdditionalHosts: [127.0.0.1]
paths:
  all_others:
"""


def configuration(*, rtmp: int, hls: int, webrtc: int, udp: int) -> str:
    """mediamtx.yml for these ports."""
    return _CONF.format(rtmp=rtmp, hls=hls, webrtc=webrtc, udp=udp)


@contextlib.contextmanager
def mediamtx(root: Path) -> Iterator[Running]:
    """Makes HLS of every stream, as ours does; lacks Opus for WebRTC of a stream with AAC."""
    binary, _ = given_binary(VARIABLE)
    rtmp, hls, webrtc, udp = free_ports(4)
    root.mkdir(parents=True)
    path = root / "mediamtx.yml"
    path.write_text(configuration(rtmp=rtmp, hls=hls, webrtc=webrtc, udp=udp))
    urls = {
        "hls": f"http://127.0.0.1:{hls}/{{app}}/{{name}}/index.m3u8",
        "whep": f"http://127.0.0.1:{webrtc}/{{app}}/{{name}}/whep",
    }
    with started([str(binary), str(path)], Running(0, rtmp, hls, root, urls), ready=rtmp) as it:
        yield it


PEER: Final = Peer(
    name="MediaMTX",
    why_missing=lambda: given_binary(VARIABLE)[1],
    start=mediamtx,
    plays=frozenset({"rtmp", "whep"}),
)
