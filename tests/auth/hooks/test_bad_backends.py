"""A hook whose far side misbehaves, over real connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from streamserver.auth import Decision
from streamserver.auth.hooks import HookDecider
from streamserver.config import HookConfig, Secret
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.net.resolver import DnsResolver
from streamserver.net.tls import client_context
from tests.auth.helpers_auth import play
from tests.fakes import FakeClock

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def backend(serve: Serve, timeout_s: float = 5) -> AsyncIterator[HookDecider]:
    """A hook before a server that does what it is told with each connection."""

    tasks: set[asyncio.Task[object]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    guard = OutgoingGuard(DnsResolver(), allow_private=True)
    client = HttpClient(guard, client_context(), user_agent="test")
    config = HookConfig(url=Secret(f"http://127.0.0.1:{port}/x"), timeout_s=timeout_s)
    try:
        yield HookDecider(config, client, FakeClock(), complain=lambda *words: None)
    finally:
        await client.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(hook: HookDecider) -> Decision:
    decision = await hook.decide(play())
    assert decision is not None
    return decision


async def test_one_that_hangs_refuses_at_its_deadline() -> None:
    forever = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever.wait()

    async with backend(hang, timeout_s=0.05) as hook:
        decision = await ask(hook)
        forever.set()
        assert (decision.allowed, decision.innocent) == (False, True)


async def test_one_that_answers_fifty_megabytes_costs_64_kilobytes() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            writer.write(b" " * 65536)
            sent += 65536
            await writer.drain()

    async with backend(flood) as hook:
        assert not (await ask(hook)).allowed
    assert sent < 52_428_800


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
async def test_what_is_no_yes_is_a_no(answer: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with backend(say) as hook:
        assert not (await ask(hook)).allowed


async def test_nobody_waits_for_those_who_wait_for_an_answer() -> None:
    forever = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def first_two_hundred_hang(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        begun.release()
        if hanging:
            await forever.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    hanging = True
    async with backend(first_two_hundred_hang, timeout_s=60) as hook:
        waiting = [asyncio.create_task(ask(hook)) for _ in range(200)]
        for _ in range(200):
            await begun.acquire()
        hanging = False
        assert (await ask(hook)).allowed
        assert not any(task.done() for task in waiting)
        forever.set()
        assert all(decision.allowed for decision in await asyncio.gather(*waiting))
