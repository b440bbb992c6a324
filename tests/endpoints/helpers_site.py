"""A whole server on loopback, with something to play."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from streamserver.config import load
from streamserver.hub.stream import StreamState
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.rtmp_player import RtmpPlayer

__all__ = ["Site", "running"]


class Site:
    """A running server, seen from inside."""

    def __init__(self, server: Server) -> None:
        self.server = server
        ports = {one.name: one.port for one in server.facts.listeners}
        self.rtmp_port, self.http_port = ports["rtmp"], ports["http"]
        assert server._hub is not None
        self.hub = server._hub
        self.clients: list[RtmpClient | RtmpPlayer] = []

    async def publish(self, key: str = "cam", clip: media_factory.Clip | None = None) -> RtmpClient:
        """Publishes a whole clip at once, and stays."""
        client = await RtmpClient.connect(self.rtmp_port)
        self.clients.append(client)
        await client.publish("live", key)
        await client.until(b"NetStream.Publish.Start")
        self.send(client, clip or media_factory.h264_aac())
        await self.until_live(key.partition("?")[0])
        return client

    async def play(self, key: str = "cam", **more: Any) -> RtmpPlayer:
        """A player of ``live/{key}``; what comes of it is for its `until`."""
        player = await RtmpPlayer.play(self.rtmp_port, "live", key, **more)
        self.clients.append(player)
        return player

    def send(self, client: RtmpClient, clip: media_factory.Clip, *, later_ms: int = 0) -> None:
        """The messages of a clip, headers included."""
        for tag in media_factory.tags(clip.flv):
            kind = 9 if tag.kind is Kind.VIDEO else 8
            client.media(kind, tag.timestamp_ms + later_ms, tag.body)

    async def until_live(self, key: str) -> None:
        async with asyncio.timeout(60):
            while (
                (stream := self.hub.registry.get(StreamKey("live", key))) is None
                or stream.state is not StreamState.LIVE
                or stream.packets.end < 50
            ):
                await asyncio.sleep(0.01)

    async def until_viewers(self, count: int, key: str = "cam") -> None:
        async with asyncio.timeout(60):
            while len(self.hub.sessions.viewers(StreamKey("live", key))) != count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(directory: Path, *more: str) -> AsyncIterator[Site]:
    """A server with free ports; ``more`` are settings, beside those of a file in the directory."""
    overrides = (
        "rtmp.port=0", "webrtc.port=0", "http.port=0", "http.https_port=0", "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1", f"storage.path={directory}", "auth.api_token=token-of-the-test",
        *more,
    )  # fmt: skip
    loaded = load(environ={}, overrides=overrides, directory=directory)
    server = Server(loaded.config, environ={}, loaded=loaded)
    await server.start()
    site = Site(server)
    try:
        yield site
    finally:
        for client in site.clients:
            client.close()
        await server.close()
