import asyncio

import pytest

from streamserver.auth import AccessRequest, Decision
from streamserver.control.attempt import Attempt
from streamserver.control.watching import Watching
from streamserver.errors import (
    AccessDeniedError,
    InvalidNameError,
    NotFoundError,
    ShuttingDownError,
)
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.sessions import Protocol, SessionTable
from streamserver.hub.stream import LogBounds
from streamserver.names import StreamKey
from tests.fakes import FakeClock, Turns, session, video_track

CAM = StreamKey("live", "cam")


class Chain:
    """Says yes to everyone but "bad"."""

    def __init__(self) -> None:
        self.asked: list[AccessRequest] = []

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked.append(request)
        return Decision("bad" not in request.credentials(), "the key is wrong", "test")


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = SessionTable()
        self.chain = Chain()
        self.registry = Registry(self.clock, Turns(), RegistrySettings(bounds=LogBounds()))
        self.watching = Watching(self.registry, self.table, self.chain, self.clock)

    def attempt(self, name: str = "cam", key: str = "") -> Attempt:
        return Attempt(
            protocol=Protocol.RTMP,
            app="live",
            name=name,
            remote_ip="192.0.2.7",
            local=False,
            user_agent="player\n1.0",
            params={"key": key},
            close=lambda reason: None,
        )

    async def go_live(self) -> None:
        lease = await self.registry.claim(CAM, session(CAM))
        lease.begin_epoch((video_track(),))


async def test_a_viewer_of_a_live_stream_is_entered_until_it_leaves():
    world = World()
    await world.go_live()
    watch = await world.watching.open(world.attempt())
    assert watch.stream is world.registry.get(CAM)
    (viewer,) = world.table.viewers(CAM)
    assert (viewer.remote_ip, viewer.user_agent) == ("192.0.2.7", "player?1.0")
    assert world.chain.asked[0].protocol == "rtmp"
    watch.close()
    watch.close()
    assert world.table.viewers(CAM) == []


async def test_who_may_not_watch_is_told_why_before_anything_about_the_stream():
    world = World()
    with pytest.raises(AccessDeniedError, match="the key is wrong"):
        await world.watching.open(world.attempt(key="bad"))
    assert "bad" not in repr(world.attempt(key="bad"))


async def test_a_stream_that_is_not_live_and_a_name_that_is_none_are_refused():
    world = World()
    with pytest.raises(NotFoundError, match="live/cam is not live"):
        await world.watching.open(world.attempt())
    with pytest.raises(InvalidNameError):
        await world.watching.open(world.attempt("../cam"))


async def test_it_waits_for_the_stream_to_begin():
    world = World()
    task = asyncio.create_task(world.watching.open(world.attempt(), wait_s=30))
    other = asyncio.create_task(world.watching.open(world.attempt(), wait_s=30))
    while world.watching.waiting < 2:
        await asyncio.sleep(0)
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert world.watching.waiting == 1
    await world.go_live()
    watch = await task
    assert watch.stream.key == CAM
    assert world.watching.waiting == 0


async def test_waiting_ends_with_its_time():
    world = World()
    with pytest.raises(NotFoundError):
        await world.watching.open(world.attempt(), wait_s=0.01)
    assert world.watching.waiting == 0


async def test_a_supplier_may_make_the_stream_live():
    world = World()

    async def supply(key: StreamKey) -> bool:
        await world.go_live()
        return True

    world.registry.add_supplier(supply)
    assert (await world.watching.open(world.attempt())).stream.key == CAM


async def test_a_draining_server_takes_nobody():
    world = World()
    await world.go_live()
    world.registry.draining = True
    with pytest.raises(ShuttingDownError):
        await world.watching.open(world.attempt())
