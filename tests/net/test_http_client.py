"""Requests to addresses that users give: everything that a far side can do wrong has a bound."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient, HttpClientError
from streamserver.net.resolver import ResolveError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Names:
    """Knows two names."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        if host == "here.test":
            return ("127.0.0.1",)
        raise ResolveError(f"there is no host {host}")


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(
        OutgoingGuard(Names(), allow_private=True), ssl.create_default_context(), user_agent="test"
    )
    yield made
    await made.close()


async def serve(handler: Handler) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_an_answer_comes_back_with_status_headers_and_body(client: HttpClient) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert await request.read() == b"question"
        assert request.headers["User-Agent"] == "test"
        return web.Response(status=202, body=b"answer", headers={"Retry-After": "3"})

    server = await serve(handler)
    answer = await client.request(
        "POST", str(server.make_url("/a")), headers={}, body=b"question", timeout_s=60
    )
    assert (answer.status, answer.body, answer.whole) == (202, b"answer", True)
    assert answer.headers["retry-after"] == "3"
    await server.close()


async def test_a_redirect_is_not_followed(client: HttpClient) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    server = await serve(handler)
    answer = await client.request("GET", str(server.make_url("/a")), headers={}, timeout_s=60)
    assert answer.status == 302
    assert asked == ["/a"]
    await server.close()


async def test_of_an_endless_answer_only_the_beginning_is_read(client: HttpClient) -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(800):
            await response.write(bytes(65536))
            sent += 65536
        return response

    server = await serve(handler)
    answer = await client.request("GET", str(server.make_url("/")), headers={}, timeout_s=20)
    assert (answer.status, len(answer.body), answer.whole) == (200, 65536, False)
    await server.close()
    assert sent < 50_000_000


async def test_an_answer_that_does_not_come_ends_at_the_deadline(client: HttpClient) -> None:
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await gone.wait()
        return web.Response()

    server = await serve(handler)
    with pytest.raises(HttpClientError, match=r"no answer within 0\.05 s"):
        await client.request("GET", str(server.make_url("/")), headers={}, timeout_s=0.05)
    gone.set()
    await server.close()


async def test_names_are_looked_up_by_our_resolver(client: HttpClient) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Host"])

    server = await serve(handler)
    url = f"http://here.test:{server.port}/"
    answer = await client.request("GET", url, headers={}, timeout_s=60)
    assert answer.body == f"here.test:{server.port}".encode()
    with pytest.raises(HttpClientError, match=r"there is no host nowhere\.test"):
        await client.request("GET", "http://nowhere.test/secret", headers={}, timeout_s=60)
    await server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "here.test", "[::1]", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_closed_where_they_are_not_allowed(host: str) -> None:
    client = HttpClient(
        OutgoingGuard(Names(), allow_private=False), ssl.create_default_context(), user_agent="t"
    )
    with pytest.raises(HttpClientError, match="private address"):
        await client.request("GET", f"http://{host}:1/", headers={}, timeout_s=60)
    await client.close()


@pytest.mark.parametrize(
    "answer", [b"", b"220 smtp ready\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20_000 + b"\r\n\r\n"]
)
async def test_what_is_no_answer_of_http_is_an_error(client: HttpClient, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(HttpClientError) as error:
        await client.request("GET", f"http://127.0.0.1:{port}/secret", headers={}, timeout_s=60)
    assert "secret" not in str(error.value)
    server.close()
    await server.wait_closed()


async def test_a_refused_connection_is_an_error_without_the_url(client: HttpClient) -> None:
    with pytest.raises(HttpClientError) as error:
        await client.request("GET", "http://127.0.0.1:1/secret", headers={}, timeout_s=60)
    assert "secret" not in str(error.value)
    assert str(error.value)
