import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from streamserver.errors import PeerError
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.sessions import Action, SessionTable
from streamserver.hub.stream import LogBounds
from streamserver.ingest.pull import Pulls, Source
from streamserver.names import StreamKey
from streamserver.rtmp.target import parse_target
from tests.fakes import FakeClock, Turns, session, video_track

KEY = StreamKey("live", "far")
URL = "rtmp://far.example/live/secretkey"
IDLE_NS = 30_000_000_000


class FakeDelays:
    """No waiting, and what was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.resets = 0

    def next_ms(self) -> int:
        self.asked += 1
        return 0

    def reset(self) -> None:
        self.resets += 1


class World:
    """Pulls whose attempts end as the test says."""

    def __init__(self, *, on_demand: bool = False) -> None:
        self.registry = Registry(FakeClock(), Turns(), RegistrySettings(bounds=LogBounds()))
        self.sessions = SessionTable()
        self.delays = FakeDelays()
        self.attempts: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self.cancelled = asyncio.Event()
        self.began: Callable[[], None] = lambda: None
        self.pulls = Pulls(
            [Source(KEY, parse_target(URL), on_demand)],
            attempt=self.attempt,
            registry=self.registry,
            sessions=self.sessions,
            make_delays=lambda: self.delays,
            supply_s=0.05,
        )
        self.registry.add_listener(self.pulls)
        self.registry.add_supplier(self.pulls.supply)

    async def attempt(self, source: Source, began: Callable[[], None]) -> None:
        self.began = began
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.attempts.put_nowait(end)
        try:
            await end
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def next_attempt(self) -> "asyncio.Future[None]":
        async with asyncio.timeout(60):
            return await self.attempts.get()

    async def becomes_live(self) -> None:
        lease = await self.registry.claim(KEY, session(KEY))
        lease.begin_epoch((video_track(),))


@pytest.fixture
async def always() -> AsyncIterator[World]:
    world = World()
    world.pulls.start()
    yield world
    await world.pulls.close()


@pytest.fixture
async def rare() -> AsyncIterator[World]:
    world = World(on_demand=True)
    world.pulls.start()
    yield world
    await world.pulls.close()


async def test_an_attempt_that_ends_is_made_again(always: World) -> None:
    (await always.next_attempt()).set_exception(PeerError("refused"))
    (await always.next_attempt()).set_exception(ConnectionRefusedError())
    (await always.next_attempt()).set_result(None)
    await always.next_attempt()
    assert (always.delays.asked, always.delays.resets) == (3, 0)


async def test_media_makes_the_next_delay_short_again(always: World) -> None:
    end = await always.next_attempt()
    always.began()
    assert always.delays.resets == 1
    end.set_result(None)
    await always.next_attempt()


async def test_each_reason_is_told_once_and_no_key_with_it(
    always: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for reason in ("no stream secretkey", "no stream secretkey", "gone"):
        (await always.next_attempt()).set_exception(PeerError(reason))
    await always.next_attempt()
    lines = [one.message for one in caplog.records if one.name == "streamserver.ingest.pull"]
    assert len(lines) == 2
    assert "secretkey" not in caplog.text
    assert all("rtmp://far.example/live/" in line for line in lines)


async def test_a_fault_of_ours_is_not_hidden(always: World) -> None:
    end = await always.next_attempt()
    end.set_exception(RuntimeError("a bug"))
    async with asyncio.timeout(60):
        while always.pulls.is_running(KEY):
            await asyncio.sleep(0)
    assert always.attempts.empty()


async def test_closing_cancels_the_attempt(always: World) -> None:
    await always.next_attempt()
    await always.pulls.close()
    assert always.cancelled.is_set()
    assert not always.pulls.is_running(KEY)


async def test_on_demand_waits_for_the_first_viewer(rare: World) -> None:
    assert not rare.pulls.is_running(KEY)
    wanted = asyncio.create_task(rare.registry.demand(KEY))
    await rare.next_attempt()
    await rare.becomes_live()
    stream = await wanted
    assert stream is not None
    assert stream.key == KEY


async def test_two_viewers_share_one_attempt(rare: World) -> None:
    wanted = [asyncio.create_task(rare.registry.demand(KEY)) for _ in range(2)]
    await rare.next_attempt()
    await rare.becomes_live()
    assert all(stream is not None for stream in await asyncio.gather(*wanted))
    assert rare.attempts.empty()


async def test_a_viewer_waits_only_for_some_time_and_the_attempts_go_on(rare: World) -> None:
    assert await rare.registry.demand(KEY) is None
    assert rare.pulls.is_running(KEY)


async def test_streams_without_a_source_are_nobodys_to_supply(rare: World, always: World) -> None:
    assert await rare.registry.demand(StreamKey("live", "other")) is None
    # One that is fetched always is on its way as fast as it can.
    await always.next_attempt()
    assert not await always.pulls.supply(KEY)


async def test_what_nobody_watches_any_more_is_let_go(rare: World) -> None:
    wanted = asyncio.create_task(rare.registry.demand(KEY))
    await rare.next_attempt()
    await rare.becomes_live()
    await wanted
    viewer = session(KEY, action=Action.PLAY, ident="v")
    rare.sessions.add(viewer)
    rare.pulls.tick(0)
    rare.pulls.tick(IDLE_NS)
    assert rare.pulls.is_running(KEY)
    rare.sessions.remove(viewer)
    rare.pulls.tick(IDLE_NS + 1)
    rare.pulls.tick(2 * IDLE_NS)
    assert not rare.cancelled.is_set()
    rare.pulls.tick(2 * IDLE_NS + 1)
    async with asyncio.timeout(60):
        await rare.cancelled.wait()
    assert rare.registry.get(KEY) is None
    # And the next viewer brings it back.
    again = asyncio.create_task(rare.registry.demand(KEY))
    await rare.next_attempt()
    await again


async def test_a_source_that_is_fetched_always_needs_no_viewer(always: World) -> None:
    await always.next_attempt()
    always.pulls.tick(0)
    always.pulls.tick(10 * IDLE_NS)
    assert always.pulls.is_running(KEY)
