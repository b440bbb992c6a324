"""A server as the business of a process: limits, signals, service manager, collector, browser."""

import asyncio
import gc
import logging
import resource
import signal
import sys
import webbrowser
from collections.abc import Callable
from typing import Final

from streamserver.config import LoadedConfig
from streamserver.server import Server
from streamserver.systemd import READY, STOPPING, ServiceManager

__all__ = ["run"]

_NOFILE_WANTED: Final = 65_536
"""Open files asked of the kernel at the start: a viewer is one or two."""

_NOFILE_SPARE: Final = 100
"""Files besides connections."""

_GIL_TURN_S: Final = 0.0005
"""How long a busy loop lets a thread wait for the interpreter. A packet of sound asks for it half a
dozen times between FFmpeg's calls: with Python's 5 ms it comes 30 ms late when the loop is busy."""

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
    _raise_open_files(config.config.limits.max_connections)
    sys.setswitchinterval(_GIL_TURN_S)
    server = Server(config.config, loaded=config, demo=demo, tls_self_signed=tls_self_signed)
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload_soon)
    logger.info(
        "serving %s", ", ".join(f"{one.scheme} on port {one.port}" for one in server.listeners)
    )
    manager = ServiceManager()
    watchdog = asyncio.create_task(_pet(manager), name="watchdog")
    try:
        ready(server)
        manager.tell(READY)
        if open_browser:
            await asyncio.to_thread(webbrowser.open, server.dashboard_url)
        await server.completed()
        # What lives until the end needs no look at every collection. What is garbage by now is
        # little, and looking for it takes a tenth of a second.
        gc.freeze()
        gc.enable()
        await asyncio.get_running_loop().create_future()
    finally:
        manager.tell(STOPPING)
        await server.drain()
        await server.close()
        watchdog.cancel()


async def _pet(manager: ServiceManager) -> None:
    """Tells systemd that the loop turns, as long as it does."""
    while manager.watchdog_s is not None:
        manager.alive()
        await asyncio.sleep(manager.watchdog_s)


def _raise_open_files(connections: int) -> None:
    """Raises the soft limit on open files towards the hard one; says so where that is too little
    for what may connect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NOFILE_WANTED if hard == resource.RLIM_INFINITY else min(hard, _NOFILE_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if resource.RLIM_INFINITY != soft < connections + _NOFILE_SPARE:
        logger.warning(
            "only %d open files are allowed, too few for limits.max_connections = %d: raise "
            "LimitNOFILE in the unit, or nofile in limits.conf",
            soft,
            connections,
        )
