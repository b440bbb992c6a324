"""A server as the business of a whole process: limits, signals, the collector, the browser."""

import asyncio
import gc
import logging
import resource
import signal
import webbrowser
from collections.abc import Callable
from typing import Final

from streamserver.config import LoadedConfig
from streamserver.server import Server

__all__ = ["run"]

_NOFILE_WANTED: Final = 65_536
"""Open files asked of the kernel at the start: a viewer is one or two."""

logger = logging.getLogger(__name__)


async def run(
    config: LoadedConfig,
    *,
    demo: bool,
    tls_self_signed: bool,
    open_browser: bool,
    ready: Callable[[Server], None],
) -> None:
    """Serves until it is cancelled, then drains and ends.

    ``ready`` is called once, when all ports are open. Raises as `Server.start` does.
    """
    _raise_open_files()
    server = Server(config.config, demo=demo, tls_self_signed=tls_self_signed)
    await server.start()
    # SIGHUP would end the process; what can be reloaded without a restart is the certificates.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload_certificates)
    # What lives until the end needs no look at every collection.
    gc.collect()
    gc.freeze()
    logger.info(
        "serving %s", ", ".join(f"{one.scheme} on port {one.port}" for one in server.listeners)
    )
    try:
        ready(server)
        if open_browser:
            await asyncio.to_thread(webbrowser.open, server.dashboard_url)
        await asyncio.get_running_loop().create_future()
    finally:
        await server.drain()
        await server.close()


def _raise_open_files() -> None:
    """Raises the soft limit on open files towards the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NOFILE_WANTED if hard == resource.RLIM_INFINITY else min(hard, _NOFILE_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
