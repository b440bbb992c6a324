import asyncio

from streamserver.control.hook_notices import HookNotices
from streamserver.hub.sessions import Action, Protocol, SessionTable
from streamserver.names import StreamKey
from tests import fakes
from tests.auth.helpers_auth import publish
from tests.auth.hooks.helpers_hooks import World as Hook

DONE = "publish publish_done play_done update"


class World(Hook):
    """A hook that is told about the sessions of a table."""

    def __init__(self, **more: object) -> None:
        super().__init__("nginx-rtmp", DONE, **more)
        self.table = SessionTable()
        self.closed: list[str] = []
        self.notices = HookNotices(
            lambda: [self.hook], self.table, self.clock, log_ms=lambda stream: 1234
        )

    def join(self, ident: str, protocol: Protocol = Protocol.RTMP, action: Action = Action.PUBLISH):
        session = fakes.session(
            StreamKey("live", "demo"),
            ident=ident,
            protocol=protocol,
            action=action,
            close=self.closed.append,
        )
        self.table.add(session)
        return session

    def calls(self) -> list[str]:
        found = []
        for asked in list(self.far_side.asked):
            self.far_side.asked = [asked]
            found.append(self.far_side.form["call"])
        self.far_side.asked = []
        return found


async def test_who_leaves_is_told_with_the_arguments_that_came() -> None:
    world = World()
    await world.hook.decide(publish("abc", id="s1"))
    world.calls()
    session = world.join("s1")
    world.clock.advance(s=12)
    world.table.remove(session)
    await world.notices.drained()
    form = world.far_side.form
    assert (form["call"], form["name"], form["key"]) == ("publish_done", "demo", "abc")
    assert world.hook.asked("s1") is None
    await world.notices.close()


async def test_viewers_of_every_protocol_are_told_and_sources_of_our_own_are_not() -> None:
    world = World()
    for protocol in (Protocol.HLS, Protocol.FLV, Protocol.RTMP):
        world.table.remove(world.join(protocol.value, protocol, Action.PLAY))
    world.table.remove(world.join("own", Protocol.INTERNAL))
    await world.notices.drained()
    assert world.calls() == ["play_done"] * 3
    await world.notices.close()


async def test_updates_come_at_their_pace_and_a_no_ends_the_session() -> None:
    world = World(update_s=30)
    world.join("s1")
    for _ in range(29):
        world.clock.advance(s=1)
        world.notices.tick(world.clock.now_ns)
    assert world.far_side.asked == []
    world.clock.advance(s=1)
    world.notices.tick(world.clock.now_ns)
    await world.notices.drained()
    assert world.far_side.form["time"] == "30"
    assert world.far_side.form["timestamp"] == "1234"
    assert world.calls() == ["update_publish"]
    assert world.closed == []
    world.far_side.answers(404)
    world.clock.advance(s=30)
    world.notices.tick(world.clock.now_ns)
    await world.notices.drained()
    assert world.closed == ["the access hook ended it"]
    await world.notices.close()


async def test_a_hook_that_is_away_ends_nothing_and_its_notices_are_bounded() -> None:
    world = World()
    world.far_side.failure = "away"
    for number in range(1_500):
        world.table.remove(world.join(f"s{number}"))
    assert world.notices.dropped == 500
    await world.notices.drained()
    assert world.notices.failed == 1_000
    assert world.closed == []
    await world.notices.close()


async def test_closing_does_not_wait_for_one_that_hangs() -> None:
    world = World()
    forever = asyncio.Event()

    async def hang(*words: object, **more: object) -> None:
        await forever.wait()

    world.far_side.request = hang  # type: ignore[method-assign,assignment]
    world.table.remove(world.join("s1"))
    await world.notices.close(grace_s=0.01)
    await world.notices.close()
