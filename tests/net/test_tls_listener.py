import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from streamserver.net import tls_listener
from streamserver.net.sockets import bind
from streamserver.net.tls import self_signed_context
from streamserver.net.tls_listener import TlsListener, TlsSettings

WAIT_S = 60
CONTEXT = self_signed_context(())


class Echo(asyncio.Protocol):
    """Sends back what comes, and is noted once it is connected."""

    def __init__(self, connected: "list[Echo]") -> None:
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._connected.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


class Door:
    """A listener on a free port."""

    def __init__(self, sock: socket.socket, settings: TlsSettings, most: int) -> None:
        self.port = sock.getsockname()[1]
        self.asked: list[tuple[str, int, int]] = []
        self._most = most
        self.made: list[Echo] = []
        self.listener = TlsListener(sock, self._make, CONTEXT, settings, may_come=self._may_come)

    def _make(self) -> Echo:
        return Echo(self.made)

    def _may_come(self, ip: str, *, here: int, total: int) -> bool:
        self.asked.append((ip, here, total))
        return total < self._most


@asynccontextmanager
async def opened(
    most: int = 100, sock: socket.socket | None = None, **settings: float
) -> AsyncIterator[Door]:
    (own,) = bind("test", "127.0.0.1", 0) if sock is None else (sock,)
    door = Door(own, TlsSettings(**settings), most)  # type: ignore[arg-type]
    try:
        yield door
    finally:
        door.listener.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened() as made:
        yield made


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def hello() -> bytes:
    """The first flight of a client."""
    sent = ssl.MemoryBIO()
    client = trusting().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


async def plain(door: Door, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(data)
    return reader, writer


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def ended(reader: asyncio.StreamReader) -> None:
    """A close with bytes that nobody has read is a reset."""
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1000):
                pass


async def talk(door: Door) -> None:
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=trusting())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_a_client_shakes_hands_and_is_a_handshake_no_more(door: Door):
    await talk(door)
    assert door.asked == [("127.0.0.1", 0, 0)]
    await until(lambda: not len(door.listener))
    assert door.listener.failed == 0


def test_the_loop_that_servers_use_does_the_same():
    async def run() -> None:
        async with opened() as door:
            await asyncio.gather(*(talk(door) for _ in range(20)))
            assert len(door.made) == 20
            _, silent = await plain(door, hello())
            await until(lambda: len(door.listener) == 1)
            silent.transport.abort()
            await until(lambda: not len(door.listener))
            assert door.listener.failed == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_an_open_handshake_counts_as_a_connection():
    async with opened(most=2) as door:
        kept = [await plain(door, hello()[:50]) for _ in range(2)]
        await until(lambda: len(door.listener) == 2)
        reader, writer = await plain(door)
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
        assert door.asked[-1] == ("127.0.0.1", 2, 2)
        assert door.listener.refused == 1
        for _, one in (*kept, (reader, writer)):
            one.close()
        await until(lambda: not len(door.listener))
        assert not door.made


@pytest.mark.parametrize(
    "data", [b"", b"\x16", hello()[:50], hello()], ids=["nothing", "a byte", "half", "a flight"]
)
async def test_who_does_not_go_on_is_cut_at_the_deadline(data: bytes):
    async with opened(handshake_s=0.2) as door:
        reader, writer = await plain(door, data)
        await ended(reader)
        writer.close()
        await until(lambda: not len(door.listener))
        assert door.listener.failed == 1
        assert not door.made


async def test_a_first_flight_may_come_in_pieces(door: Door):
    data = hello()
    reader, writer = await plain(door, data[:3])
    await until(lambda: len(door.listener) == 1)
    for piece in (data[3:100], data[100:]):
        await asyncio.sleep(0)
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(WAIT_S):
        # The server's flight begins with a handshake record.
        assert (await reader.readexactly(1)) == b"\x16"
    writer.close()


async def test_what_is_no_tls_ends_without_a_protocol(door: Door):
    reader, writer = await plain(door, b"GET / HTTP/1.1\r\n\r\n")
    await ended(reader)
    writer.close()
    await until(lambda: door.listener.failed == 1)
    assert not door.made


async def test_closing_drops_whoever_has_not_shaken_hands():
    async with opened() as door:
        people = [await plain(door, data) for data in (b"", hello()[:9], hello())]
        await until(lambda: len(door.listener) == 3)
        door.listener.close()
        for reader, writer in people:
            await ended(reader)
            writer.close()
        await until(lambda: not len(door.listener))
        with pytest.raises(ConnectionRefusedError):
            await plain(door)


class Poor(socket.socket):
    """A socket of a process that has no file descriptors left for a while."""

    failures = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_without_file_descriptors_it_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls_listener, "_NO_FILES_S", 0.01)
    (sock,) = bind("test", "127.0.0.1", 0)
    async with opened(sock=Poor(fileno=sock.detach())) as door:
        await talk(door)
