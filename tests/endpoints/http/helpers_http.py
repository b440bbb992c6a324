"""A listener on a free port with something of everything behind it, and a client of plain bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streamserver.endpoints.http.app import AppSettings
from streamserver.endpoints.http.connections import FrontSettings
from streamserver.endpoints.http.listener import HttpEndpoint, Listener, Mount
from streamserver.errors import NotFoundError

BROWSER_HEADERS = (
    b"Host: localhost:8080\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="126", "Not.A/Brand";v="24"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/126.0.0.0 Safari/537.36\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Accept: */*\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: cors\r\n"
    b"Sec-Fetch-Dest: empty\r\n"
    b"Referer: http://localhost:8080/play/live/demo\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
)


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000

    def wall_ns(self) -> int:
        return self.ms * 1_000_000


def wire(body: bytes, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join([*lines, b"", b""]) + body


@dataclass
class Reload:
    """A parked request whose end the test decides."""

    resumes: list[Callable[[bytes], None]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def park(self, resume: Callable[[bytes], None]) -> None:
        self.resumes.append(resume)

    def resume(self, wire: bytes) -> None:
        self.resumes[0](wire)

    def cancel(self) -> None:
        self.cancelled.set()


class FastSide:
    """Known objects, and reloads under ``/hls/park``."""

    def __init__(self) -> None:
        self.objects = {b"/hls/a": wire(b"playlist a"), b"/hls/b": wire(b"part b")}
        self.seen: list[tuple[bytes, bool]] = []
        """Targets, and whether gzip is taken."""
        self.reloads: list[Reload] = []
        self.parked = asyncio.Event()

    def __call__(self, target: bytes, gzip: bool) -> bytes | Reload | None:
        self.seen.append((target, gzip))
        path = target.partition(b"?")[0]
        if path == b"/hls/park":
            reload = Reload()
            self.reloads.append(reload)
            self.parked.set()
            return reload
        if path == b"/hls/fault":
            raise LookupError("a fault in the fast path")
        return self.objects.get(path)


class SlowSide:
    """The routes of aiohttp."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/hls/{name}", self.hls)
        app.router.add_get("/plain", self.plain)
        app.router.add_post("/echo", self.echo)
        app.router.add_post("/ignore", self.ignore)
        app.router.add_get("/chunks", self.chunks)
        app.router.add_get("/events", self.events)
        app.router.add_get("/slow", self.slow)
        app.router.add_get("/fails", self.fails)
        app.router.add_get("/fails-later", self.fails_later)
        app.router.add_get("/missing", self.missing)
        app.router.add_get("/empty", self.empty)
        app.router.add_get("/glued", self.glued)
        app.router.add_get("/late", self.late)
        app.router.add_get("/big", self.big)
        app.router.add_get("/ws", self.websocket)
        app.router.add_get("/remote", self.remote)

    async def hls(self, request: web.Request) -> web.Response:
        return web.Response(text=f"slow {request.match_info['name']}")

    async def plain(self, request: web.Request) -> web.Response:
        return web.Response(text="plain")

    async def remote(self, request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def ignore(self, request: web.Request) -> web.Response:
        return web.Response(text="ignored")

    async def chunks(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"one ", b"two ", b"three"):
            await response.write(piece)
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        self.entered.set()
        try:
            await self.go.wait()
            await response.write(b"data: second\n\n")
            return response
        finally:
            self.left.set()

    async def slow(self, request: web.Request) -> web.Response:
        self.entered.set()
        await self.go.wait()
        return web.Response(text="slow")

    async def fails(self, request: web.Request) -> web.Response:
        raise LookupError("a fault in a handler")

    async def fails_later(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise LookupError("a fault after the answer began")

    async def missing(self, request: web.Request) -> web.Response:
        raise NotFoundError("no such stream: live/demo")

    async def empty(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def glued(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2)
        return web.Response()

    async def late(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "2"})
        await response.prepare(request)
        transport = request.transport
        await response.write(b"ok")
        assert transport is not None
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return response

    async def big(self, request: web.Request) -> web.StreamResponse:
        size = int(request.query["bytes"])
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        self.entered.set()
        for _ in range(size // 65536):
            await response.write(bytes(65536))
        await response.write_eof(bytes(size % 65536))
        return response

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Speaks bytes, and reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    async def answer(self, *, to_head: bool = False) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head[:-4].split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
        }
        status = int(line.split()[1])
        if to_head or status in (100, 101, 204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while piece := await self.chunk():
                body += piece
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def ask(self, target: str, *headers: str, method: str = "GET") -> Answer:
        self.get(target, *headers, method=method)
        return await self.answer(to_head=method == "HEAD")

    async def closed(self) -> bytes:
        """What comes until the connection ends, however it ends."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Site:
    """An open listener and both of its sides."""

    def __init__(self, **options: Any) -> None:
        self.fast = FastSide()
        self.slow = SlowSide()
        self.clock = FakeClock()
        mounts = options.pop("mounts", None) or (
            Mount("/hls/", lambda app: None, fast=self.fast, media=True),
            Mount("/", self.slow.routes),
        )
        self.endpoint = HttpEndpoint(
            Listener(
                "http",
                "127.0.0.1",
                0,
                mounts,
                tls=options.pop("tls", None),
                base_path=options.pop("base_path", ""),
            ),
            clock=self.clock,
            app_settings=options.pop("app_settings", AppSettings()),
            front_settings=FrontSettings(**options),
        )
        self.port = 0
        self._clients: list[Client] = []

    @property
    def stats(self) -> Any:
        return self.endpoint.stats

    @property
    def lent(self) -> int:
        """Requests that aiohttp holds."""
        server = self.endpoint._runner.server
        assert server is not None
        return len(server.connections)

    @property
    def connections(self) -> Any:
        return self.endpoint._connections

    async def connect(self, **options: Any) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self._clients.append(client)
        return client

    def pass_time(self, ms: int) -> None:
        self.clock.ms += ms
        self.connections.sweep()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets the loop turn until something is so; the test's timeout is the bound."""
        while not condition():
            await asyncio.sleep(0.001)

    async def close_clients(self) -> None:
        for client in self._clients:
            await client.close()


@contextlib.asynccontextmanager
async def site(**options: Any) -> AsyncIterator[Site]:
    it = Site(**options)
    it.port = (await it.endpoint.start())[0][1]
    try:
        yield it
    finally:
        await it.close_clients()
        await it.endpoint.close(1.0)
        assert it.endpoint.open_connections == 0
