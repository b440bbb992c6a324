import asyncio
import socket
from typing import Any, cast

import pytest

from streamserver.endpoints.rtmp_patience import Patience
from streamserver.log import Log
from tests.fakes import Turns


class Transport(asyncio.Transport):
    """Remembers what is set on its socket; ``sock`` is what can be read."""

    def __init__(self, sock: socket.socket | None = None, *, sealed: bool = False) -> None:
        super().__init__()
        self.sock = sock
        self.sealed = sealed
        self.marks: list[int] = []
        self.closing = False
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self if self.sealed else None
        assert name == "socket"
        return self

    def fileno(self) -> int:
        return -1 if self.sock is None else self.sock.fileno()

    def abort(self) -> None:
        self.aborted = self.closing = True

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.marks.append(value)

    def is_closing(self) -> bool:
        return self.closing


def nothing(data: bytes) -> None:
    raise AssertionError("nothing can be read here")


def ticks(patience: Patience, *sizes: int, hurried: bool = False, followed: bool = True) -> None:
    for size in sizes:
        total = patience._received + size
        patience.tick(total, hurried=hurried, followed=followed)


def test_the_mark_follows_the_bit_rate_once_it_has_lasted():
    transport = Transport()
    patience = Patience(transport, nothing)
    ticks(patience, 83_000)
    assert patience.mark == 1
    ticks(patience, 83_000, 143_000, 83_000, 80_000)
    assert transport.marks == [4096]
    ticks(patience, 10_000_000, 10_000_000)
    assert patience.mark == 32 * 1024


def test_more_is_collected_while_nobody_follows():
    transport = Transport()
    patience = Patience(transport, nothing)
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
    ours, theirs = socket.socketpair()
    got: list[bytes] = []
    with ours, theirs:
        ours.setblocking(False)
        patience = Patience(Transport(ours), got.append)
        ticks(patience, *[60_000] * 4, followed=False)
        theirs.send(b"the rest")
        ticks(patience, 0, followed=False)
        assert got == [b"the rest"]
        ticks(patience, 0, 0, 0, followed=False)
    assert (patience.mark, patience.after_read, got) == (1, 0, [b"the rest"])


def test_of_a_sealed_connection_only_the_loop_can_read_the_rest():
    patience = Patience(Transport(sealed=True), nothing)
    ticks(patience, *[60_000] * 4, followed=False)
    ticks(patience, 0, followed=False)
    assert patience.mark == 1
    ticks(patience, 0, 0, 0, followed=False)
    assert (patience.mark, patience.after_read) == (1, 0)


def test_patience_goes_on_once_what_came_slowly_was_read():
    patience = Patience(Transport(sealed=True), nothing)
    ticks(patience, *[60_000] * 4, 0, followed=False)
    assert (patience.mark, patience.after_read) == (1, 36_000)
    patience.resume()
    assert (patience.mark, patience.after_read) == (36_000, 0)
    ticks(patience, 0, followed=False)
    patience.hurry()
    assert (patience.mark, patience.after_read) == (1, 0)


def test_whoever_comes_has_what_is_there_read_at_once():
    patience = Patience(Transport(), nothing)
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
        patience = Patience(Transport(), nothing)
        ticks(patience, 83_000, 83_000)
        assert patience.mark == 4096
        ticks(patience, few)
        assert patience.mark == 1


def test_nobody_who_is_in_a_hurry_waits():
    patience = Patience(Transport(), nothing)
    ticks(patience, 83_000, 83_000)
    ticks(patience, 83_000, hurried=True)
    assert patience.mark == 1
    ticks(patience, 83_000)
    assert patience.mark == 4096
    patience.end()
    assert patience.mark == 1


def test_the_socket_of_a_closed_transport_is_left_alone():
    transport = Transport()
    patience = Patience(transport, nothing)
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
    ours, theirs = socket.socketpair()
    got: list[bytes] = []
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    assert not log.ask()
    with ours, theirs:
        ours.setblocking(False)
        transport = Transport(ours)
        log.feeder = patience = Patience(transport, got.append)
        ticks(patience, *[60_000] * 4, followed=False)
        marks = list(transport.marks)
        assert not log.ask()
        theirs.send(b"x" * 100_000)
        assert not log.ask()
        assert (sum(map(len, got)), transport.marks) == (100_000, marks)


def test_the_end_of_a_connection_is_left_to_the_loop():
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        transport = Transport(ours)
        patience = Patience(transport, nothing)
        theirs.close()
        assert not patience.look()
        transport.closing = True
        assert not patience.look()
    assert not transport.aborted


def test_what_cannot_be_taken_costs_the_connection_and_not_the_one_who_asked():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        transport = Transport(ours)
        theirs.send(b"whatever")
        assert not Patience(transport, nothing).look()
    assert transport.aborted


def test_who_asks_for_what_is_sealed_gets_it_from_the_loop():
    transport = Transport(sealed=True)
    patience = Patience(transport, nothing)
    log: Log[bytes] = Log(max_ms=1000, max_bytes=1000, schedule=Turns())
    log.feeder = patience
    assert log.ask()
    assert transport.marks == []
    ticks(patience, *[60_000] * 4, followed=False)
    assert log.ask()
    assert log.ask()
    assert (patience.mark, patience.after_read) == (1, 48_000)
    patience.resume()
    assert patience.mark == 48_000


@pytest.mark.skipif(not hasattr(socket, "SO_RCVLOWAT"), reason="no low-water mark here")
async def test_bytes_below_the_mark_stay_in_the_kernel_until_it_is_lowered():
    loop = asyncio.get_running_loop()
    got: list[bytes] = []
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Taker(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(cast(asyncio.Transport, transport))

        def data_received(self, data: bytes) -> None:
            got.append(data)

    server = await loop.create_server(Taker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    transport = await made
    patience = Patience(transport, nothing)
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
