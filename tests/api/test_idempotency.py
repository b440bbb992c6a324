"""Requests that are sent twice."""

import asyncio
from typing import Any

import pytest

from streamserver.storage import StorageError
from tests.api.helpers_api import ApiWorld, Client
from tests.control.helpers_world import SECOND_NS

STREAMS = "/api/v1/streams"
SHOW = {"app": "live", "name": "show"}
DAY_NS = 24 * 3600 * SECOND_NS


async def post(
    client: Client, body: Any = SHOW, *, path: str = STREAMS, key: str = "k1", token: str = "t"
) -> tuple[int, Any, bool]:
    headers = {"Idempotency-Key": key, "Authorization": f"Bearer {token}"}
    async with client.post(path, json=body, headers=headers) as response:
        return response.status, await response.json(), "Idempotent-Replayed" in response.headers


async def test_the_same_request_with_the_same_key_gets_the_same_answer() -> None:
    world = ApiWorld()
    async with world.client() as client:
        first = await post(client)
        assert first[0] == 201
        # Another spelling of the same.
        again = await post(client, {"name": "show", "app": "live", "title": ""})
        assert again == (201, first[1], True)
        assert (await post(client, key="k2"))[0] == 409


async def test_each_kind_of_creation_takes_a_key_and_so_does_a_rotation() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await post(client)
        for path, body in [
            (f"{STREAMS}/live/show/destinations", {"url": "rtmp://far.test/live/x"}),
            ("/api/v1/tokens", {"stream": "*", "actions": ["play"]}),
            ("/api/v1/webhooks", {"url": "http://far.test/hook"}),
            (f"{STREAMS}/live/show/key", None),
        ]:
            first = await post(client, body, path=path, key=path)
            again = await post(client, body, path=path, key=path)
            assert again == (first[0], first[1], True)
            assert first[0] < 300
            assert not first[2]


async def test_a_key_is_for_one_request() -> None:
    async with ApiWorld().client() as client:
        await post(client)
        status, problem, _ = await post(client, {"app": "live", "name": "other"})
        assert (status, problem["title"]) == (422, "Unprocessable Entity")
        assert (await post(client, {}, path=f"{STREAMS}/live/show/key"))[0] == 422


async def test_callers_with_different_credentials_do_not_share_keys() -> None:
    async with ApiWorld().client() as client:
        await post(client)
        assert (await post(client, token="other"))[0] == 409


async def test_an_answer_is_forgotten_after_a_day() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await post(client)
        world.clock.now_ns += DAY_NS
        assert (await post(client))[0] == 409


async def test_a_refusal_is_not_remembered() -> None:
    async with ApiWorld().client() as client:
        assert (await post(client, {"app": "api", "name": "x"}))[0] == 400
        assert (await post(client))[0] == 201


async def test_what_is_kept_of_an_answer_does_not_tell_its_secret() -> None:
    world = ApiWorld()
    async with world.client() as client:
        _, made, _ = await post(client)
    [kept] = world.storage._answers.values()
    assert made["publish_key"].encode() not in kept.body
    assert b"live" not in kept.body


async def test_the_second_of_two_at_once_is_told_so() -> None:
    world = ApiWorld()
    async with world.client() as client:
        answers = await asyncio.gather(*(post(client) for _ in range(5)))
    statuses = sorted(status for status, _, _ in answers)
    assert 201 in statuses
    assert set(statuses) <= {201, 409}
    assert len(world.records.all()) == 1


@pytest.mark.parametrize("key", ["", "a b", "ä", "k" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(key: str) -> None:
    async with ApiWorld().client() as client:
        assert (await post(client, key=key))[0] == 400


async def test_what_was_made_is_answered_even_when_the_answer_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ApiWorld()

    async def full(*arguments: object, **more: object) -> None:
        raise StorageError("disk is full")

    monkeypatch.setattr(world.storage, "keep_answer", full)
    async with world.client() as client:
        assert (await post(client))[0] == 201


async def test_an_answer_that_was_tampered_with_is_not_given() -> None:
    world = ApiWorld()
    async with world.client() as client:
        await post(client)
        [kept] = world.storage._answers.values()
        object.__setattr__(kept, "body", kept.body[:-1] + b"x")
        assert (await post(client))[0] == 503
