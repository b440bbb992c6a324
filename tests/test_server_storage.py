"""A whole server whose storage cannot be read or written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from streamserver.auth.hashes import make_secret
from streamserver.storage import SqliteStorage
from streamserver.storage.location import DATABASE_NAME
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_client import RtmpClient

TOKEN = {"Authorization": "Bearer token-of-the-test"}


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Another program writes, and does not end."""
    other = sqlite3.connect(directory / DATABASE_NAME, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


async def impatient(site: Site) -> SqliteStorage:
    """Its storage, which does not wait for other programs any more."""
    storage = site.server._storage
    assert isinstance(storage, SqliteStorage)
    await storage._run(lambda db: db.execute("PRAGMA busy_timeout = 0").close())
    return storage


WRITES = (
    ("POST", "streams", {"app": "live", "name": "show"}),
    ("PATCH", "streams/live/kept", {"title": "other"}),
    ("POST", "streams/live/kept/key", None),
    ("DELETE", "streams/live/kept", None),
    ("POST", "streams/live/kept/destinations", {"url": "rtmp://127.0.0.1:1/a/b"}),
    ("PATCH", "settings", {"limits.max_publishers": 5}),
    ("PATCH", "settings/live/*", {"server.reconnect_window_s": 5}),
    ("POST", "webhooks", {"url": "http://127.0.0.1:9/a", "enabled": False}),
    ("PATCH", "webhooks/{webhook}", {"name": "other"}),
    ("DELETE", "webhooks/{webhook}", None),
    ("DELETE", "tokens/{token}", None),
)


async def test_what_cannot_be_kept_is_a_503_has_not_happened_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as site, aiohttp.ClientSession(headers=TOKEN) as http:
        api = f"http://127.0.0.1:{site.http_port}/api/v1/"

        async def ask(method: str, path: str, body: object = None) -> tuple[int, str, Any]:
            async with http.request(method, api + path, json=body) as answer:
                return answer.status, answer.content_type, await answer.json()

        await ask("POST", "streams", {"app": "live", "name": "kept", "title": "kept"})
        hook = {"url": "http://127.0.0.1:9/hook", "enabled": False, "name": "kept"}
        _, _, webhook = await ask("POST", "webhooks", hook)
        _, _, token = await ask("POST", "tokens", {"stream": "*", "actions": ["play"]})
        ids = {"webhook": webhook["id"], "token": token["id"]}
        _, _, settings = await ask("GET", "settings")
        await impatient(site)
        with locked(tmp_path):
            for method, path, body in WRITES:
                status, kind, problem = await ask(method, path.format(**ids), body)
                assert (status, kind) == (503, "application/problem+json"), (method, path)
                assert "another program keeps it locked" in problem["detail"]
            assert (await ask("GET", "settings"))[2] == settings
            _, _, streams = await ask("GET", "streams")
            [kept] = streams["items"]
            assert (kept["title"], kept["destinations"]) == ("kept", [])
            _, _, webhooks = await ask("GET", "webhooks")
            assert [one["name"] for one in webhooks["items"]] == ["kept"]
            # Media asks for reading only.
            await site.publish()
        status, _, _ = await ask("PATCH", "streams/live/kept", {"title": "other"})
        assert status == 200
        # Taken back it was at once; that it is remembered, too, takes a second call.
        async with http.delete(f"{api}tokens/{ids['token']}") as answer:
            assert answer.status == 204


async def test_where_keys_cannot_be_read_publishers_are_refused_with_a_sentence(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as site:
        storage = await impatient(site)
        await storage._run(lambda db: db.execute("DROP TABLE stream_key").close())
        for name in ("cam", make_secret(), "cam?key=wrong"):
            client = await RtmpClient.connect(site.rtmp_port)
            site.clients.append(client)
            await client.publish("live", name)
            await client.until(b"access cannot be checked at the moment")
