#!/usr/bin/env python3
"""A backend beside streamserver: decides who may publish and play, and shows who watches, live.

    pip install aiohttp
    python examples/backend.py [http://localhost:8080] [--port 9000]

and in streamserver's config.toml:

    [[auth.hooks]]
    url = "http://localhost:9000/access"

Then `curl localhost:9000` tells the counts. From another machine than the server's, put the API's
token into $STREAMSERVER_TOKEN.
"""

import argparse
import asyncio
import contextlib
import json
import os

import aiohttp
from aiohttp import web

KEYS = {"live/demo": "demo-key"}  # Yours come from a database.
viewers: dict[str, int] = {}


async def access(request: web.Request) -> web.Response:
    """Whoever publishes gives the key (?key=…); watching is open, but for private/…"""
    asked = await request.json()
    if asked["action"] == "publish":
        key = KEYS.get(asked["stream"])
        allowed = key is not None and asked["query"].get("key") == key
        if not allowed:
            # The publisher reads the reason on its console.
            return web.json_response({"reason": "your key is not the one"}, status=403)
        return web.Response()
    return web.Response(status=403 if asked["stream"].startswith("private/") else 200)


async def follow(server: str) -> None:
    """Keeps `viewers` true from the events; a reset, at first and after a crash, begins anew."""
    token = os.environ.get("STREAMSERVER_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # A ping comes every 15 s: whoever says nothing for longer is gone.
    patience = aiohttp.ClientTimeout(total=None, sock_read=40)
    last_id = "0"
    async with aiohttp.ClientSession(headers=headers, read_bufsize=1 << 22) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                url = f"{server}/api/v1/events?last_event_id={last_id}"
                async with session.get(url, timeout=patience) as answer:
                    async for line in answer.content:
                        if line.startswith(b"data: "):
                            event = json.loads(line[6:])
                            take(event)
                            last_id = event["id"]
            await asyncio.sleep(1)


def take(event: dict) -> None:
    """One event."""
    stream, data = event["stream"], event["data"]
    if event["type"] == "reset":
        viewers.clear()
        for one in data["streams"]:
            viewers[f"{one['app']}/{one['name']}"] = one["viewers"]["total"]
    elif event["type"] == "stream.started":
        viewers[stream] = 0
    elif event["type"] == "stream.ended":
        viewers.pop(stream, None)
    elif event["type"] == "viewers.count":
        viewers[stream] = data["total"]


async def main() -> None:
    """Serves and follows."""
    parser = argparse.ArgumentParser(description="A backend beside streamserver.")
    parser.add_argument("server", nargs="?", default="http://localhost:8080")
    parser.add_argument("--port", type=int, default=9000)
    arguments = parser.parse_args()
    app = web.Application()
    app.router.add_post("/access", access)
    app.router.add_get("/", lambda request: web.json_response(viewers))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", arguments.port).start()
    await follow(arguments.server)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
