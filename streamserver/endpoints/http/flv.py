"""FLV over HTTP, and over WebSocket on upgrade: the fan-out writes to the transport itself.

The handler answers the head, hands the transport over, and waits for the end.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from streamserver.auth import parse_authorization
from streamserver.control.attempt import Attempt
from streamserver.control.watching import Watch, Watching
from streamserver.endpoints.http.app import Mount
from streamserver.endpoints.http.exchange import take_transport
from streamserver.endpoints.http.media import MEDIA_HEADERS, SERVER
from streamserver.hub.sessions import Protocol
from streamserver.media.flv_writer import Dialect
from streamserver.names import DEFAULT_NAME
from streamserver.outputs.flv import CONTENT_TYPE, WebSocketFrames
from streamserver.outputs.live import Form, LiveOutput
from streamserver.outputs.transports import make_live, own_socket
from streamserver.outputs.viewer import Viewer

__all__ = ["FlvDoor", "flv_mount"]

_BASE: Final = "/flv"
_MAX_WORDS: Final = 4096
"""Bytes of one message that a player may send over its WebSocket; nobody reads it."""

_HEADERS: Final = (
    ("Content-Type", CONTENT_TYPE),
    ("Cache-Control", "no-store"),
    # It ends with its connection: chunks would make the bytes different for each format.
    ("Connection", "close"),
    ("Server", SERVER),
)

IsLocal = Callable[[str, Mapping[str, str], str | None], bool]


@dataclass(frozen=True, slots=True)
class FlvDoor:
    """What the routes need."""

    watching: Watching
    """Decides about viewers."""

    live: LiveOutput
    """Sends to them."""

    is_local: IsLocal
    """Tells from address, headers and ``Host`` whether a request comes from this machine."""

    wait_s: float = 10
    """How long a player waits for a stream that is not live; 0: it is refused at once."""

    origins: tuple[str, ...] = ("*",)
    """The origins of pages that may read media."""

    frames: WebSocketFrames = field(default_factory=WebSocketFrames)
    """Shared by all viewers over WebSocket."""


class _End:
    """Waits for whatever ends a viewer first."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.transport: asyncio.WriteTransport | None = None
        self.is_over = False

    def kick(self, reason: str) -> None:
        """The operator's wish, or the server's end."""
        self.ended(reason, False)

    def ended(self, reason: str, over: bool) -> None:
        """The fan-out has let the viewer go."""
        self.is_over = over
        if not over and self.transport is not None:
            # It may never read what it was sent: do not wait for that.
            self.transport.abort()
        self.event.set()


def flv_mount(door: FlvDoor) -> Mount:
    """``/flv/{app}/{name}``, and ``/flv/{app}`` for the stream of that name alone."""

    async def play(request: web.Request) -> web.StreamResponse:
        end = _End()
        attempt = _attempt(request, door, end.kick)
        # As over RTMP: who comes a little early need not come again.
        wait_s = 0 if request.method == "HEAD" else door.wait_s
        watch = await door.watching.open(attempt, wait_s=wait_s)
        try:
            if request.method == "HEAD":
                return web.Response(headers=dict(_HEADERS[:2]))
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _play_websocket(request, door, watch, end)
            return await _play_http(request, door, watch, end)
        finally:
            watch.close()

    def routes(app: web.Application) -> None:
        app.router.add_get(_BASE + "/{app}", play, allow_head=False)
        app.router.add_get(_BASE + "/{app}/{name}", play, allow_head=False)

    return Mount(prefix=_BASE + "/", routes=routes, media=True)


async def _play_http(
    request: web.Request, door: FlvDoor, watch: Watch, end: _End
) -> web.StreamResponse:
    if request.transport is None:
        raise ConnectionResetError("the peer has gone")
    # Not through a response of aiohttp, which would answer HTTP/1.1 in chunks.
    request.transport.write(_head(request, door.origins))
    await _send(request, door, watch, end, None)
    if end.is_over and end.transport is not None:
        end.transport.close()
    return web.Response()


async def _play_websocket(
    request: web.Request, door: FlvDoor, watch: Watch, end: _End
) -> web.StreamResponse:
    # Without compression: the bytes are the same for all, and media does not get smaller.
    socket = web.WebSocketResponse(compress=False, max_msg_size=_MAX_WORDS)
    await socket.prepare(request)
    listening = asyncio.get_running_loop().create_task(_listen(socket, end))
    try:
        await _send(request, door, watch, end, door.frames)
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    if end.is_over:
        await socket.close(code=1000, message=b"the stream is over")
    return socket


async def _send(
    request: web.Request,
    door: FlvDoor,
    watch: Watch,
    end: _End,
    envelope: WebSocketFrames | None,
) -> None:
    """Lets the fan-out write until the end."""
    end.transport = transport = take_transport(request)
    if transport is None:
        return
    make_live(transport)
    # To a WebSocket aiohttp writes too.
    socket = own_socket(transport) if envelope is None else None
    viewer = Viewer(transport, watch.session, end.ended, socket=socket, envelope=envelope)
    live = door.live.join(watch.stream, Form.FLV, Dialect.ENHANCED, viewer)
    try:
        await end.event.wait()
    finally:
        live.leave()


async def _listen(socket: web.WebSocketResponse, end: _End) -> None:
    """Reads over what a player says, and notices that it leaves."""
    async for _ in socket:
        pass
    end.event.set()


def _attempt(request: web.Request, door: FlvDoor, close: Callable[[str], None]) -> Attempt:
    credentials = parse_authorization(request.headers.get("Authorization"))
    ip = request.remote or ""
    return Attempt(
        protocol=Protocol.FLV,
        app=request.match_info["app"],
        name=request.match_info.get("name", DEFAULT_NAME),
        remote_ip=ip,
        local=door.is_local(ip, request.headers, request.headers.get("Host")),
        user_agent=request.headers.get("User-Agent", ""),
        params=dict(request.query),
        user=credentials.user,
        password=credentials.password,
        token=credentials.token,
        headers=request.headers,
        close=close,
    )


def _head(request: web.Request, origins: tuple[str, ...]) -> bytes:
    """The head of the answer, with what every answer of a media mount carries."""
    headers = dict((*_HEADERS, *MEDIA_HEADERS))
    if "*" not in origins:
        origin = request.headers.get("Origin", "")
        headers["Vary"] = "Origin"
        if origin in origins:
            headers["Access-Control-Allow-Origin"] = origin
        else:
            del headers["Access-Control-Allow-Origin"]
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
