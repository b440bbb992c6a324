"""The data-channel section of a peer: SCTP is accepted, and channels that nobody uses are closed.

Made only when the first byte of SCTP arrives: most peers never send one.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import RTCSctpTransport

from streamserver.webrtc import private

__all__ = ["ChannelOpened", "DataChannels"]

_WINDOW_NS: Final = 60_000_000_000
_MAX_UNUSED_BYTES: Final = 256 * 1024
"""What a peer may send in a minute when nobody uses its channels."""

ChannelOpened = Callable[[RTCDataChannel], None]
"""Told of a channel that the peer opened. What it does not close is its to use."""

logger = logging.getLogger(__name__)


class DataChannels:
    """aiortc's SCTP over our DTLS. Bounded: beyond its bounds the association is aborted."""

    def __init__(
        self, send: Callable[[bytes], None], opened: ChannelOpened | None, *, server: bool
    ) -> None:
        """``send`` takes SCTP packets; without ``opened`` every channel is closed."""
        self.state = "connected"
        self._role = "server" if server else "client"
        self._send = send
        self._opened = opened
        self._window_ns = 0
        self._window_bytes = 0
        self._association: RTCSctpTransport | None = private.sctp(self)
        self._association.on("datachannel", self._on_channel)
        self._run(private.sctp_start(self._association))

    @property
    def open(self) -> bool:
        """Whether there still is an association."""
        return self._association is not None

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes one SCTP packet."""
        association = self._association
        if association is None:
            return
        if now_ns - self._window_ns > _WINDOW_NS:
            self._window_ns, self._window_bytes = now_ns, 0
        self._window_bytes += len(data)
        self._run(private.sctp_receive(association, data))
        too_much = self._opened is None and self._window_bytes > _MAX_UNUSED_BYTES
        if too_much or private.sctp_excess(association):
            self.close()

    def close(self) -> None:
        """Aborts the association; its timers are gone."""
        association, self._association = self._association, None
        if association is not None:
            self._run(association.stop())
            self.state = "closed"

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if self._opened is None:
            channel.close()
        else:
            self._opened(channel)

    def _run(self, step: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine of aiortc's that never waits, since `_send_data` does not."""
        try:
            step.send(None)
        except StopIteration:
            return
        except Exception as error:
            # Its parser asserts and unpacks without looking; a peer can make it raise anything.
            logger.debug("SCTP failed: %r", error)
            association, self._association = self._association, None
            if association is not None:
                self._run(association.stop())
            return
        step.close()

    # What aiortc's SCTP calls on the transport below it.

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass

    async def _send_data(self, data: bytes) -> None:
        if self.state == "connected":
            self._send(data)
