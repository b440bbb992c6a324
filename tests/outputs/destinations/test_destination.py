"""The task that keeps a destination connected, with attempts that go as the test says."""

import asyncio
import gc

import pytest

from streamserver.outputs.destinations.destination import Destination, DestinationSpec
from streamserver.outputs.destinations.failures import ConflictError, ErrorClass, FarSideError
from streamserver.outputs.destinations.states import DestinationState
from streamserver.rtmp.target import parse_target
from tests.fakes import FakeClock
from tests.outputs.destinations.helpers_destinations import (
    KEY,
    FakePush,
    Studio,
    reaches,
    studio,
)

S = DestinationState
URL = "rtmp://far.test/live/ab12-secret-key"
REFUSED = ConnectionRefusedError(111, "Connection refused")


class Rig:
    """One destination of a studio."""

    def __init__(self, hub: Studio, delay_ms: int = 10, *, enabled: bool = True) -> None:
        self.hub = hub
        self.push = FakePush()
        self.clock = FakeClock()
        self.loop_found = False
        self.states: list[DestinationState] = []
        self.delay_ms = delay_ms
        self.one = Destination(
            DestinationSpec(id="d1", stream=KEY, url=URL, enabled=enabled),
            parse_target(URL),
            push=self.push,
            clock=self.clock,
            between=lambda low, high: self.delay_ms,
            is_loop=lambda one, local, peer: self.loop_found,
        )
        self.one.on_change = lambda one, before: self.states.append(one.state)

    async def start(self) -> None:
        """Its stream goes live."""
        await self.hub.publish()
        self.hub.send()
        stream = self.hub.registry.get(KEY)
        assert stream is not None
        self.one.stream_started(stream)
        self.stream = stream

    def state(self) -> DestinationState:
        return self.one.state

    def end(self) -> None:
        self.hub.registry.stop(KEY, "over")
        self.one.stream_ended(self.stream)


async def test_it_connects_is_live_and_ends_with_its_stream():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        delivery = await rig.push.begun()
        delivery.is_live()
        rig.end()
        assert rig.state() is S.LIVE
        rig.push.end()
        await reaches(rig.one, S.IDLE)
        assert rig.states == [S.CONNECTING, S.LIVE, S.IDLE]
        await rig.one.close()


async def test_failures_are_tried_again_for_ever():
    async with studio() as hub:
        rig = Rig(hub, delay_ms=0)
        await rig.start()
        for _ in range(30):
            await rig.push.begun()
            rig.push.end(REFUSED)
        await rig.push.begun()
        assert rig.one.stats.reconnects == 30
        assert rig.one.last_error is not None
        assert rig.one.last_error.error_class is ErrorClass.REFUSED
        await rig.one.close()


async def test_the_next_attempt_has_a_time_only_while_it_waits():
    async with studio() as hub:
        rig = Rig(hub, delay_ms=60_000)
        await rig.start()
        await rig.push.begun()
        rig.push.end(REFUSED)
        await reaches(rig.one, S.BACKOFF)
        assert rig.one.next_attempt_wall_ns == rig.clock.wall + 60_000_000_000
        rig.one.retry()
        await rig.push.begun()
        assert rig.state() is S.CONNECTING
        assert not rig.one.next_attempt_wall_ns
        await rig.one.close()


async def test_what_no_attempt_would_mend_waits_for_a_wish():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        await rig.push.begun()
        rig.push.end(FarSideError(ErrorClass.REJECTED, "never", final=True))
        await reaches(rig.one, S.FAILED)
        rig.one.retry()
        await rig.push.begun()
        assert rig.state() is S.CONNECTING
        await rig.one.close()


async def test_a_loop_is_final():
    async with studio() as hub:
        rig = Rig(hub)
        rig.loop_found = True
        await rig.start()
        await reaches(rig.one, S.FAILED)
        assert rig.one.last_error is not None
        assert "leads back" in rig.one.last_error.message
        await rig.one.close()


@pytest.mark.parametrize("state", [S.CONNECTING, S.BACKOFF, S.FAILED])
async def test_a_stream_that_ends_stops_every_wait(state):
    async with studio() as hub:
        rig = Rig(hub, delay_ms=60_000)
        await rig.start()
        await rig.push.begun()
        if state is S.BACKOFF:
            rig.push.end(REFUSED)
        elif state is S.FAILED:
            rig.push.end(FarSideError(ErrorClass.REJECTED, "never", final=True))
        await reaches(rig.one, state)
        rig.end()
        assert rig.state() is S.IDLE
        await rig.start()
        await rig.push.begun()
        assert rig.state() is S.CONNECTING
        await rig.one.close()


async def test_a_broadcast_that_begins_while_the_last_one_takes_leave_is_sent_too():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        delivery = await rig.push.begun()
        delivery.is_live()
        rig.end()
        await rig.start()
        assert rig.state() is S.LIVE
        rig.push.end()
        await rig.push.begun()
        assert rig.states == [S.CONNECTING, S.LIVE, S.IDLE, S.CONNECTING]
        await rig.one.close()


async def test_pausing_cancels_and_resuming_begins_at_once():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        (await rig.push.begun()).is_live()
        spec = rig.one.spec
        rig.one.change(DestinationSpec(id="d1", stream=KEY, url=URL, enabled=False))
        assert rig.state() is S.DISABLED
        with pytest.raises(ConflictError):
            rig.one.retry()
        rig.one.change(spec)
        await rig.push.begun()
        assert rig.push.cancelled == 1
        assert rig.state() is S.CONNECTING
        await rig.one.close()


async def test_one_that_is_paused_does_not_begin_with_its_stream():
    async with studio() as hub:
        rig = Rig(hub, enabled=False)
        await rig.start()
        rig.end()
        await rig.start()
        assert rig.state() is S.DISABLED
        assert not rig.push.attempts


async def test_a_wish_connects_a_stalled_one_anew_and_leaves_a_live_one_alone():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        delivery = await rig.push.begun()
        delivery.is_live()
        rig.one.retry()
        assert rig.state() is S.LIVE
        delivery.is_stalled()
        rig.one.retry()
        await rig.push.begun()
        assert len(rig.push.attempts) == 2
        await rig.one.close()


async def test_a_bug_shows_as_failed_and_in_the_log(caplog):
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        await rig.push.begun()
        rig.push.end(ValueError("a bug"))
        await reaches(rig.one, S.FAILED)
        assert "a bug" in caplog.text
        assert rig.one.last_error is not None
        assert "a bug" not in rig.one.last_error.message
        await rig.one.close()


async def test_nothing_shows_the_key():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        await rig.push.begun()
        rig.push.end(FarSideError(ErrorClass.REJECTED, "ab12-secret-key is in use"))
        await reaches(rig.one, S.BACKOFF)
        assert "secret" not in repr((rig.one.spec, rig.one.target, rig.one.last_error))
        await rig.one.close()


async def test_a_closed_one_leaves_no_task():
    async with studio() as hub:
        rig = Rig(hub)
        await rig.start()
        await rig.push.begun()
        before = len(asyncio.all_tasks())
        await rig.one.close()
        gc.collect()
        assert len(asyncio.all_tasks()) == before - 1
