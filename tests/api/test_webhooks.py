"""Webhooks through the API."""

from dataclasses import replace

import pytest

from streamserver.events import EventType
from streamserver.webhooks.manager import ConfiguredWebhook
from tests.api.helpers_api import ApiWorld
from tests.control.helpers_world import DEMO

URL = "http://user:pw@far.test/hook?token=abc"


async def test_a_webhook_is_made_shown_changed_and_removed() -> None:
    world = ApiWorld()
    async with world.client() as client:
        new = {"url": URL, "name": "mine", "events": ["stream.*"], "streams": ["live/*"]}
        async with client.post("/api/v1/webhooks", json=new) as response:
            assert response.status == 201
            made = await response.json()
        assert made["url"] == "http://****@far.test/hook?****"
        assert made["secret"].startswith("whsec_")
        path = f"/api/v1/webhooks/{made['id']}"
        async with client.get(path) as response:
            shown = await response.json()
        assert shown == {**made, "secret": None}
        assert (shown["signed"], shown["state"]) == (True, "idle")
        change = {"enabled": False, "events": ["*"], "secret": "another-secret-of-mine"}
        async with client.patch(path, json=change) as response:
            changed = await response.json()
        assert (changed["state"], changed["events"]) == ("disabled", ["*"])
        assert changed["secret"] == "another-secret-of-mine"
        async with client.get("/api/v1/webhooks") as response:
            page = await response.json()
        assert (page["total"], page["items"][0]["name"]) == (1, "mine")
        assert "pw" not in str(page)
        assert "abc" not in str(page)
        async with client.delete(path) as response:
            assert response.status == 204
        for method in ("GET", "DELETE"):
            async with client.request(method, path) as response:
                assert response.status == 404
    await world.webhooks.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "ftp://x/"},
        {"url": "http://x/", "events": []},
        {"url": "http://x/", "events": ["nothing"]},
        {"url": "http://x/", "streams": ["a/b/c"]},
        {"url": "http://x/", "secret": "short"},
        {"url": "http://x/", "secret": "whsec_" + "!" * 20},
        {"url": "http://x/", "timeout_s": 0},
        {"url": "http://x/", "timeout_s": 61},
        {"url": "http://x/", "surprise": 1},
    ],
)
async def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    world = ApiWorld()
    async with world.ask("POST", "/api/v1/webhooks", json=wrong) as response:
        assert response.status == 400
    assert world.webhooks.all() == []


async def test_a_change_that_cannot_be_changes_nothing() -> None:
    world = ApiWorld()
    ident = ""
    async with world.client() as client:
        for url in ("http://one.test/", "http://two.test/"):
            async with client.post("/api/v1/webhooks", json={"url": url}) as response:
                assert response.status == 201
                ident = (await response.json())["id"]
        async with client.post("/api/v1/webhooks", json={"url": "http://two.test/"}) as response:
            assert response.status == 409
        path = f"/api/v1/webhooks/{ident}"
        for status, change in (
            (409, {"url": "http://one.test/"}),
            (400, {"events": ["nothing"]}),
            (400, {"enabled": False, "streams": ["x"]}),
        ):
            async with client.patch(path, json=change) as response:
                assert response.status == status
        async with client.get(path) as response:
            shown = await response.json()
        assert (shown["url"], shown["enabled"], shown["events"]) == (
            "http://two.test/",
            True,
            ["*"],
        )
    await world.webhooks.close()


async def test_deliveries_are_shown_newest_first() -> None:
    world = ApiWorld()
    await world.webhooks.load([replace(ConfiguredWebhook("http://far.test/x"), enabled=True)])
    [endpoint] = world.webhooks.all()
    async with world.client() as client:
        for _ in range(3):
            world.events.emit(EventType.STREAM_STARTED, {}, DEMO)
        world.webhooks._read_log()
        path = f"/api/v1/webhooks/{endpoint.spec.id}"
        async with client.get(f"{path}/deliveries?limit=2") as response:
            page = await response.json()
        assert page["total"] == 3
        assert [one["event_id"] for one in page["items"]] == ["1-3", "1-2"]
        newest = page["items"][0]
        assert (newest["state"], newest["stream"], newest["type"], newest["attempts"]) == (
            "pending", "live/demo", "stream.started", 0
        )  # fmt: skip
        async with client.delete(path) as response:
            assert response.status == 409
    await world.webhooks.close()
