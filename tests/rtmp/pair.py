"""Our client and our server, joined by two wires that cut bytes wherever a test wants."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import ClientEvent
from streamserver.rtmp.client_settings import CLIENT_BOUNDS, ClientAction, ClientSettings
from streamserver.rtmp.events import ConnectReceived
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.settings import SessionSettings
from streamserver.rtmp.target import parse_target
from tests.rtmp.helpers_wire import Told, decide, told

__all__ = ["Pair", "client_settings"]

T = TypeVar("T")


def client_settings(
    url: str = "rtmp://localhost/live/cam",
    action: ClientAction = "publish",
    *,
    bounds: SessionSettings = CLIENT_BOUNDS,
    auth_query: str = "",
) -> ClientSettings:
    """Settings for a URL."""
    return ClientSettings(
        target=parse_target(url), action=action, bounds=bounds, auth_query=auth_query
    )


class Pair:
    """Both ends, the events of each, and a pump."""

    def __init__(
        self,
        settings: ClientSettings | None = None,
        server: SessionSettings | None = None,
        *,
        sizes: Iterable[int] = (1 << 20,),
        accept: bool = True,
    ) -> None:
        """``sizes``: how many bytes each piece has, in turn; ``accept``: whether the server says
        yes to publish and play."""
        self.now_ns = 0
        self.client = ClientSession(
            settings or client_settings(), now_ns=0, nonce=bytes(1528), auth_nonce="0123abcd"
        )
        self.server = ServerSession(server, now_ns=0, nonce=bytes(1528))
        self.client_events: list[ClientEvent] = []
        self.server_events: list[Told] = []
        self._sizes = itertools.cycle(sizes)
        self._accept = accept

    def pump(self) -> "Pair":
        """Carries bytes until both ends are silent; the client's turn comes first."""
        while True:
            sent = False
            for piece in self._pieces(self.client.bytes_to_send()):
                self.server.receive(piece, self.now_ns)
                self._server_events()
                sent = True
            for piece in self._pieces(self.server.bytes_to_send()):
                self.client.receive(piece, self.now_ns)
                self.client_events += self.client.events()
                sent = True
            if not sent:
                return self

    def sent(self, kind: type[T]) -> list[T]:
        """What of a kind the server was told; `Message` for media."""
        return [event for event in self.server_events if isinstance(event, kind)]

    def told(self, kind: type[T]) -> list[T]:
        """What of a kind the client was told."""
        return [event for event in self.client_events if isinstance(event, kind)]

    @property
    def connect(self) -> ConnectReceived:
        """What the client said of itself."""
        (connect,) = self.sent(ConnectReceived)
        return connect

    def _server_events(self) -> None:
        if self._accept:
            self.server_events += decide(self.server, self.now_ns)
        else:
            self.server_events += told(self.server.events())

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        position = 0
        while position < len(data):
            size = next(self._sizes)
            yield data[position : position + size]
            position += size
