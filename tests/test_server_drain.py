"""A server that is asked to end: who hears of it, and how long it takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from streamserver.server import Server
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.rtmp_player import RtmpPlayer
from tests.test_server import Site, configured, http, site

__all__ = ["http", "site"]

_RECONNECT = b"NetConnection.Connect.ReconnectRequest"


Publish = Callable[[Site, str, int | None], Awaitable[RtmpClient]]


@pytest.fixture
async def publish() -> AsyncIterator[Publish]:
    """Publishes a name with a ``capsEx``; what it made is closed in the end."""
    clients: list[RtmpClient] = []

    async def publish(site: Site, name: str, caps_ex: int | None) -> RtmpClient:
        client = await RtmpClient.connect(site.rtmp_port)
        clients.append(client)
        client.caps_ex = caps_ex
        await client.publish("live", name)
        await client.until(b"NetStream.Publish.Start")
        return client

    yield publish
    for client in clients:
        client.close()


async def test_who_can_move_is_asked_and_has_time_and_who_cannot_is_told_at_once(
    site: Site, publish: Publish
):
    able = await publish(site, "able", 1)
    unable = await publish(site, "unable", None)
    draining = asyncio.create_task(site.server.drain())
    await unable.until_closed()
    assert b"the server is shutting down" in unable.seen
    assert _RECONNECT not in unable.seen
    await able.until(_RECONNECT)
    assert not draining.done()
    sessions = (await site.json("/api/v1/sessions"))["items"]
    assert [one["stream"] for one in sessions] == ["live/able"], "it goes on until it has moved"
    able.close()
    await draining


async def test_a_newcomer_is_refused_with_a_sentence_while_the_server_drains(
    site: Site, publish: Publish
):
    able = await publish(site, "able", 1)
    draining = asyncio.create_task(site.server.drain())
    await able.until(_RECONNECT)
    with pytest.raises(EOFError, match="the server is shutting down; try again in a moment"):
        await publish(site, "late", None)
    able.close()
    await draining


async def test_players_of_rtmp_are_told_that_the_stream_is_over(site: Site):
    client = await site.publish()
    player = await RtmpPlayer.play(site.rtmp_port, "live", "cam")
    await player.until("NetStream.Play.Start")
    async with asyncio.TaskGroup() as group:
        group.create_task(player.until("NetStream.Play.UnpublishNotify"))
        group.create_task(site.server.drain())
    client.close()
    player.writer.close()


async def test_who_was_asked_and_stays_is_ended_when_the_time_is_over(
    tmp_path: Path, http: aiohttp.ClientSession, publish: Publish
):
    server = Server(configured(tmp_path, "server.drain_timeout_s=1.6"), environ={})
    await server.start()
    able = await publish(Site(server, http), "able", 1)
    await server.drain()
    await able.until_closed()
    assert able.seen.index(_RECONNECT) < able.seen.index(b"NetConnection.Connect.Closed")
    await server.close()


@pytest.mark.parametrize("caps_ex", [None, 1])
async def test_with_no_time_at_all_nobody_is_waited_for(
    tmp_path: Path, http: aiohttp.ClientSession, publish: Publish, caps_ex: int | None
):
    server = Server(configured(tmp_path, "server.drain_timeout_s=0"), environ={})
    await server.start()
    client = await publish(Site(server, http), "cam", caps_ex)
    await server.drain()
    await server.close()
    await client.until_closed()
