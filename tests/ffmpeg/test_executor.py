"""Threads with bounds."""

import asyncio
import threading

import pytest

from streamserver.errors import LimitError, ShuttingDownError
from streamserver.ffmpeg.executor import MediaExecutor


class Gate:
    """A call that says when it has begun and ends when told."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(10)
        return threading.get_ident()


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.begun.wait, 10)


async def test_a_call_runs_in_another_thread_and_its_answer_comes_back():
    executor = MediaExecutor(workers=2, waiting=2)
    assert await executor.run(threading.get_ident) != threading.get_ident()
    assert await executor.run(divmod, 7, 2) == (3, 1)
    assert executor.done == 2
    assert await executor.close(1)


async def test_what_a_call_raises_is_raised_to_who_asked():
    executor = MediaExecutor(workers=1, waiting=0)
    with pytest.raises(ZeroDivisionError):
        await executor.run(divmod, 1, 0)
    assert executor.pending == 0
    assert await executor.close(1)


async def test_more_than_workers_and_queue_hold_is_refused():
    executor = MediaExecutor(workers=1, waiting=1)
    gate = Gate()
    calls = [asyncio.create_task(executor.run(gate)) for _ in range(2)]
    await begun(gate)
    with pytest.raises(LimitError):
        await executor.run(gate)
    assert executor.refused == 1
    gate.go.set()
    await asyncio.gather(*calls)
    assert executor.pending == 0
    assert await executor.close(1)


async def test_a_call_whose_caller_left_before_it_began_never_runs():
    executor = MediaExecutor(workers=1, waiting=2)
    first, second = Gate(), Gate()
    running = asyncio.create_task(executor.run(first))
    await begun(first)
    waiting = asyncio.create_task(executor.run(second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert executor.pending == 2
    first.go.set()
    await running
    assert await executor.close(5)
    assert second.calls == 0


async def test_a_running_call_counts_until_it_ends_even_without_its_caller():
    executor = MediaExecutor(workers=1, waiting=0)
    gate = Gate()
    task = asyncio.create_task(executor.run(gate))
    await begun(gate)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(LimitError):
        await executor.run(gate)
    gate.go.set()
    assert await executor.close(5)


async def test_closing_refuses_new_calls_and_gives_up_on_late_ones():
    executor = MediaExecutor(workers=1, waiting=1)
    gate = Gate()
    task = asyncio.create_task(executor.run(gate))
    await begun(gate)
    assert not await executor.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ShuttingDownError):
        await executor.run(gate)
    gate.go.set()


async def test_who_submits_a_call_is_told_in_the_loop_what_came_of_it():
    executor = MediaExecutor(workers=1, waiting=2)
    told = []
    both = asyncio.Event()

    def take(result, error):
        told.append((result, type(error), threading.get_ident()))
        if len(told) == 2:
            both.set()

    executor.submit(lambda: divmod(7, 2), take)
    executor.submit(lambda: divmod(1, 0), take)
    async with asyncio.timeout(60):
        await both.wait()
    here = threading.get_ident()
    assert told == [((3, 1), type(None), here), (None, ZeroDivisionError, here)]
    assert (executor.done, executor.pending) == (2, 0)
    assert await executor.close(5)


async def test_nobody_is_told_of_a_call_that_was_called_off():
    executor = MediaExecutor(workers=1, waiting=2)
    first, second = Gate(), Gate()
    told = []
    off = executor.submit(first, lambda *outcome: told.append(outcome))
    await begun(first)
    executor.submit(second, lambda *outcome: told.append(outcome))()
    off()
    assert executor.pending == 2
    first.go.set()
    assert await executor.close(20)
    assert (told, second.calls) == ([], 0)


async def test_at_the_end_who_still_waits_is_told_once():
    executor = MediaExecutor(workers=1, waiting=1)
    gate = Gate()
    told = []
    executor.submit(gate, lambda result, error: told.append(type(error)))
    await begun(gate)
    assert not await executor.close(0.01)
    assert told == [asyncio.CancelledError]
    gate.go.set()
    with pytest.raises(ShuttingDownError):
        executor.submit(gate, lambda result, error: told.append(type(error)))
    assert told == [asyncio.CancelledError]
