from typing import Any

from streamserver.auth import AccessRequest, BanSettings, BanTable, Decision, Gate
from tests.auth.helpers_auth import api, play, publish
from tests.fakes import FakeClock


class Chain:
    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked = 0

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked += 1
        return self.decision


class World:
    """A gate without waiting, and what it did."""

    def __init__(self, decision: Decision, after: int = 3) -> None:
        self.chain = Chain(decision)
        self.slept: list[float] = []
        self.said: list[str] = []
        self.bans = BanTable(BanSettings(after=after), FakeClock().monotonic_ns)
        self.gate = Gate(
            self.chain,
            self.bans,
            complain=lambda text, *args: self.said.append(text % args),
            sleep=self.sleep,
        )

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)

    async def ask(self, request: AccessRequest, times: int = 1) -> Any:
        return [await self.gate.decide(request) for _ in range(times)][-1]


NO = Decision(False, "no", "test")


async def test_failures_answer_a_little_later_each_time_differently() -> None:
    world = World(NO, after=100)
    await world.ask(publish("wrong"), 20)
    assert len(set(world.slept)) > 1
    assert all(0.1 <= delay_s <= 0.4 for delay_s in world.slept)


async def test_who_failed_too_often_is_not_asked_any_more_and_costs_no_delay() -> None:
    world = World(NO)
    decision = await world.ask(publish("wrong"), 10_000)
    assert decision.decider == "bans"
    assert world.chain.asked == 3
    assert len(world.slept) == 3
    assert len(world.said) == 1
    assert "203.0.113.9 is banned after 3 failed tries" in world.said[0]


async def test_a_publisher_without_a_key_counts_and_a_page_without_one_does_not() -> None:
    world = World(NO)
    await world.ask(play(), 10)
    await world.ask(api(), 10)
    assert world.slept == []
    await world.ask(publish(), 3)
    assert world.bans.is_banned("203.0.113.9")


async def test_an_outage_and_a_good_signature_are_no_tries() -> None:
    world = World(Decision(False, "the hook is away", "hooks[0]", innocent=True))
    await world.ask(publish("right"), 10)
    assert not world.bans.is_banned("203.0.113.9")
    assert world.slept == []


async def test_who_is_let_in_is_let_in_at_once() -> None:
    world = World(Decision(True, "yes", "keys"))
    assert (await world.ask(publish("right"))).allowed
    assert world.slept == []
    assert world.gate.decisions == {("publish", "keys", "allowed"): 1}
