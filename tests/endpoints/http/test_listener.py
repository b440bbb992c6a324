import asyncio
import socket

import pytest
from aiohttp import web

from streamserver.endpoints.http.listener import HttpEndpoint, Listener, Mount
from streamserver.errors import ConfigError, UnavailableError
from tests.endpoints.http.helpers_http import FakeClock


def routes(app: web.Application) -> None:
    async def remote(request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    app.router.add_get("/", remote)


def endpoint(host: str, port: int = 0) -> HttpEndpoint:
    return HttpEndpoint(Listener("http", host, port, (Mount("/", routes),)), clock=FakeClock())


async def ask(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2]


async def test_no_host_means_all_addresses_of_both_families():
    it = endpoint("")
    ((_, port),) = await it.start()
    try:
        assert await ask("127.0.0.1", port) == b"127.0.0.1"
        if socket.has_ipv6:
            assert await ask("::1", port) == b"::1"
    finally:
        await it.close(0)


async def test_localhost_is_loopback_in_both_families_on_one_port():
    it = endpoint("localhost")
    addresses = await it.start()
    try:
        assert len({port for _, port in addresses}) == 1
        for host, port in addresses:
            assert await ask(host, port) == host.encode()
    finally:
        await it.close(0)


async def test_a_taken_port_is_said_with_what_to_look_for():
    first = endpoint("127.0.0.1")
    ((_, port),) = await first.start()
    second = endpoint("127.0.0.1", port)
    try:
        with pytest.raises(UnavailableError, match=rf"port {port} is taken: `ss -ltnp"):
            await second.start()
    finally:
        await second.close(0)
        await first.close(0)


async def test_an_address_of_another_host_is_said():
    with pytest.raises(UnavailableError, match="not an address of this host"):
        await endpoint("192.0.2.1").start()


async def test_a_name_is_no_address():
    with pytest.raises(ConfigError, match="is no address"):
        await endpoint("media.example").start()


@pytest.mark.parametrize("base", ["media", "/media/", "//media", "/"])
def test_a_base_path_looks_like_one(base):
    with pytest.raises(ConfigError, match="base path"):
        Listener("http", "", 0, (), base_path=base)


async def test_closing_twice_and_closing_what_never_opened_do_nothing():
    it = endpoint("127.0.0.1")
    await it.close(0)
    it = endpoint("127.0.0.1")
    await it.start()
    await it.close(0)
    await it.close(0)


async def test_two_listeners_share_a_mount():
    first, second = endpoint("127.0.0.1"), endpoint("127.0.0.1")
    try:
        for it in (first, second):
            ((host, port),) = await it.start()
            assert await ask(host, port) == b"127.0.0.1"
    finally:
        await first.close(0)
        await second.close(0)
