"""A program's own handlers: apart from whoever causes an event, and their errors too."""

import asyncio
import logging

import pytest

from streamserver.control import callbacks as module
from streamserver.control.callbacks import Callbacks
from streamserver.events import Event, EventLog, EventType, InvalidFilterError


def make() -> EventLog:
    loop = asyncio.get_running_loop()

    def soon(function: object) -> None:
        loop.call_soon(function)  # type: ignore[arg-type]

    return EventLog(boot=1, wall_ns=lambda: 10**18, schedule=soon)


async def test_handlers_get_what_they_asked_for_and_never_within_the_emission() -> None:
    log, callbacks, got = make(), Callbacks(), []

    async def later(event: Event) -> None:
        await asyncio.sleep(0)
        got.append(f"later {event.type}")

    callbacks.on("stream.*", lambda event: got.append(event.id))
    callbacks.on("server.started", later)
    log.emit(EventType.SERVER_STARTED, {})
    callbacks.start(log)
    log.emit(EventType.STREAM_STARTED, {})
    log.emit(EventType.VIEWER_JOINED, {})
    assert got == []
    async with asyncio.timeout(60):
        while len(got) < 2:
            await asyncio.sleep(0)
    assert sorted(got) == ["1-2", "later server.started"]
    await callbacks.close()


async def test_a_handler_is_added_and_taken_off_while_the_server_runs() -> None:
    log, callbacks, got = make(), Callbacks(), []
    callbacks.start(log)
    off = callbacks.on("*", lambda event: got.append(event.id))
    log.emit(EventType.SERVER_STARTED, {})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    off()
    off()
    log.emit(EventType.SERVER_STARTED, {})
    await callbacks.close()
    assert got == ["1-1"]


async def test_what_a_handler_raises_is_logged_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, callbacks, got = make(), Callbacks(), []

    def broken(event: Event) -> None:
        raise ValueError("mine")

    async def broken_later(event: Event) -> None:
        raise KeyError("mine, later")

    callbacks.on("*", broken)
    callbacks.on("*", broken_later)
    callbacks.on("*", lambda event: got.append(event.id))
    callbacks.start(log)
    with caplog.at_level(logging.ERROR):
        log.emit(EventType.SERVER_STARTED, {})
        log.emit(EventType.SERVER_STARTED, {})
        async with asyncio.timeout(60):
            while len(caplog.records) < 4:
                await asyncio.sleep(0)
    assert got == ["1-1", "1-2"]
    await callbacks.close()


async def test_handlers_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_RUNNING", 3)
    log, callbacks = make(), Callbacks()

    async def hang(event: Event) -> None:
        await asyncio.Event().wait()

    callbacks.on("*", hang)
    callbacks.start(log)
    for _ in range(10):
        log.emit(EventType.SERVER_STARTED, {})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert callbacks.skipped == 7
    await callbacks.close()


def test_a_type_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidFilterError):
        Callbacks().on("stream.begun", print)
