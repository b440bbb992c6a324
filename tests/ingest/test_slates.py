"""When slates are coded and shown, with a coder and a timer that run by hand."""

import asyncio
from collections.abc import Callable

import pytest

from streamserver.errors import PeerError
from streamserver.ffmpeg.slate_request import SlateRequest
from streamserver.hub.stream import Stream
from streamserver.ingest.slate import Slate
from streamserver.ingest.slates import Slates
from streamserver.media.track import Kind
from tests import media_factory
from tests.fakes import session
from tests.ingest.test_slate import KEY, World, a_slate


class Studio:
    """A world with slates, and what they asked for."""

    def __init__(self, path: str = "slate.png") -> None:
        self.world = World(media_factory.h264_aac())
        self.asked: list[SlateRequest] = []
        self.may_code = asyncio.Event()
        self.may_code.set()
        self.fault = ""
        self._timers: list[tuple[int, Callable[[], None]]] = []
        self.slates = Slates(
            path_of=lambda key: path,
            make=self._make,
            later=self._later,
            now_ns=self.world.clock.monotonic_ns,
        )
        self.world.registry.add_listener(self.slates)

    async def _make(self, request: SlateRequest) -> Slate:
        self.asked.append(request)
        await self.may_code.wait()
        if self.fault:
            raise PeerError(self.fault)
        return a_slate()

    def _later(self, ms: int, function: Callable[[], None]) -> Callable[[], None]:
        timer = (self.world.clock.now_ns + ms * 1_000_000, function)
        self._timers.append(timer)
        return lambda: self._timers.remove(timer) if timer in self._timers else None

    @property
    def waiting(self) -> int:
        return len(self._timers)

    async def run(self, ms: int) -> None:
        """Lets time pass, and tasks run."""
        for _ in range(0, ms, 20):
            self.world.clock.advance(ms=20)
            await self.settle()
            for timer in [one for one in self._timers if one[0] <= self.world.clock.now_ns]:
                self._timers.remove(timer)
                timer[1]()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def stream(self) -> Stream:
        return self.world.stream

    @property
    def pictures(self) -> int:
        return len(self.world.of_epoch(1, Kind.VIDEO))


@pytest.fixture
async def studio() -> Studio:
    return Studio()


async def test_a_slate_is_coded_once_ahead_and_shown_after_half_a_second(studio: Studio) -> None:
    leave = await studio.world.publish()
    await studio.settle()
    assert len(studio.asked) == 1
    leave()
    await studio.run(460)
    assert studio.pictures == 0
    await studio.run(1_000)
    assert studio.pictures > 20
    (await studio.world.publish())()
    await studio.run(2_000)
    assert len(studio.asked) == 1
    assert studio.slates.shown == 2


async def test_a_publisher_that_is_replaced_at_once_needs_none(studio: Studio) -> None:
    (await studio.world.publish())()
    await studio.world.publish()
    await studio.run(2_000)
    assert studio.slates.shown == 0
    assert studio.stream.epoch == 1


async def test_it_does_not_begin_while_somebody_is_about_to_publish(studio: Studio) -> None:
    (await studio.world.publish())()
    lease = await studio.world.registry.claim(KEY, session())
    await studio.run(2_000)
    assert studio.slates.shown == 0
    lease.release("gone")
    await studio.run(2_000)
    assert studio.slates.shown == 1


async def test_without_a_file_nothing_is_coded() -> None:
    studio = Studio(path="")
    (await studio.world.publish())()
    await studio.run(2_000)
    assert studio.asked == []
    assert studio.waiting == 0


async def test_one_that_is_coded_late_is_shown_when_it_is_done(studio: Studio) -> None:
    studio.may_code.clear()
    (await studio.world.publish())()
    await studio.run(3_000)
    assert studio.pictures == 0
    studio.may_code.set()
    await studio.run(2_000)
    assert studio.pictures > 10
    # Not everything that was missed.
    assert studio.pictures < 120


async def test_one_that_cannot_be_coded_is_asked_for_once_more_and_no_more(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    studio.fault = "No such file or directory"
    (await studio.world.publish())()
    await studio.run(10_000)
    assert len(studio.asked) == studio.slates.failures == 2
    assert "slate.png: No such file" in caplog.text
    assert studio.waiting == 0


async def test_the_end_of_a_broadcast_is_the_end_of_its_slate(studio: Studio) -> None:
    (await studio.world.publish())()
    await studio.run(2_000)
    stream, registry = studio.stream, studio.world.registry
    studio.world.clock.advance(s=20)
    registry.tick(studio.world.clock.now_ns)
    assert stream.packets.closed is not None
    await studio.run(1_000)
    assert studio.waiting == 0


async def test_closing_ends_what_is_being_coded(studio: Studio) -> None:
    studio.may_code.clear()
    await studio.world.publish()
    await studio.settle()
    await studio.slates.close()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "slate" not in names


async def test_few_coded_slates_are_kept(studio: Studio) -> None:
    paths = iter(f"{number}.png" for number in range(100))
    studio.slates._path_of = lambda key: next(paths)
    for _ in range(8):
        (await studio.world.publish())()
        await studio.settle()
        studio.world.registry.stop(KEY, "enough")
    assert len(studio.slates._made) <= 4
    assert len(studio.asked) >= 5
