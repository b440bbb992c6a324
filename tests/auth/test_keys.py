import asyncio

import pytest

from streamserver.auth import AccessRequest, Action, StaticKeys
from streamserver.auth.hashes import ScryptHash, hash_password, hash_secret
from streamserver.names import StreamKey
from tests.auth.helpers_auth import api, key, play, publish, request


async def allows(keys: StaticKeys, asked: AccessRequest) -> bool:
    decision = await keys.decide(asked)
    assert decision is None or decision.allowed
    return decision is not None


async def test_a_plain_key_opens_what_it_covers() -> None:
    keys = StaticKeys([key("0123456789")])
    assert await allows(keys, publish("0123456789"))
    assert not await allows(keys, publish("0123456788"))
    assert not await allows(keys, publish())


async def test_a_key_given_as_a_hash_opens_to_the_key_and_not_to_the_hash() -> None:
    hashed = hash_secret("0123456789")
    keys = StaticKeys([key(hashed)])
    assert await allows(keys, publish("0123456789"))
    assert not await allows(keys, publish(hashed))


async def test_a_key_opens_only_its_actions() -> None:
    keys = StaticKeys([key("0123456789", "play", "api")])
    assert keys.actions == {Action.PLAY, Action.API}
    assert await allows(keys, play("0123456789"))
    assert await allows(keys, api("0123456789"))
    assert not await allows(keys, publish("0123456789"))
    assert not await allows(keys, request(Action.METRICS, token="0123456789"))


@pytest.mark.parametrize(
    ("app", "name", "stream", "covered"),
    [
        ("live", "demo", "live/demo", True),
        ("live", "*", "live/other", True),
        ("live", "cam-*", "live/cam-1", True),
        ("live", "cam-*", "live/camera", False),
        ("live", "demo", "live/demo@720p", True),
        ("live", "demo", "live/Demo", False),
        ("*", "demo", "other/demo", True),
        ("live", "demo", "live/demo2", False),
        ("liv", "demo", "live/demo", False),
    ],
)
async def test_a_key_opens_the_streams_that_its_patterns_cover(
    app: str, name: str, stream: str, covered: bool
) -> None:
    keys = StaticKeys([key("0123456789", app=app, name=name)])
    asked = publish("0123456789", stream=StreamKey.parse(stream))
    assert await allows(keys, asked) is covered


async def test_the_server_as_a_whole_is_for_keys_bound_to_no_stream() -> None:
    assert not await allows(StaticKeys([key("0123456789", "api", app="live")]), api("0123456789"))
    assert await allows(StaticKeys([key("0123456789", "api")]), api("0123456789"))


async def test_any_of_several_keys_and_any_of_several_credentials_will_do() -> None:
    keys = StaticKeys([key("0123456789"), key("abcdefghij")])
    assert await allows(keys, publish("abcdefghij"))
    assert await allows(keys, publish("wrong", password="0123456789"))


async def test_a_slow_hash_is_checked_once_and_then_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = StaticKeys([key(hash_password("correct horse", log2_n=4), name="demo")])
    checked: list[str] = []
    verify = ScryptHash.verify

    def counting(self: ScryptHash, password: str) -> bool:
        checked.append(password)
        return verify(self, password)

    monkeypatch.setattr(ScryptHash, "verify", counting)
    assert not await allows(keys, publish("correct horse", stream=StreamKey("live", "other")))
    assert checked == []
    assert not await allows(keys, publish("wrong horse"))
    assert await allows(keys, publish("correct horse"))
    assert await allows(keys, publish("correct horse"))
    assert not await allows(keys, publish("wrong horse"))
    assert checked == ["wrong horse", "correct horse"]


async def test_slow_hashes_are_computed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = StaticKeys([key(hash_password("correct horse", log2_n=4))])
    running: list[int] = [0, 0]

    async def to_thread(function: object, password: str) -> bool:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0)
        running[0] -= 1
        return False

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    await asyncio.gather(*(allows(keys, publish(f"wrong {number}")) for number in range(5)))
    assert running == [0, 1]


def test_no_rendering_of_the_keys_shows_them() -> None:
    assert "0123456789" not in repr(StaticKeys([key("0123456789")])._keys)
