"""A whole server that takes over another configuration while it runs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient

TOKEN = {"Authorization": "Bearer token-of-the-test"}
DESTINATIONS = "streams/live/cam/destinations"


class Remote:
    """The API of a site, and its configuration file."""

    def __init__(self, site: Site, file: Path, http: aiohttp.ClientSession) -> None:
        self.site, self.file, self.http = site, file, http

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.site.http_port}/api/v1/{path}"
        async with self.http.request(method, url, json=body) as answer:
            return answer.status, await answer.json()

    async def reload(self, text: str) -> tuple[int, Any]:
        self.file.write_text(text)
        return await self.ask("POST", "server/reload")

    async def names(self, path: str) -> list[tuple[str, str]]:
        _, page = await self.ask("GET", path)
        return [(one["name"], one["state"]) for one in page["items"]]


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    async with running(tmp_path) as site, aiohttp.ClientSession(headers=TOKEN) as http:
        yield Remote(site, tmp_path / "config.toml", http)


async def refused_with(site: Site, key: str, words: bytes, app: str = "live") -> None:
    client = await RtmpClient.connect(site.rtmp_port)
    site.clients.append(client)
    await client.publish(app, key)
    await client.until(words)


def webhook(path: str, name: str) -> str:
    return f'[[webhooks]]\nurl = "http://127.0.0.1:9/{path}"\nname = "{name}"\n'


def destination(key: str, name: str) -> str:
    return (
        f'[[destinations]]\nstream = "live/cam"\nname = "{name}"\nenabled = false\n'
        f'url = "rtmp://127.0.0.1:9/live/{key}"\n'
    )


async def test_webhooks_come_change_and_go(remote: Remote) -> None:
    status, found = await remote.reload(webhook("a", "first") + webhook("b", "second"))
    assert (status, found) == (200, {"changed": ["webhooks"], "needs_restart": []})
    assert [name for name, _ in await remote.names("webhooks")] == ["first", "second"]
    _, page = await remote.ask("GET", "webhooks")
    paused = page["items"][1]["id"]
    assert (await remote.ask("PATCH", f"webhooks/{paused}", {"enabled": False}))[0] == 200
    await remote.reload(webhook("a", "renamed") + webhook("b", "second") + webhook("c", "third"))
    found = dict(await remote.names("webhooks"))
    assert list(found) == ["renamed", "second", "third"]
    # What the file says as before does not undo what the API was told since.
    assert found["second"] == "disabled"
    await remote.reload(webhook("c", "third"))
    assert [name for name, _ in await remote.names("webhooks")] == ["third"]


async def test_destinations_come_change_and_go(remote: Remote) -> None:
    await remote.site.publish()
    own = {"url": "rtmp://127.0.0.1:9/live/own", "name": "own", "enabled": False}
    assert (await remote.ask("POST", DESTINATIONS, own))[0] == 201
    await remote.reload(destination("a", "first") + destination("b", "second"))
    assert [one for one, _ in await remote.names(DESTINATIONS)] == ["own", "first", "second"]
    text = destination("b", "renamed").replace("enabled = false\n", "")
    await remote.reload(text)
    found = dict(await remote.names(DESTINATIONS))
    assert list(found) == ["own", "renamed"]
    # Its stream is live: it begins at once.
    assert found["renamed"] in ("connecting", "backoff")
    await remote.reload("")
    assert await remote.names(DESTINATIONS) == [("own", "disabled")]


@pytest.mark.parametrize(
    "text",
    [
        webhook("a", "first") + destination("a", "first") + destination("a", "twice"),
        webhook("a", "first") + webhook("b", "other").replace("http:", "ftp:"),
        webhook("a", "first") + "[server]\napps = ['a/b']\n",
        webhook("a", "first") + "[auth.jwt]\nsecret_file = '/nowhere'\n",
    ],
)
async def test_a_fault_anywhere_changes_nothing(remote: Remote, text: str) -> None:
    status, problem = await remote.reload(text)
    assert status == 409
    assert "nothing was changed" in problem["detail"]
    assert await remote.names("webhooks") == []
    assert await remote.names(DESTINATIONS) == []


async def test_apps_limits_and_bans_hold_at_once_and_sizes_are_named(remote: Remote) -> None:
    status, found = await remote.reload(
        "[server]\napps = ['studio']\n[auth]\nban_after = 3\n"
        "[limits]\nmax_publishers = 1\nviewers_per_stream = 1\nlog_max_ms = 9000\n"
    )
    assert status == 200
    assert sorted(found["changed"]) == [
        "auth.ban_after", "limits.max_publishers", "limits.viewers_per_stream", "server.apps",
    ]  # fmt: skip
    assert found["needs_restart"] == ["limits.log_max_ms"]
    await refused_with(remote.site, "cam", b"there is no such app; this server has studio")
    status, problem = await remote.ask("POST", "streams", {"app": "live", "name": "x"})
    assert (status, "this server has studio" in problem["detail"]) == (400, True)
    assert remote.site.server.access is not None
    assert remote.site.server.access.bans.settings.after == 3


async def test_what_the_api_says_of_limits_stays_above_the_file(remote: Remote) -> None:
    await remote.site.publish()
    player = await remote.site.play()
    await remote.site.until_viewers(1)
    status, _ = await remote.ask("PATCH", "settings", {"limits.viewers_per_stream": 1})
    assert status == 200
    other = await remote.site.play()
    await other.until("NetConnection.Connect.Rejected")
    await remote.reload("[limits]\nviewers_per_stream = 7\n")
    assert remote.site.hub.limits.settings.viewers_per_stream == 1
    await remote.ask("PATCH", "settings", {"limits.viewers_per_stream": None})
    assert remote.site.hub.limits.settings.viewers_per_stream == 7
    player.close()


async def test_bounds_of_connections_hold_for_all_doors(remote: Remote) -> None:
    change = {
        "limits.connections_per_address": 70,
        "limits.bytes_before_auth": 65536,
        "auth.ban_s": 10.5,
    }
    status, shown = await remote.ask("PATCH", "settings", change)
    assert status == 200
    assert {one["key"]: one["value"] for one in shown["items"]}.items() >= change.items()
    server = remote.site.server
    assert server.doors.rtmp[0].settings.max_connections_per_address == 70
    assert server.doors.rtmp[0].settings.session.max_held_bytes == 65536
    assert server.doors.http[0].front_settings.max_connections_per_address == 70
    assert server.doors.webrtc is not None
    assert server.doors.webrtc.resources.max_per_address == 70
    assert server.access is not None
    assert server.access.bans.settings.ban_ns == 10_500_000_000


async def test_viewers_of_hls_from_one_address_are_bounded_at_once(remote: Remote) -> None:
    await remote.site.publish("cam", media_factory.h264_aac(seconds=4.0))
    base = f"http://127.0.0.1:{remote.site.http_port}/hls/live/cam/"
    change = {"limits.hls_sessions_per_address": 1}
    assert (await remote.ask("PATCH", "settings", change))[0] == 200
    statuses = []
    for _ in range(2):
        async with remote.http.get(base + "index.m3u8") as answer:
            lines = (await answer.text()).splitlines()
        playlist = next(line for line in lines if line.startswith("s/"))
        async with remote.http.get(base + playlist) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 503]
