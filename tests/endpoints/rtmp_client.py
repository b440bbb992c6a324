"""The least RTMP client that can publish, written apart from the product's own core."""

import asyncio
import contextlib
import ssl
import struct


def string(text: str) -> bytes:
    raw = text.encode()
    return b"\x02" + struct.pack(">H", len(raw)) + raw


def number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def message(csid: int, kind: int, ms: int, stream_id: int, body: bytes, size: int = 128) -> bytes:
    """One message in chunks."""
    out = bytearray([csid])
    out += ms.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([kind])
    out += stream_id.to_bytes(4, "little") + body[:size]
    for at in range(size, len(body), size):
        out += bytes([0xC0 | csid]) + body[at : at + size]
    return bytes(out)


class RtmpClient:
    """A publisher whose answers are searched for words, not parsed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seen = b""
        self.caps_ex: int | None = None
        """What to announce of enhanced RTMP; None: nothing."""

    @classmethod
    async def connect(
        cls, port: int, *, prefix: bytes = b"", tls: ssl.SSLContext | None = None
    ) -> "RtmpClient":
        """``tls``: what the client trusts, for RTMPS to ``localhost``."""
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=name
        )
        writer.write(prefix)
        return cls(reader, writer)

    async def publish(self, app: str, key: str, *, host: str = "127.0.0.1") -> None:
        """Asks; what comes of it is for `until`."""
        await self._ask(app, string("publish") + number(3) + b"\x05" + string(key), host)

    async def play(self, app: str, name: str) -> None:
        """Asks to play."""
        await self._ask(app, string("play") + number(3) + b"\x05" + string(name), "127.0.0.1")

    async def _ask(self, app: str, command: bytes, host: str) -> None:
        self.writer.write(b"\x03" + bytes(1536))
        answer = await self.reader.readexactly(3073)
        self.writer.write(answer[1:1537])
        fields = {"app": app, "tcUrl": f"rtmp://{host}/{app}", "flashVer": "test/1.0"}
        pairs = b"".join(
            struct.pack(">H", len(k)) + k.encode() + string(v) for k, v in fields.items()
        )
        if self.caps_ex is not None:
            pairs += struct.pack(">H", 6) + b"capsEx" + number(self.caps_ex)
        connect = string("connect") + number(1) + b"\x03" + pairs + b"\0\0\x09"
        self.writer.write(message(3, 20, 0, 0, connect))
        self.writer.write(message(3, 20, 0, 0, string("createStream") + number(2) + b"\x05"))
        await self.until(b"_result", count=2)
        self.writer.write(message(3, 20, 0, 1, command + string("live")))

    async def until(self, word: bytes, *, count: int = 1) -> None:
        """Reads until a word was seen; raises `EOFError` when the server closes before."""
        while self.seen.count(word) < count:
            data = await self.reader.read(65536)
            if not data:
                raise EOFError(self.seen[-300:])
            self.seen += data

    async def until_closed(self) -> None:
        """Reads until the server closes or cuts the connection."""
        with contextlib.suppress(ConnectionResetError):
            while data := await self.reader.read(65536):
                self.seen += data

    def media(self, kind: int, ms: int, body: bytes) -> None:
        """Sends an audio (8) or video (9) message."""
        self.writer.write(message(6, kind, ms, 1, body))

    def close(self) -> None:
        self.writer.close()
