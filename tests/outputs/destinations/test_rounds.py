import asyncio
from collections.abc import Callable

from streamserver.outputs.destinations.rounds import Rounds
from tests.fakes import FakeClock


async def test_every_member_is_called_again_and_again_until_it_leaves():
    rounds, calls = Rounds(20, FakeClock()), dict.fromkeys(range(70), 0)
    third = asyncio.Event()
    members: list[Callable[[], None]] = []
    for name in calls:

        def member(name=name):
            calls[name] += 1
            if calls[name] == 3:
                rounds.leave(members[name])
                if not len(rounds):
                    third.set()

        members.append(member)
        rounds.join(member)
    async with asyncio.timeout(60):
        await third.wait()
    assert set(calls.values()) == {3}


async def test_who_leaves_in_a_round_is_not_called_in_it_any_more():
    rounds, called = Rounds(20, FakeClock()), []
    done = asyncio.Event()

    def first():
        called.append("first")
        rounds.leave(second)
        rounds.leave(first)
        done.set()

    def second():
        called.append("second")

    rounds.join(first)
    rounds.join(second)
    async with asyncio.timeout(60):
        await done.wait()
    assert called == ["first"]
    again = asyncio.Event()
    rounds.join(again.set)
    async with asyncio.timeout(60):
        await again.wait()
    rounds.leave(again.set)
    assert len(rounds) == 0
