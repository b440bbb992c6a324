"""Transports that carry live media: what they hold is known, and is little."""

import asyncio
import logging
import socket
from typing import Final

from streamserver.outputs.viewer import NO_SOCKET

__all__ = ["make_live"]

_NOT_SENT_BYTES: Final = 128 * 1024
"""What the kernel keeps beyond what the network takes: more would only be late when it arrives."""

logger = logging.getLogger(__name__)


def make_live(transport: asyncio.WriteTransport) -> int:
    """Prepares the transport of a viewer.

    With a high mark of 0 uvloop writes at once, and not at the end of the loop's turn, where no
    slicer would see how long it takes.

    Answers the number of its socket, which may be written to past a transport that is not closing
    and holds nothing; `NO_SOCKET` where there is none, or TLS above it.
    """
    transport.set_write_buffer_limits(high=0)
    sock = transport.get_extra_info("socket")
    if sock is None:
        return NO_SOCKET
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
        except OSError as error:  # not TCP, or a kernel without it: it plays all the same
            logger.debug("TCP_NOTSENT_LOWAT: %s", error)
    sealed = transport.get_extra_info("sslcontext") is not None
    return NO_SOCKET if sealed else int(sock.fileno())
