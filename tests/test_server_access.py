"""Who may, before a whole server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from streamserver.auth import AccessRequest, Action, CoroutineDecider, Decision
from streamserver.config import Secret, load
from streamserver.hub.sessions import Protocol
from streamserver.names import StreamKey
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient

CAM = StreamKey("live", "cam")
TOKEN = {"Authorization": "Bearer token-of-the-test"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.http_port}{path}"


async def refused(site: Site, key: str, *, app: str = "live", prefix: bytes = b"") -> bytes:
    """What a publisher reads that is not let in."""
    client = await RtmpClient.connect(site.rtmp_port, prefix=prefix)
    site.clients.append(client)
    await client.publish(app, key)
    await client.until_closed()
    return client.seen


async def new_token(site: Site, http: aiohttp.ClientSession, **body: object) -> dict[str, str]:
    async with http.post(url(site, "/api/v1/tokens"), json=body, headers=TOKEN) as response:
        assert response.status == 201
        found = await response.json()
        assert isinstance(found, dict)
        return found


async def test_a_secret_key_alone_publishes_its_stream_and_is_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, http: aiohttp.ClientSession
) -> None:
    caplog.set_level("DEBUG")
    async with running(tmp_path) as site:
        assert site.server.access is not None
        storage = site.server._storage
        assert storage is not None
        from streamserver.auth.hashes import hash_secret, make_secret

        secret = make_secret()
        await storage.set_stream_key(CAM, hash_secret(secret))
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", secret)
        await client.until(b"NetStream.Publish.Start")
        site.send(client, media_factory.h264_aac())
        await site.until_live("cam")
        async with http.get(url(site, "/api/v1/streams")) as response:
            text = await response.text()
        assert '"name":"cam"' in text
        assert secret not in text
        # The stream has a key: without one it is closed, from this machine too.
        assert b"key of its own" in await refused(site, "cam")
        # A key that no stream has would otherwise be a name for everyone to see.
        assert b"looks like a stream key" in await refused(site, make_secret())
    assert secret not in caplog.text


async def test_a_token_opens_until_it_is_taken_back(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, "auth.open_play=false") as site:
        made = await new_token(site, http, stream="live/*", actions=["publish", "play"])
        await site.publish(f"cam?token={made['token']}", media_factory.h264_aac(seconds=4.0))
        async with http.get(url(site, f"/hls/live/cam/index.m3u8?token={made['token']}")) as answer:
            assert answer.status == 200
            lines = (await answer.text()).splitlines()
        playlist = next(line for line in lines if line.startswith("s/"))
        player = await site.play(f"cam?token={made['token']}")
        await site.until_viewers(1)
        async with http.get(url(site, f"/hls/live/cam/{playlist}")) as answer:
            assert answer.status == 200
        await site.until_viewers(2)
        async with http.get(url(site, "/hls/live/cam/index.m3u8")) as answer:
            assert answer.status == 401
        path = f"/api/v1/tokens/{made['id']}"
        async with http.delete(url(site, path), headers=TOKEN) as answer:
            assert answer.status == 204
        await site.until_viewers(0)
        async with asyncio.timeout(60):
            while list(site.hub.sessions.all()):
                await asyncio.sleep(0.01)
        async with http.get(url(site, f"/hls/live/cam/{playlist}")) as answer:
            assert answer.status == 403
        assert b"taken back" in await refused(site, f"cam?token={made['token']}")
        player.close()


async def test_a_session_ends_with_its_token(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with running(tmp_path) as site:
        made = await new_token(site, http, stream="*", actions=["publish"], expires_in_s=2)
        client = await site.publish(f"cam?token={made['token']}")
        async with asyncio.timeout(60):
            await client.until(b"has expired")


async def test_a_reader_of_events_ends_with_its_token(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with running(tmp_path) as site:
        made = await new_token(site, http, stream="*", actions=["read"])
        bearer = {"Authorization": f"Bearer {made['token']}"}
        events = url(site, "/api/v1/events")
        async with asyncio.timeout(60), http.get(events, headers=bearer) as one:
            assert one.status == 200
            path = f"/api/v1/tokens/{made['id']}"
            async with http.delete(url(site, path), headers=TOKEN) as answer:
                assert answer.status == 204
            await one.content.read()
        # The API's own token, exchanged by a reload.
        async with asyncio.timeout(60), http.get(events, headers=TOKEN) as one:
            assert site.server.access is not None
            config = msgspec.structs.replace(site.server.config.auth, api_token=Secret("x" * 20))
            [tag] = await site.server.access.load(config)
            assert site.hub.ends.revoke(tag, "gone") == 1
            await one.content.read()


async def test_rights_reach_as_far_as_they_say(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with running(tmp_path) as site:
        made = await new_token(site, http, stream="live/cam", actions=["manage"])
        bearer = {"Authorization": f"Bearer {made['token']}"}
        await site.publish()
        target = {"url": "rtmp://127.0.0.1:1/app/key", "enabled": False}
        for path, method, status in (
            ("/api/v1/streams/live/cam", "GET", 200),
            ("/api/v1/streams/live/cam/destinations", "POST", 201),
            ("/api/v1/streams/live/other/destinations", "POST", 403),
            ("/api/v1/streams/live/cam/stop", "POST", 403),
            ("/api/v1/streams", "GET", 403),
            ("/api/v1/tokens", "POST", 403),
        ):
            body = target if method == "POST" and "destinations" in path else None
            async with http.request(method, url(site, path), headers=bearer, json=body) as answer:
                assert answer.status == status, path


PROXY = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 1935\r\n"


async def test_a_guesser_behind_a_proxy_is_banned_and_the_proxy_is_not(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with running(
        tmp_path,
        "http.trusted_proxies=127.0.0.1",
        "rtmp.proxy_protocol=true",
        "auth.ban_after=3",
        'auth.keys=[{key="the-right-key"}]',
    ) as site:
        for _ in range(3):
            assert b"Denied" in await refused(site, "cam?key=wrong", prefix=PROXY)
        client = await RtmpClient.connect(site.rtmp_port, prefix=PROXY)
        site.clients.append(client)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.publish("live", "cam?key=the-right-key")
        assert site.server.doors.rtmp[0].stats.outcomes["banned"] == 1
        # The same address over HTTP; somebody else behind the same proxy; the proxy itself.
        for ip, status in (("203.0.113.9", 403), ("203.0.113.10", 200)):
            headers = TOKEN | {"X-Forwarded-For": ip}
            async with http.get(url(site, "/api/v1/server"), headers=headers) as answer:
                assert answer.status == status
        async with http.get(url(site, "/api/v1/bans"), headers=TOKEN) as answer:
            assert [one["address"] for one in (await answer.json())["items"]] == ["203.0.113.9"]
        async with http.delete(url(site, "/api/v1/bans"), headers=TOKEN) as answer:
            assert answer.status == 204
        other = await RtmpClient.connect(site.rtmp_port, prefix=PROXY)
        site.clients.append(other)
        await other.publish("live", "cam?key=the-right-key")
        await other.until(b"NetStream.Publish.Start")


async def test_ten_thousand_failed_publishes_end_at_the_door(tmp_path: Path) -> None:
    async with running(
        tmp_path,
        "http.trusted_proxies=127.0.0.1",
        "rtmp.proxy_protocol=true",
        "auth.ban_after=3",
    ) as site:
        for _ in range(3):
            await refused(site, "cam", prefix=PROXY)
        access = site.server.access
        assert access is not None
        decided = sum(access.decider.decisions.values())
        for _ in range(300):
            client = await RtmpClient.connect(site.rtmp_port, prefix=PROXY)
            await client.until_closed()
            client.close()
        # Not one of them reached a decider, and loopback is let in all the while.
        assert sum(access.decider.decisions.values()) == decided
        assert access.bans.refused == 300


class Backend:
    """Somebody's access hook."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.hanging = asyncio.Event()
        self.hung = asyncio.Semaphore(0)
        self.port = 0

    async def access(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if body["name"] == "hangs":
            self.hung.release()
            await self.hanging.wait()
        if body["query"].get("key") == "wrong":
            return web.json_response({"reason": "this key is not ours"}, status=403)
        answer = {"stream": "live/cam"} if body["name"] == "secret-of-cam" else {}
        return web.json_response(answer)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    made = Backend()
    app = web.Application()
    app.router.add_post("/access", made.access)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    made.hanging.set()
    await runner.cleanup()


def hook(backend: Backend, **more: object) -> str:
    table = {"url": f"http://127.0.0.1:{backend.port}/access", **more}
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    return f"auth.hooks=[{{{pairs}}}]"


async def test_a_hook_decides_renames_and_says_why(
    tmp_path: Path, backend: Backend, http: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, hook(backend, forward_headers=["Cookie"])) as site:
        assert b"this key is not ours" in await refused(site, "cam?key=wrong")
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", "secret-of-cam")
        await client.until(b"NetStream.Publish.Start")
        site.send(client, media_factory.h264_aac(seconds=4.0))
        await site.until_live("cam")
        headers = {"Cookie": "session=7"}
        async with http.get(url(site, "/hls/live/cam/index.m3u8"), headers=headers) as answer:
            assert answer.status == 200
        assert backend.asked[-1]["headers"] == {"Cookie": "session=7"}
        assert (backend.asked[-1]["action"], backend.asked[-1]["protocol"]) == ("play", "hls")
        # Another name leads to the renamed stream over HLS as well.
        async with http.get(url(site, "/hls/live/secret-of-cam/index.m3u8")) as answer:
            lines = (await answer.text()).splitlines()
        playlist = next(line for line in lines if "/s/" in line)
        assert playlist.startswith("../../live/cam/s/")
        where = f"/hls/live/secret-of-cam/{playlist}"
        async with http.get(url(site, where)) as answer:
            assert answer.status == 200


async def test_others_start_while_a_hook_hangs_for_two_hundred(
    tmp_path: Path, backend: Backend
) -> None:
    async with running(tmp_path, hook(backend, timeout_s=60)) as site:
        waiting = []
        for _ in range(200):
            client = await RtmpClient.connect(site.rtmp_port)
            site.clients.append(client)
            await client.play("live", "hangs")
            waiting.append(client)
        for _ in range(200):
            await backend.hung.acquire()
        await site.publish("cam")
        assert site.hub.sessions.count()[Protocol.RTMP] == 0
        backend.hanging.set()


async def test_a_program_decides_with_a_coroutine(tmp_path: Path) -> None:
    async def mine(request: AccessRequest) -> Decision | bool | None:
        return request.query.get("key") == "open sesame"

    overrides = ("rtmp.port=0", "http.port=0", "http.https_port=0", "rtmp.host=127.0.0.1",
                 "http.host=127.0.0.1", f"storage.path={tmp_path}", "webrtc.port=0")  # fmt: skip
    config = load(environ={}, overrides=overrides, directory=tmp_path).config
    decider = CoroutineDecider(mine, actions={Action.PUBLISH})
    server = Server(config, environ={}, deciders=[decider])
    await server.start()
    site = Site(server)
    try:
        assert b"the program refuses" in await refused(site, "cam")
        client = await RtmpClient.connect(site.rtmp_port)
        site.clients.append(client)
        await client.publish("live", "cam?key=open sesame")
        await client.until(b"NetStream.Publish.Start")
    finally:
        for one in site.clients:
            one.close()
        await server.close()
