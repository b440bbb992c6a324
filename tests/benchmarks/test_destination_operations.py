"""The price of a destination in calls: the difference between few and many is what each costs."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from streamserver.clock import SystemClock
from streamserver.hub.sources import OwnPackets
from streamserver.hub.stream import LogBounds
from streamserver.outputs.destinations.assembly import body_holder
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.outputs.destinations.destination import Destination, DestinationSpec
from streamserver.outputs.destinations.rounds import Rounds
from streamserver.outputs.destinations.sending import PushSettings, Sending
from streamserver.rtmp.client import ClientSession
from tests.benchmarks.counting import count
from tests.outputs.destinations.helpers_destinations import KEY, FakePush, Studio, studio
from tests.outputs.helpers_live import FakeTransport
from tests.rtmp.pair import Pair, client_settings

LEVEL_CALLS = 4
"""For one destination that is level with others and one round in which nobody looks."""

SEALED_CALLS = 6
"""The same over TLS."""

HELD_CALLS = 28
"""For one whose transport still holds something, and that sends for itself what all send."""

FEW, MANY = 3, 13


class HandRounds(Rounds):
    """Go round when the test says so."""

    def _later(self) -> None:
        """No clock."""


class ReadyConnection(FarConnection):
    """Its far side has agreed, and takes everything."""

    def __init__(
        self, session: ClientSession, own: socket.socket | None, unsent_bytes: int
    ) -> None:
        super().__init__(client_settings(), SystemClock(), 1 << 20)
        self._session = session
        self._own = own
        self._unsent_bytes = unsent_bytes
        self.taken = FakeTransport()
        self._transport = self.taken  # type: ignore[assignment]  # what it needs of one

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    def own_socket(self) -> socket.socket | None:
        return self._own


def send(hub: Studio, rounds: Rounds, connection: FarConnection, sock: socket.socket) -> Sending:
    target = client_settings().target
    delivery = Destination(
        DestinationSpec(id="1", stream=KEY, url=""), target, push=FakePush(),
        clock=SystemClock(), between=lambda low, high: low, is_loop=lambda *_: False,
    )  # fmt: skip
    delivery.is_connecting()
    return Sending(PushSettings(), SystemClock(), rounds, connection, sock, delivery)


@asynccontextmanager
async def sending(number: int, *, level: bool = False, unsent_bytes: int = 0):
    """A stream and so many destinations that are level; ``level``: with sockets of their own;
    ``unsent_bytes``: what their transports hold."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(studio())
        await hub.publish()
        hub.send()
        stream = hub.registry.get(KEY)
        assert stream is not None
        rounds = HandRounds(100, SystemClock())
        hold = body_holder(hub.feeds, hub.driver, LogBounds())
        ends = socket.socketpair()
        far = [socket.socketpair() for _ in range(number)] if level else []
        for own, _ in far:
            own.setblocking(False)
        connections = [
            ReadyConnection(Pair().pump().client, far[index][0] if level else None, unsent_bytes)
            for index in range(number)
        ]
        tasks = [
            asyncio.create_task(send(hub, rounds, one, ends[0]).run(stream, hold, OwnPackets()))
            for one in connections
        ]
        while len(rounds) < number:
            await asyncio.sleep(0)
        try:
            yield hub, rounds, connections, [end for _, end in far]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (*ends, *(one for pair in far for one in pair)):
                end.close()


async def calls_of_a_round(number: int, unsent_bytes: int) -> int:
    async with sending(number, unsent_bytes=unsent_bytes) as (hub, rounds, connections, _):
        for _ in range(3):
            hub.send()
            rounds._begin()
        hub.send()
        written = [len(one.taken.writes) for one in connections]
        calls = count(1, rounds._begin)
        assert [len(one.taken.writes) for one in connections] == [n + 1 for n in written]
        # Not equal bytes only: the same ones.
        assert len({id(one.taken.writes[-1]) for one in connections}) == 1
        return calls.without("FakeTransport.")


@pytest.mark.parametrize(("unsent_bytes", "bound"), [(1, HELD_CALLS), (0, SEALED_CALLS)])
async def test_a_round_of_one_more_destination_is_few_calls(unsent_bytes: int, bound: int):
    few, many = [await calls_of_a_round(number, unsent_bytes) for number in (FEW, MANY)]
    assert (many - few) / (MANY - FEW) < bound


async def calls_of_a_level_round(number: int) -> int:
    async with sending(number, level=True) as (hub, rounds, connections, ends):
        for _ in range(3):
            hub.send()
            rounds._begin()
        written = [len(one.taken.writes) for one in connections]
        for end in ends:
            end.recv(1 << 20)
        hub.send()
        calls = count(1, rounds._begin)
        received = [end.recv(1 << 20) for end in ends]
        assert received[0]
        assert len(set(received)) == 1
        assert [len(one.taken.writes) for one in connections] == written
        return calls.total


async def test_a_round_of_one_more_that_is_written_to_past_its_transport_is_still_fewer():
    few, many = await calls_of_a_level_round(FEW), await calls_of_a_level_round(MANY)
    assert (many - few) / (MANY - FEW) < LEVEL_CALLS
