"""Two whole servers in one loop: the first sends a stream on to the second, over TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from streamserver.config import load
from streamserver.media.track import Kind
from streamserver.net.tls import self_signed_pem
from streamserver.server import Server
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient

TOKEN = "token-of-the-test"
PATH = "api/v1/streams/live/cam/destinations"


@asynccontextmanager
async def running(directory: Path, *more: str, text: str = "") -> AsyncIterator[Server]:
    directory.mkdir(exist_ok=True)
    (directory / "config.toml").write_text(text)
    overrides = (
        "rtmp.port=0", "rtmp.tls_port=0", "webrtc.port=0", "http.port=0", "http.https_port=0",
        "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1", f"storage.path={directory}", f"auth.api_token={TOKEN}", *more,
    )  # fmt: skip
    server = Server(load(environ={}, overrides=overrides, directory=directory).config, environ={})
    await server.start()
    try:
        yield server
    finally:
        await server.drain()
        await server.close()


def port_of(server: Server, name: str) -> int:
    return next(one.port for one in server.facts.listeners if one.name == name)


async def ask(server: Server, method: str, path: str, **more: Any) -> Any:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        http.request(method, f"{server.dashboard_url}{path}", **more) as answer,
    ):
        assert answer.status < 300, await answer.text()
        return await answer.json()


async def publish(server: Server) -> RtmpClient:
    client = await RtmpClient.connect(port_of(server, "rtmp"))
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    for tag in media_factory.tags(media_factory.h264_aac(seconds=4.0).flv):
        client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
    await client.writer.drain()
    return client


async def state_is(server: Server, state: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            [one] = (await ask(server, "GET", PATH))["items"]
            if one["state"] == state:
                return one
            await asyncio.sleep(0.02)


async def test_a_configured_destination_goes_to_another_server_over_tls(tmp_path: Path) -> None:
    certificate, key = self_signed_pem([])
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    far_tls = (f"rtmp.cert_file={tmp_path}/cert.pem", f"rtmp.key_file={tmp_path}/key.pem")
    async with running(tmp_path / "far", *far_tls) as far:
        text = (
            '[[destinations]]\nstream = "live/cam"\nname = "Far"\n'
            f'url = "rtmps://localhost:{port_of(far, "rtmps")}/live/copy?x=secret-query"\n'
            f'[outgoing]\nca_file = "{tmp_path}/cert.pem"\n'
        )
        async with running(tmp_path / "near", text=text) as near:
            before = (await ask(near, "GET", PATH))["items"]
            assert [one["state"] for one in before] == ["idle"]
            client = await publish(near)
            live = await state_is(near, "live")
            assert live["name"] == "Far"
            assert live["bytes_sent"] > 0
            assert "secret" not in str(live)
            [copy] = (await ask(far, "GET", "api/v1/streams"))["items"]
            assert (copy["app"], copy["name"]) == ("live", "copy")
            assert [track["codec"] for track in copy["tracks"]] == ["h264", "aac"]
            await ask_to_stop(near)
            await state_is(near, "idle")
            client.close()


async def ask_to_stop(server: Server) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        http.post(f"{server.dashboard_url}api/v1/streams/live/cam/stop") as answer,
    ):
        assert answer.status == 204


async def test_what_the_api_added_is_there_after_a_restart_and_loops_are_refused(
    tmp_path: Path,
) -> None:
    url = "rtmp://127.0.0.1:9/live/ab12-secret-key"
    async with running(tmp_path / "one") as first:
        added = await ask(first, "POST", PATH, json={"url": url, "name": "Nowhere"})
        own = f"rtmp://localhost:{port_of(first, 'rtmp')}/live/cam"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            http.post(f"{first.dashboard_url}{PATH}", json={"url": own}) as answer,
        ):
            assert answer.status == 409
    async with running(tmp_path / "one") as second:
        client = await publish(second)
        waiting = await state_is(second, "backoff")
        assert (waiting["id"], waiting["name"]) == (added["id"], "Nowhere")
        assert waiting["last_error"]["class"] == "refused"
        assert waiting["next_attempt_at"]
        [stream] = (await ask(second, "GET", "api/v1/streams"))["items"]
        assert [one["id"] for one in stream["destinations"]] == [added["id"]]
        client.close()
