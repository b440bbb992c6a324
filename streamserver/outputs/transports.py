"""Transports that carry live media: what they hold is known, and is little."""

import asyncio
import logging
import os
import resource
import socket
from typing import Final

__all__ = ["make_live", "own_socket"]

_NOT_SENT_BYTES: Final = 128 * 1024
"""What the kernel keeps beyond what the network takes: more would only be late when it arrives."""

logger = logging.getLogger(__name__)


def make_live(transport: asyncio.WriteTransport) -> None:
    """Prepares the transport of a viewer.

    With a high mark of 0 uvloop writes at once, and not at the end of the loop's turn, where no
    slicer would see how long it takes.
    """
    transport.set_write_buffer_limits(high=0)
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
        except OSError as error:  # not TCP, or a kernel without it: it plays all the same
            logger.debug("TCP_NOTSENT_LOWAT: %s", error)


def own_socket(transport: asyncio.WriteTransport) -> socket.socket | None:
    """A second socket of the same connection, for whoever writes past its transport.

    A number of its own, which nobody else gets before it is closed; until then the peer does not
    see that the transport was. Nothing may be written while the transport holds something, nor may
    anybody write to that behind the owner's back. None where there is TLS, and where half of the
    numbers that the process may have are in use: the rest is for connections.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        own = socket.socket(fileno=os.dup(sock.fileno()))
    except OSError as error:
        logger.debug("no socket of its own: %s", error)
        return None
    numbers, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if numbers != resource.RLIM_INFINITY and own.fileno() > numbers // 2:
        own.close()
        return None
    own.setblocking(False)
    return own
