import asyncio
import socket
from typing import Any

import pytest

from streamserver.endpoints.rtmp_patience import Patience
from streamserver.log import Log
from tests.fakes import Turns


class Transport(asyncio.BaseTransport):
    """Remembers what is set on its socket."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__()
        self.sock = sock
        self.marks: list[int] = []
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        assert name == "socket"
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.marks.append(value)

    def is_closing(self) -> bool:
        return self.closing


def ticks(patience: Patience, *sizes: int, hurried: bool = False, followed: bool = True) -> None:
    for size in sizes:
        total = patience._received + size
        patience.tick(total, hurried=hurried, followed=followed)


def test_the_mark_follows_the_bit_rate_once_it_has_lasted():
    transport = Transport()
    patience = Patience(transport)
    ticks(patience, 83_000)
    assert patience.mark == 1
    ticks(patience, 83_000, 143_000, 83_000, 80_000)
    assert transport.marks == [4096]
    ticks(patience, 10_000_000, 10_000_000)
    assert patience.mark == 32 * 1024


def test_more_is_collected_while_nobody_follows():
    transport = Transport()
    patience = Patience(transport)
    ticks(patience, 60_000, 60_000, 60_000, 60_000, followed=False)
    assert patience.mark == 48_000
    # One read in a tick or two: what counts is the second.
    ticks(patience, 50_000, 100_000, 50_000, 50_000, followed=False)
    assert transport.marks == [12_000, 24_000, 36_000, 48_000]
    ticks(patience, 10_000_000, followed=False)
    assert patience.mark == 64 * 1024
    ticks(patience, 83_000, 83_000)
    assert patience.mark == 4096


def test_whoever_falls_silent_unfollowed_is_read_to_the_last_byte():
    patience = Patience(Transport())
    ticks(patience, *[60_000] * 4, followed=False)
    ticks(patience, 0, followed=False)
    assert patience.mark == 1
    ticks(patience, 0, 0, 0, followed=False)
    assert (patience.mark, patience.after_read) == (1, 0)


def test_patience_goes_on_once_what_came_slowly_was_read():
    patience = Patience(Transport())
    ticks(patience, *[60_000] * 4, 0, followed=False)
    assert (patience.mark, patience.after_read) == (1, 36_000)
    patience.resume()
    assert (patience.mark, patience.after_read) == (36_000, 0)
    ticks(patience, 0, followed=False)
    patience.hurry()
    assert (patience.mark, patience.after_read) == (1, 0)


def test_whoever_comes_has_what_is_there_read_at_once():
    patience = Patience(Transport())
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    log.feeder = patience
    ticks(patience, *[60_000] * 4, followed=False)
    off = log.wake(lambda: None)
    assert patience.mark == 1
    off()
    log.wake(lambda: None, quiet_until_ms=lambda: 1000)
    ticks(patience, 60_000, followed=False)
    assert patience.mark > 1
    log.end_quiet()
    assert patience.mark == 1


def test_a_log_is_followed_while_somebody_waits_for_what_is_made_of_it():
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    viewers: list[str] = []
    found = [log.followed]
    off = log.wake(lambda: None, quiet_until_ms=lambda: 0, followed=lambda: bool(viewers))
    found.append(log.followed)
    viewers.append("somebody")
    found.append(log.followed)
    off()
    found.append(log.followed)
    assert found == [False, False, True, False]


def test_who_falls_silent_or_sends_little_is_read_at_once():
    for few in (0, 5_000):
        patience = Patience(Transport())
        ticks(patience, 83_000, 83_000)
        assert patience.mark == 4096
        ticks(patience, few)
        assert patience.mark == 1


def test_nobody_who_is_in_a_hurry_waits():
    patience = Patience(Transport())
    ticks(patience, 83_000, 83_000)
    ticks(patience, 83_000, hurried=True)
    assert patience.mark == 1
    ticks(patience, 83_000)
    assert patience.mark == 4096
    patience.end()
    assert patience.mark == 1


def test_the_socket_of_a_closed_transport_is_left_alone():
    transport = Transport()
    patience = Patience(transport)
    ticks(patience, 83_000, 83_000)
    transport.closing = True
    patience.end()
    assert transport.marks == [4096]


def test_a_log_is_hurried_while_somebody_wants_every_item():
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    found = [log.hurried]
    quiet = log.wake(lambda: None, quiet_until_ms=lambda: 0)
    found.append(log.hurried)
    keen = log.wake(lambda: None)
    found.append(log.hurried)
    quiet()
    keen()
    found.append(log.hurried)
    assert found == [False, False, True, False]


def test_who_asks_gets_what_is_there_and_changes_nothing_for_what_comes():
    transport = Transport()
    patience = Patience(transport)
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    log.ask()
    log.feeder = patience
    log.ask()
    assert transport.marks == []
    ticks(patience, *[60_000] * 4, followed=False)
    log.ask()
    log.ask()
    assert (patience.mark, patience.after_read) == (1, 48_000)
    patience.resume()
    assert patience.mark == 48_000


@pytest.mark.skipif(not hasattr(socket, "SO_RCVLOWAT"), reason="no low-water mark here")
async def test_bytes_below_the_mark_stay_in_the_kernel_until_it_is_lowered():
    loop = asyncio.get_running_loop()
    got: list[bytes] = []
    made: asyncio.Future[asyncio.BaseTransport] = loop.create_future()

    class Taker(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport)

        def data_received(self, data: bytes) -> None:
            got.append(data)

    server = await loop.create_server(Taker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    transport = await made
    patience = Patience(transport)
    ticks(patience, 83_000, 83_000)
    writer.write(b"x" * 100)
    await writer.drain()
    # Longer than any wake-up that were due; nothing is asserted about how long.
    for _ in range(20):
        await asyncio.sleep(0)
    assert not got
    patience.end()
    async with asyncio.timeout(60):
        while not got:
            await asyncio.sleep(0.005)
    assert got == [b"x" * 100]
    writer.close()
    transport.close()
    server.close()
    await server.wait_closed()
