"""SRS 5 or 6, when ``STREAMSERVER_SRS`` names its program.

Written after its documentation and not run here: no registry that this machine reaches has it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.base import Peer, given_binary
from benchmarks.servers import Running, free_ports, started

__all__ = ["PEER", "VARIABLE", "configuration", "srs"]

VARIABLE: Final = "STREAMSERVER_SRS"

_CONF: Final = """
listen {rtmp}; max_connections 4000; daemon off; in_docker on; pid {root}/srs.pid;
srs_log_tank file; srs_log_level error; srs_log_file {root}/srs.log;
http_api {{ enabled on; listen {api}; }}
http_server {{ enabled on; listen {http}; dir {root}; }}
rtc_server {{ enabled on; listen {udp}; candidate 127.0.0.1; }}
vhost __defaultVhost__ {{
  rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp off; }}
  http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }}
}}
"""


def configuration(root: Path, *, rtmp: int, http: int, api: int, udp: int) -> str:
    """Its file for these ports."""
    return _CONF.format(root=root, rtmp=rtmp, http=http, api=api, udp=udp)


@contextlib.contextmanager
def srs(root: Path) -> Iterator[Running]:
    """With its own merged writes (350 ms) and Opus made of AAC, as it comes."""
    binary, _ = given_binary(VARIABLE)
    rtmp, http, api, udp = free_ports(4)
    root.mkdir(parents=True)
    path = root / "srs.conf"
    path.write_text(configuration(root, rtmp=rtmp, http=http, api=api, udp=udp))
    urls = {
        "flv": f"http://127.0.0.1:{http}/{{app}}/{{name}}.flv",
        "whep": f"http://127.0.0.1:{api}/rtc/v1/whep/?app={{app}}&stream={{name}}",
    }
    command = [str(binary), "-c", str(path)]
    with started(command, Running(0, rtmp, http, root, urls), ready=rtmp) as running:
        yield running


PEER: Final = Peer(
    name="SRS",
    why_missing=lambda: given_binary(VARIABLE)[1],
    start=srs,
    plays=frozenset({"rtmp", "flv", "whep"}),
    # At a 100 ms join; it joins 350.
    budgets={"rtmp": 1.0, "whep": 0.5},
)
