"""One viewer of a fan-out: where it is in the log, and what is special about it."""

import socket as sockets
from collections.abc import Callable
from typing import Protocol

from streamserver.feeds.body import Header
from streamserver.feeds.framed import Framed
from streamserver.hub.readers import Reader
from streamserver.hub.sessions import Session

__all__ = ["Choose", "Envelope", "Place", "Transport", "Viewer"]


class Transport(Protocol):
    """Where the bytes go: an asyncio transport, or whatever is as good."""

    def write(self, data: bytes) -> None:
        """Sends, or keeps what the kernel does not take."""

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""


Choose = Callable[[Framed], bytes | None]
"""The bytes of an item as one viewer wants them; None to leave it out."""


Envelope = Callable[[bytes], bytes]
"""What is put around each write."""


class Place:
    """Where a viewer is. Those who are together share one: see `streamserver.outputs.rows`."""

    __slots__ = ("header", "last_ms", "position")

    def __init__(self, position: int, header: Header | None, last_ms: int) -> None:
        self.position = position
        """The position behind the last item that it got."""
        self.header = header
        """The header that its decoder has; None before the first."""
        self.last_ms = last_ms
        """The time of the last item that it got, on the log's time line."""


class Viewer:
    """A viewer, from its entry to its end.

    While ``reader`` is None it is where the fan-out is, and gets what all get. A viewer that is
    behind, that begins, or that wants something else, reads on its own.
    """

    __slots__ = (
        "choose", "dropped", "ended", "envelope", "fresh", "paused", "place", "reader",
        "sent_before", "session", "socket", "transport",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        session: Session,
        ended: Callable[[str, bool], None],
        *,
        socket: sockets.socket | None = None,
        envelope: Envelope | None = None,
        choose: Choose | None = None,
    ) -> None:
        """``ended(reason, over)`` is told when the fan-out lets it go: with a reason for people,
        and whether the stream is over. ``envelope`` is put around each write; with one there is
        no ``socket``."""
        self.transport = transport
        self.socket = socket
        """Its own, which is written to past a transport that holds nothing (`own_socket`)."""
        self.session = session
        self.ended = ended
        self.envelope = envelope
        self.choose = choose
        self.reader: Reader[Framed] | None = None
        self.place = Place(-1, None, 0)
        """Its own, or that of all in its row, and then only read."""
        self.fresh = True
        """Whether it has got nothing since it came, or came back from a pause."""
        self.paused = False
        """Whether it wants nothing for now."""
        self.dropped = 0
        """Items that it lost, without those that its present reader skipped."""
        self.sent_before = 0
        """``session.bytes_sent`` when the bit rate was last looked at."""

    def write(self, data: bytes) -> None:
        """Hands bytes to the transport and counts them."""
        if self.envelope is not None:
            data = self.envelope(data)
        self.transport.write(data)
        self.session.sent_alone += len(data)

    def close_socket(self) -> None:
        """Lets go of its own socket, which would keep the connection open. Only once."""
        sock, self.socket = self.socket, None
        if sock is not None:
            sock.close()
