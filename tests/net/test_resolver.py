"""The resolver against a name server of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from streamserver.net.resolver import DnsResolver, ResolveError

ADDRESS = bytes((192, 0, 2, 7))


class NameServer(asyncio.DatagramProtocol):
    """Answers questions over UDP as a test says; None is no answer."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No transport of asyncio 3.11 is an instance of the class that it is shaped like.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        answer = self._answer(data)
        if answer is not None:
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def name_server(
    answer: Callable[[bytes], bytes | None], timeout_s: float = 5
) -> AsyncIterator[tuple[DnsResolver, NameServer]]:
    server = NameServer(answer)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    resolver = DnsResolver(timeout_s=timeout_s, servers=(f"127.0.0.1:{port}",))
    try:
        yield resolver, server
    finally:
        await resolver.close()
        transport.close()


def question_end(data: bytes) -> int:
    return data.index(b"\0", 12) + 5


def address(data: bytes) -> bytes:
    """RFC 1035 4.1: the question again, and one A record where one was asked for."""
    end = question_end(data)
    wants_a = data[end - 4 : end - 2] == b"\0\1"
    count = b"\0\1" if wants_a else b"\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + ADDRESS if wants_a else b""
    return data[:2] + b"\x81\x80\0\1" + count + b"\0\0\0\0" + data[12:end] + record


def no_such_name(data: bytes) -> bytes:
    return data[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + data[12 : question_end(data)]


async def test_a_name_is_asked_for_at_the_name_server():
    async with name_server(address) as (resolver, server):
        assert await resolver.resolve("far.example.org") == ("192.0.2.7",)
        assert server.asked


@pytest.mark.parametrize("text", ["192.0.2.9", "2001:db8::9"])
async def test_an_address_is_its_own_answer(text):
    async with name_server(address) as (resolver, server):
        assert await resolver.resolve(text) == (text,)
        assert not server.asked


async def test_a_name_that_does_not_exist_is_told():
    async with name_server(no_such_name) as (resolver, _):
        with pytest.raises(ResolveError, match=r"no host nowhere\.example\.org"):
            await resolver.resolve("nowhere.example.org")


async def test_a_name_server_that_never_answers_costs_only_the_deadline_of_each():
    async with name_server(lambda data: None, timeout_s=0.2) as (resolver, _):
        hung = [resolver.resolve(f"host-{index}.example.org") for index in range(10)]
        outcomes = await asyncio.gather(*hung, return_exceptions=True)
        assert all(isinstance(outcome, ResolveError) for outcome in outcomes)
        assert "did not answer" in str(outcomes[0])


async def test_names_of_the_hosts_file_are_known():
    async with name_server(lambda data: None) as (resolver, server):
        assert "127.0.0.1" in await resolver.resolve("localhost")
        assert not server.asked


@pytest.mark.parametrize("name", ["a" * 300, "a..b", "b\u00fccher..de"])
async def test_what_is_no_name_is_an_error_of_the_same_kind(name):
    async with name_server(address) as (resolver, _):
        with pytest.raises(ResolveError):
            await resolver.resolve(name)


async def test_closing_twice_and_without_a_look_up_is_harmless():
    resolver = DnsResolver()
    await resolver.close()
    await resolver.close()
