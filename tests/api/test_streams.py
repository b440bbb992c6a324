"""Registered streams through the API."""

from typing import Any

import pytest

from streamserver.auth.hashes import hash_secret
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld, Client
from tests.control.helpers_world import DEMO

STREAMS = "/api/v1/streams"
SHOW = StreamKey("live", "show")
FAR = {"url": "rtmp://far.test/live/one", "name": "far"}


async def ask(client: Client, method: str, path: str, json: Any = None) -> tuple[int, Any]:
    async with client.request(method, path, json=json) as response:
        return response.status, await response.json() if response.status != 204 else None


async def create(client: Client, **more: Any) -> Any:
    status, made = await ask(client, "POST", STREAMS, {"app": "live", "name": "show", **more})
    assert status == 201
    return made


async def test_a_registered_stream_is_idle_and_its_key_is_shown_once() -> None:
    world = ApiWorld()
    async with world.client() as client:
        made = await create(client, title="T", metadata={"a": 1}, record=True, destinations=[FAR])
        key = made.pop("publish_key")
        assert await ask(client, "GET", f"{STREAMS}/live/show") == (200, made)
    assert (made["state"], made["registered"]) == ("idle", True)
    assert (made["title"], made["metadata"], made["record"]) == ("T", {"a": 1}, True)
    assert (made["session_id"], made["started_at"], made["publisher"]) == (None, None, None)
    assert [one["name"] for one in made["destinations"]] == ["far"]
    assert await world.storage.stream_key_hash(SHOW) == hash_secret(key)


async def test_a_stream_is_registered_once() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await create(client)
        status, problem = await ask(client, "POST", STREAMS, {"app": "live", "name": "show"})
    assert (status, problem["detail"]) == (409, "live/show is registered already")


@pytest.mark.parametrize(
    "body",
    [
        {"app": "live"},
        {"app": "live", "name": "a/b"},
        {"app": "live", "name": "x\n"},
        {"app": "api", "name": "x"},
        {"app": "live", "name": "x@720p"},
        {"app": "live", "name": "' OR 1=1 --"},
        {"app": "..", "name": "x"},
        {"app": "live", "name": "aebagbafaydqqcikbmga2dqpcaireeyu"},
        {"app": "live", "name": "x", "key": "chosen"},
        {"app": "live", "name": "x", "title": "t" * 201},
        {"app": "live", "name": "x", "metadata": {"a": "b" * 17_000}},
        {"app": "live", "name": "x", "metadata": []},
        {"app": "live", "name": "x", "destinations": [{"url": "http://far.test/"}]},
    ],
)
async def test_what_cannot_be_registered_is_refused_and_leaves_nothing(body: Any) -> None:
    world = ApiWorld()
    async with world.client() as client:
        status, problem = await ask(client, "POST", STREAMS, body)
    assert status == 400, problem
    assert world.records.all() == []
    assert await world.storage.registered_streams() == []


async def test_nothing_is_registered_when_one_of_its_destinations_cannot_be() -> None:
    world = ApiWorld()
    async with world.client() as client:
        body = {"app": "live", "name": "show", "destinations": [FAR, FAR]}
        status, _ = await ask(client, "POST", STREAMS, body)
    assert status == 409
    assert world.records.all() == []
    assert list(world.destinations.all()) == []
    assert await world.storage.stream_key_hash(SHOW) is None


async def test_json_that_is_nested_without_end_is_refused() -> None:
    world = ApiWorld()
    body = b'{"app":"a","name":"b","metadata":{"x":' + b"[" * 30_000
    async with world.ask(
        "POST", STREAMS, data=body, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 400


async def test_a_change_leaves_what_it_does_not_name() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await create(client, title="T", metadata={"a": 1})
        path = f"{STREAMS}/live/show"
        status, changed = await ask(client, "PATCH", path, {"title": "new", "record": None})
        assert status == 200
        assert (changed["title"], changed["metadata"], changed["record"]) == (
            "new",
            {"a": 1},
            False,
        )
        assert (await ask(client, "PATCH", path, {"metadata": {}}))[1]["metadata"] == {}
        assert (await ask(client, "PATCH", path, {"name": "other"}))[0] == 400
        assert (await ask(client, "PATCH", f"{STREAMS}/live/none", {"title": ""}))[0] == 404


async def test_a_live_stream_shows_what_was_registered_about_it() -> None:
    world = ApiWorld()
    (await world.publish()).run(1)
    async with world.client() as client:
        assert (await ask(client, "PATCH", f"{STREAMS}/live/demo", {"title": "x"}))[0] == 404
        made = await create(client, name="demo", title="T")
    assert (made["state"], made["registered"], made["title"]) == ("live", True, "T")


async def test_the_list_holds_live_and_registered_streams_by_name() -> None:
    world = ApiWorld()
    (await world.publish()).run(1)
    async with world.client() as client:
        await create(client, title="Morgen-SCHAU")
        await create(client, name="anne")

        async def listed(query: str) -> tuple[list[str], int]:
            _, page = await ask(client, "GET", f"{STREAMS}?{query}")
            return [one["name"] for one in page["items"]], page["total"]

        assert await listed("") == (["anne", "demo", "show"], 3)
        assert await listed("state=idle") == (["anne", "show"], 2)
        assert await listed("state=live") == (["demo"], 1)
        assert await listed("search=schau") == (["show"], 1)
        assert await listed("limit=1&offset=1") == (["demo"], 3)
        assert await listed("offset=9") == ([], 3)


async def test_a_registered_stream_has_viewers_and_counts_while_it_is_idle() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await create(client)
        assert (await ask(client, "GET", f"{STREAMS}/live/show/viewers"))[1]["total"] == 0
        assert (await ask(client, "GET", f"{STREAMS}/live/show/viewers/count"))[1]["total"] == 0
        assert (await ask(client, "POST", f"{STREAMS}/live/show/stop"))[0] == 404


async def test_a_new_key_takes_the_place_of_the_old_one() -> None:
    world = ApiWorld()
    async with world.client() as client:
        made = await create(client)
        status, new = await ask(client, "POST", f"{STREAMS}/live/show/key")
        assert (await ask(client, "POST", f"{STREAMS}/live/demo/key"))[0] == 404
    assert (status, new["app"], new["name"]) == (200, "live", "show")
    assert await world.storage.stream_of_key(hash_secret(made["publish_key"])) is None
    assert await world.storage.stream_of_key(hash_secret(new["publish_key"])) == SHOW


async def test_a_stream_is_forgotten_with_its_key_and_destinations_and_its_broadcast_ends() -> None:
    world = ApiWorld()
    (await world.publish()).run(1)
    async with world.client() as client:
        await create(client, name="demo", destinations=[FAR])
        assert (await ask(client, "DELETE", f"{STREAMS}/live/demo"))[0] == 204
        assert (await ask(client, "DELETE", f"{STREAMS}/live/demo"))[0] == 404
    assert world.closed == {"publisher-demo": "stopped through the API"}
    assert world.registry.get(DEMO) is None
    assert list(world.destinations.all()) == []
    assert await world.storage.stream_key_hash(DEMO) is None


async def test_deleting_a_stream_that_is_only_live_ends_it() -> None:
    world = ApiWorld()
    (await world.publish()).run(1)
    async with world.client() as client:
        assert (await ask(client, "DELETE", f"{STREAMS}/live/demo"))[0] == 204
    assert world.registry.get(DEMO) is None
