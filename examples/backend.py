#!/usr/bin/env python3
"""A backend beside streamserver: decides who may publish and play, and shows who watches, live.

    pip install aiohttp
    python examples/backend.py

and in streamserver's config.toml:

    [[auth.hooks]]
    url = "http://localhost:9000/access"

Then `curl localhost:9000` tells the counts. $STREAMSERVER_URL says where the server is, $PORT where
this listens; from another machine than the server's, $STREAMSERVER_TOKEN holds the API's token.
"""

import asyncio
import contextlib
import os

import aiohttp
from aiohttp import web

SERVER = os.environ.get("STREAMSERVER_URL", "http://localhost:8080")
TOKEN = os.environ.get("STREAMSERVER_TOKEN")
KEYS = {("live/demo", "demo-key")}  # Yours come from a database.
FOLLOWING = web.AppKey("FOLLOWING", asyncio.Task)
viewers: dict[str, int] = {}


async def access(request: web.Request) -> web.Response:
    """Whoever publishes gives the key (?key=…); watching is open, but for private/…"""
    asked = await request.json()
    if asked["action"] == "publish" and (asked["stream"], asked["query"].get("key")) not in KEYS:
        # The publisher reads the reason on its console.
        return web.json_response({"reason": "your key is not the one"}, status=403)
    closed = asked["action"] == "play" and asked["stream"].startswith("private/")
    return web.Response(status=403 if closed else 200)


async def follow() -> None:
    """Keeps `viewers` true from the events; with id 0 they begin with a reset: all that is live."""
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    async with aiohttp.ClientSession(SERVER, headers=headers) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.ws_connect("/api/v1/events?last_event_id=0", heartbeat=10) as ws:
                    async for message in ws:
                        take(message.json())
            await asyncio.sleep(1)


def take(event: dict) -> None:
    """One event."""
    if event["type"] == "reset":
        viewers.clear()
        for one in event["data"]["streams"]:
            viewers[f"{one['app']}/{one['name']}"] = one["viewers"]["total"]
    elif event["type"] == "viewers.count":
        viewers[event["stream"]] = event["data"]["total"]
    elif event["type"] == "stream.ended":
        viewers.pop(event["stream"], None)


async def start(app: web.Application) -> None:
    """Follows as long as it serves."""
    app[FOLLOWING] = asyncio.create_task(follow())


app = web.Application()
app.add_routes([web.post("/access", access), web.get("/", lambda _: web.json_response(viewers))])
app.on_startup.append(start)
web.run_app(app, host="localhost", port=int(os.environ.get("PORT", "9000")))
