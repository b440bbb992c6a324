"""Settings through the API, and a new look at the configuration."""

from pathlib import Path
from typing import Any

from streamserver.config import load
from streamserver.control.live_settings import LiveSettings
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld, Client

SHOW = StreamKey("live", "show")
WINDOW = "server.reconnect_window_s"


async def ask(client: Client, method: str, path: str, json: Any = None) -> tuple[int, Any]:
    async with client.request(method, f"/api/v1/{path}", json=json) as response:
        return response.status, await response.json()


def of(answer: Any, key: str) -> tuple[Any, str, str]:
    [found] = [one for one in answer["items"] if one["key"] == key]
    return found["value"], found["source"], found["where"]


async def test_each_value_tells_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[limits]\nmax_publishers = 7\n")
    world = ApiWorld()
    environ = {"STREAMSERVER_LOG__LEVEL": "warning"}
    flags = ["http.public_viewer_count=true"]
    world.live_settings.loaded = load(environ=environ, overrides=flags, directory=tmp_path)
    async with world.client() as client:
        _, shown = await ask(client, "GET", "settings")
        assert shown["pattern"] == "*"
        file = f"{tmp_path / 'config.toml'}:2"
        assert of(shown, "limits.max_publishers") == (7, "file", file)
        assert of(shown, "log.level") == ("warning", "environment", "STREAMSERVER_LOG__LEVEL")
        assert of(shown, "http.public_viewer_count") == (True, "flag", "--set")
        assert of(shown, WINDOW) == (15, "default", "")
        _, changed = await ask(client, "PATCH", "settings", {"limits.max_publishers": 9})
        assert of(changed, "limits.max_publishers") == (9, "api", "*")
        _, back = await ask(client, "PATCH", "settings", {"limits.max_publishers": None})
        assert of(back, "limits.max_publishers") == (7, "file", file)


async def test_a_stream_comes_before_its_app_and_that_before_the_server() -> None:
    world = ApiWorld()
    live = world.live_settings
    async with world.client() as client:
        for path, seconds in (("settings", 1), ("settings/live/*", 2), ("settings/live/show", 3)):
            assert (await ask(client, "PATCH", path, {WINDOW: seconds}))[0] == 200
        _, shown = await ask(client, "GET", "settings/live/other")
        assert of(shown, WINDOW) == (2, "api", "live/*")
    assert live.reconnect_window_ms(SHOW) == 3000
    assert live.reconnect_window_ms(StreamKey("live", "other")) == 2000
    assert live.reconnect_window_ms(StreamKey("x", "show")) == 1000


async def test_what_was_set_is_there_after_a_restart() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await ask(client, "PATCH", "settings/live/show", {WINDOW: 0.5})
    again = LiveSettings(world.live_settings.loaded, world.storage)
    await again.load()
    assert again.reconnect_window_ms(SHOW) == 500


async def test_what_cannot_be_set_is_refused_and_changes_nothing() -> None:
    world = ApiWorld()
    async with world.client() as client:
        for path, body in [
            ("settings", {"rtmp.port": 1}),
            ("settings", {WINDOW: -1}),
            ("settings", {"log.level": "loud"}),
            ("settings", {"limits.max_connections": 1}),
            ("settings", {"limits.connections_per_address": 2}),
            ("settings/live/*", {"log.level": "debug"}),
            ("settings/api/*", {WINDOW: 1}),
            ("settings/*/*", {WINDOW: 1}),
            ("settings/live/a..*", {WINDOW: 1}),
        ]:
            assert (await ask(client, "PATCH", path, body))[0] == 400, path
    assert await world.storage.get("settings") is None


async def test_a_reload_takes_over_what_can_be_and_names_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[auth]\nkeys = [{key = "the-first-key"}]\n')
    world = ApiWorld()
    world.live_settings.loaded = load(file)
    async with world.client() as client:
        file.write_text(
            '[auth]\nkeys = [{key = "the-second-key"}]\n'
            "[rtmp]\nport = 1940\n[limits]\nmax_publishers = 3\n"
        )
        status, found = await ask(client, "POST", "server/reload")
        assert (status, found["needs_restart"]) == (200, ["rtmp.port"])
        assert sorted(found["changed"]) == ["auth.keys", "limits.max_publishers"]
        assert world.live_settings.max_publishers == 3
        assert world.access.publish_passwords == ("the-second-key",)
        assert world.certificates_reloaded.is_set()

        file.write_text("[rtmp]\nprot = 1\n")
        status, problem = await ask(client, "POST", "server/reload")
        assert status == 409
        assert "prot" in problem["detail"]
        assert world.live_settings.max_publishers == 3
