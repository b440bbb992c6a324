"""The least RTMP player: its commands are bytes, and our chunk decoder reads what comes."""

import asyncio
import struct

from streamserver.rtmp.amf import AmfError
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.command import parse_command
from streamserver.rtmp.message import AMF0_COMMAND, VIDEO, Message
from tests.endpoints.rtmp_client import message, number, string

__all__ = ["RtmpPlayer"]

NULL = b"\x05"


def boolean(value: bool) -> bytes:
    return bytes((1, value))


def array(values: tuple[str, ...]) -> bytes:
    return b"\x0a" + struct.pack(">I", len(values)) + b"".join(map(string, values))


class RtmpPlayer:
    """A player; everything that came is in ``messages``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.messages: list[Message] = []
        self.closed = False
        self._decoder = ChunkDecoder()

    @classmethod
    async def play(
        cls, port: int, app: str, key: str, *, four_ccs: tuple[str, ...] = (), stream_id: int = 1
    ) -> "RtmpPlayer":
        """Asks to play; what comes of it is for `until`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self = cls(reader, writer)
        writer.write(b"\x03" + bytes(1536))
        answer = await reader.readexactly(3073)
        writer.write(answer[1:1537])
        fields = {"app": string(app), "tcUrl": string(f"rtmp://127.0.0.1/{app}")}
        if four_ccs:
            fields["fourCcList"] = array(four_ccs)
        pairs = b"".join(struct.pack(">H", len(k)) + k.encode() + v for k, v in fields.items())
        connect = string("connect") + number(1) + b"\x03" + pairs + b"\0\0\x09"
        self._send(0, connect)
        for transaction in range(2, 2 + stream_id):
            self._send(0, string("createStream") + number(transaction) + NULL)
        self.call(stream_id, "play", NULL, string(key), number(-2000))
        return self

    def call(self, stream_id: int, name: str, *values: bytes) -> None:
        """A command that wants no answer."""
        self._send(stream_id, string(name) + number(0) + b"".join(values))

    async def until(self, what: str) -> None:
        """Reads until a status of that code came."""
        async with asyncio.timeout(60):
            while what not in self.codes:
                await self._read()

    async def until_media(self, count: int, kind: int = VIDEO) -> list[Message]:
        """Reads until so many messages of a kind came; answers them."""
        async with asyncio.timeout(60):
            while len(self.of(kind)) < count:
                await self._read()
        return self.of(kind)

    def ask(self) -> None:
        """A command that wants an answer."""
        self._send(0, string("createStream") + number(99) + NULL)

    @property
    def answers(self) -> int:
        """How many of those were answered."""
        commands = [parse_command(one) for one in self.of(AMF0_COMMAND)]
        return sum(one.transaction_id == 99 for one in commands)

    async def until_closed(self) -> None:
        """Reads to the end."""
        async with asyncio.timeout(60):
            while not self.closed:
                try:
                    await self._read()
                except (EOFError, ConnectionResetError):
                    self.closed = True

    def of(self, kind: int) -> list[Message]:
        """Messages of one type."""
        return [message for message in self.messages if message.type_id == kind]

    @property
    def codes(self) -> list[str]:
        """The codes of all statuses."""
        codes = []
        for one in self.of(AMF0_COMMAND):
            try:
                codes.append(str(parse_command(one).mapping(1).get("code", "")))
            except AmfError:
                continue
        return codes

    @property
    def description(self) -> str:
        """What the last status says to people."""
        return str(parse_command(self.of(AMF0_COMMAND)[-1]).mapping(1).get("description", ""))

    def close(self) -> None:
        self.writer.close()

    def _send(self, stream_id: int, body: bytes) -> None:
        self.writer.write(message(3, 20, 0, stream_id, body))

    async def _read(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise EOFError(self.codes)
        self._decoder.feed(data)
        self.messages += self._decoder.messages()
