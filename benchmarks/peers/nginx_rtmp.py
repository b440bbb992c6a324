"""nginx-rtmp as Debian packages it, with one worker; the app ``hls`` writes HLS besides."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers import nginx
from benchmarks.peers.base import Peer
from benchmarks.servers import Running, free_ports

__all__ = ["MODULE", "PEER", "nginx_rtmp", "why_missing"]

MODULE: Final = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
"""Where Debian puts it."""

_RTMP: Final = """
rtmp {{ server {{
  listen 127.0.0.1:{rtmp_port}; chunk_size 4096;
  application live {{ live on; }}
  application hls {{ live on; hls on; hls_path {root}/hls; hls_fragment 2s; }}
}} }}
"""


def why_missing() -> str:
    """What is missing to compare with nginx-rtmp; empty when nothing is."""
    if shutil.which("nginx") is None:
        return "nginx not installed"
    return "" if MODULE.exists() else f"no {MODULE} (libnginx-mod-rtmp)"


@contextlib.contextmanager
def nginx_rtmp(root: Path) -> Iterator[Running]:
    """Its HLS goes to a directory beside its files."""
    rtmp_port, http_port = free_ports(2)
    text = nginx.configuration(
        root, http_port,
        load=f"load_module {MODULE};", rtmp=_RTMP.format(root=root, rtmp_port=rtmp_port),
    )  # fmt: skip
    with nginx.run(Running(0, rtmp_port, http_port, root), text) as running:
        yield running


PEER: Final = Peer(
    name="nginx-rtmp", why_missing=why_missing, start=nginx_rtmp, budgets={"rtmp": 0.35}
)
