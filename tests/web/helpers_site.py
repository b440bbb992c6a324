"""The pages behind a small web server with a make-believe API, below a path prefix."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from streamserver.web.pages import Pages

TOKEN = "the right token"


def stream(app: str = "live", name: str = "demo", **changes: Any) -> dict[str, Any]:
    """A stream as the API shows one."""
    return {
        "app": app, "name": name, "session_id": "s1", "title": "", "state": "live", "uptime_s": 65,
        "bit_rate": 2_650_000,
        "tracks": [
            {"kind": "video", "codec": "h264", "profile": "High", "width": 1280, "height": 720,
             "fps": 29.97},
            {"kind": "audio", "codec": "aac", "profile": "LC", "sample_rate": 48000, "channels": 2},
        ],
        "viewers": {"total": 12, "by_protocol": {"hls": 10, "rtmp": 2}, "peak": 31},
        "health": [],
        **changes,
    }  # fmt: skip


def destination(ident: str = "d1", **changes: Any) -> dict[str, Any]:
    """A destination as the API shows one."""
    return {
        "id": ident, "name": "Far", "url": "rtmps://far.test/live/ab12****", "enabled": True,
        "state": "live", "since": "2026-11-20T10:59:02.310Z", "bytes_sent": 1000,
        "bit_rate": 2_640_000, "queued_ms": 100, "dropped_frames": 0, "reconnects": 0,
        "last_error": None, "next_attempt_at": None, "rtt_ms": 12.5,
        **changes,
    }  # fmt: skip


class Site:
    """What the make-believe API answers, and what was asked of it."""

    def __init__(self) -> None:
        self.url = ""
        self.streams: list[dict[str, Any]] = []
        self.open = True
        self.posts: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str, str]] = []
        self.refusal = ""
        self.seen: list[str] = []
        self._pages = Pages()

    def application(self, prefix: str) -> web.Application:
        """The routes of the real server, as far as pages use them."""
        app = web.Application()
        app.router.add_route("*", prefix + "/api/v1/{path:.*}", self._api)
        app.router.add_get(prefix + "/{path:.*}", self._page)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.seen.append(path)
        asset = self._pages.find(path)
        if asset is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": asset.content_type, "Cache-Control": asset.cache_control}
        return web.Response(body=asset.body, headers={**headers, **asset.headers})

    async def _api(self, request: web.Request) -> web.Response:
        credential = request.headers.get("Authorization", "")
        if credential != f"Bearer {TOKEN}" and (credential or not self.open):
            return web.json_response({"title": "Unauthorized", "status": 401}, status=401)
        path = request.match_info["path"]
        self.seen.append(f"api/v1/{path}")
        if path.endswith("/destinations") and request.method == "GET":
            items = self.streams[0]["destinations"] if self.streams else []
            return web.json_response({"items": items, "total": len(items)})
        if "/destinations" in path:
            self.changes.append((request.method, path, await request.text()))
            if self.refusal:
                return web.json_response({"detail": self.refusal, "status": 409}, status=409)
            return web.json_response({})
        if request.method == "POST":
            self.posts.append((path, credential))
            self.streams.clear()
            return web.json_response({})
        if path == "streams":
            return web.json_response({"items": self.streams, "total": len(self.streams)})
        if path == "server":
            listeners = [{"name": "rtmp", "host": "", "port": 1936, "tls": False}]
            return web.json_response({"version": "9.9", "uptime_s": 7, "listeners": listeners})
        if path.endswith("/viewers/count"):
            return web.json_response({"total": 1, "by_protocol": {"hls": 1}})
        raise web.HTTPNotFound


@asynccontextmanager
async def running_site(prefix: str = "") -> AsyncIterator[Site]:
    """A site on a free port of loopback; ``url`` ends with a slash."""
    site = Site()
    runner = web.AppRunner(site.application(prefix), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        site.url = f"http://127.0.0.1:{port}{prefix}/"
        yield site
    finally:
        await runner.cleanup()
