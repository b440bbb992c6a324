"""Destinations through the API."""

import pytest

from streamserver.outputs.destinations.failures import ErrorClass, Failure
from streamserver.storage import StorageError
from tests.api.helpers_api import ApiWorld

PATH = "/api/v1/streams/live/demo/destinations"
URL = "rtmps://a.far.test/live2/ab12-secret-key?s_bl=1&s_psm=1"

FIELDS = [
    "id", "name", "url", "enabled", "state", "since", "bytes_sent", "bit_rate", "queued_ms",
    "dropped_frames", "reconnects", "last_error", "next_attempt_at", "rtt_ms",
]  # fmt: skip


async def add(client, url=URL, **more):
    async with client.post(PATH, json={"url": url, **more}) as response:
        assert response.status == 201, await response.text()
        return await response.json()


async def test_a_destination_has_the_fields_of_the_interface_and_no_secret():
    world = ApiWorld()
    async with world.client() as client:
        added = await add(client, name="Far")
        assert list(added) == FIELDS
        assert added["state"] == "idle"
        assert added["name"] == "Far"
        async with client.get(PATH) as response:
            text = await response.text()
        assert added["id"] in text
        assert "secret" not in text
        assert "s_psm" not in text
    assert next(world.destinations.all()).target.key == "ab12-secret-key?s_bl=1&s_psm=1"


async def test_one_is_added_before_its_stream_and_shown_with_it():
    world = ApiWorld()
    async with world.client() as client:
        await add(client)
        publication = await world.publish()
        publication.run(1)
        async with client.get(f"{PATH}") as response:
            assert (await response.json())["total"] == 1
        async with client.get("/api/v1/streams/live/demo") as response:
            [shown] = (await response.json())["destinations"]
        assert shown["state"] == "live"
        assert shown["rtt_ms"] == 12.345
        publication.lease.release("over", final=True)
    await world.destinations.close()


async def test_pausing_resuming_and_renaming():
    async with ApiWorld().client() as client:
        one = f"{PATH}/{(await add(client))['id']}"
        async with client.patch(one, json={"enabled": False, "name": "Later"}) as response:
            paused = await response.json()
        assert (paused["state"], paused["enabled"], paused["name"]) == ("disabled", False, "Later")
        async with client.post(f"{one}/retry") as response:
            assert response.status == 409
        async with client.patch(one, json={"enabled": True}) as response:
            resumed = await response.json()
        assert (resumed["state"], resumed["name"]) == ("idle", "Later")
        async with client.post(f"{one}/retry") as response:
            assert response.status == 200
        async with client.delete(one) as response:
            assert response.status == 204
        async with client.get(one) as response:
            assert response.status == 404


async def test_the_last_error_has_class_message_and_time():
    world = ApiWorld()
    async with world.client() as client:
        await add(client)
        one = next(world.destinations.all())
        one.last_error = Failure(ErrorClass.TLS, "its certificate is not valid", 0)
        async with client.get(PATH) as response:
            [shown] = (await response.json())["items"]
        assert shown["last_error"] == {
            "class": "tls",
            "message": "its certificate is not valid",
            "at": "1970-01-01T00:00:00.000Z",
        }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"url": 5}, 400),
        ({"url": URL, "enable": True}, 400),
        ({"url": "http://far.test/live/key"}, 400),
        ({"url": "rtmp://far.test/live"}, 400),
        ({"url": "rtmp://localhost/live/demo"}, 409),
    ],
)
async def test_what_cannot_be_is_refused_with_a_sentence(body, status):
    async with ApiWorld().ask("POST", PATH, json=body) as response:
        assert response.status == status
        assert (await response.json())["detail"]


async def test_a_duplicate_and_one_too_many_are_refused():
    async with ApiWorld().client() as client:
        for index in range(32):
            await add(client, f"rtmp://far.test/live/key-{index}", enabled=False)
        async with client.post(PATH, json={"url": "rtmp://far.test/live/key-1"}) as response:
            assert response.status == 409
        async with client.post(PATH, json={"url": "rtmp://far.test/live/more"}) as response:
            assert response.status == 409


async def test_no_error_repeats_what_was_sent():
    async with ApiWorld().client() as client:
        for body in ({"url": ["rtmp://x/live/secret"]}, {"url": "rtmp//x/live/secret"}):
            async with client.post(PATH, json=body) as response:
                assert response.status == 400
                assert "secret" not in await response.text()
        async with client.post(
            PATH, data=b"{secret", headers={"Content-Type": "application/json"}
        ) as response:
            assert response.status == 400
            assert "secret" not in await response.text()


async def test_a_form_cannot_add_one():
    async with ApiWorld().ask("POST", PATH, data={"url": URL}) as response:
        assert response.status == 415


async def test_a_storage_that_cannot_keep_it_is_a_503_and_nothing_is_added(monkeypatch, caplog):
    world = ApiWorld()

    async def fail(key, value):
        raise StorageError("/var/lib/streamserver.db: the disk is full")

    async with world.client() as client:
        monkeypatch.setattr(world.destinations._storage, "set", fail)
        async with client.post(PATH, json={"url": URL}) as response:
            assert response.status == 503
            assert response.content_type == "application/problem+json"
            problem = await response.json()
        assert "the disk is full" in problem["detail"]
        async with client.get(PATH) as response:
            assert (await response.json())["total"] == 0
    assert "the disk is full" in caplog.text
    assert "secret" not in caplog.text
