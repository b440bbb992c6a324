"""FLV over HTTP and over WebSocket: the same bytes, in messages on a WebSocket."""

from typing import Final

__all__ = ["CONTENT_TYPE", "WebSocketFrames"]

CONTENT_TYPE: Final = "video/x-flv"
"""What players expect of FLV; it was never registered."""

_FIN_BINARY: Final = 0x82


class WebSocketFrames:
    """Makes each write one binary message. One object serves all viewers of a server.

    Nothing in a server's frame depends on the viewer (RFC 6455 5.1: it is not masked), so the
    last one is kept, and all who are written the same bytes get the same frame.
    """

    __slots__ = ("_data", "_frame")

    def __init__(self) -> None:
        self._data = b""
        self._frame = b""

    def __call__(self, data: bytes) -> bytes:
        """The frame around some bytes (RFC 6455 5.2)."""
        if data is not self._data or not data:
            self._data, self._frame = data, _head(len(data)) + data
        return self._frame


def _head(size: int) -> bytes:
    if size < 126:
        return bytes((_FIN_BINARY, size))
    if size < 1 << 16:
        return bytes((_FIN_BINARY, 126)) + size.to_bytes(2, "big")
    return bytes((_FIN_BINARY, 127)) + size.to_bytes(8, "big")
