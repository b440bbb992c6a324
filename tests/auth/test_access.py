import pytest

from streamserver.auth import make_access
from streamserver.auth.access import API_TOKEN, PUBLISH_KEY
from streamserver.config import AuthConfig, Secret
from streamserver.storage import MemoryStorage
from tests.auth.helpers_auth import api, key, play, publish


async def test_the_first_run_makes_secrets_and_keeps_only_their_hashes() -> None:
    store = MemoryStorage()
    access = await make_access(AuthConfig(), store)
    assert access.publish_key is not None
    assert access.api_token is not None
    for secret in (access.publish_key, access.api_token):
        assert secret.value is not None
        assert secret.value not in repr(secret)
        kept = await store.get_secret_hash(secret.name)
        assert kept == secret.hashed
        assert secret.value not in kept
    assert (await access.decider.decide(publish(access.publish_key.value))).allowed
    assert (await access.decider.decide(api(access.api_token.value, write=True))).allowed


async def test_the_next_run_knows_the_same_secrets_and_cannot_tell_them() -> None:
    store = MemoryStorage()
    first = await make_access(AuthConfig(), store)
    second = await make_access(AuthConfig(), store)
    assert first.publish_key is not None
    assert second.publish_key is not None
    assert second.api_token is not None
    assert second.publish_key.value is None
    assert second.api_token.value is None
    assert (await second.decider.decide(publish(first.publish_key.value))).allowed


async def test_configured_credentials_make_generated_ones_needless() -> None:
    store = MemoryStorage()
    config = AuthConfig(api_token=Secret("t" * 16), keys=(key("0123456789", name="demo"),))
    access = await make_access(config, store)
    assert access.publish_key is None
    assert access.api_token is None
    assert await store.get_secret_hash(PUBLISH_KEY) is None
    assert await store.get_secret_hash(API_TOKEN) is None
    decide = access.decider.decide
    assert (await decide(publish("0123456789"))).decider == "keys"
    assert (await decide(api("t" * 16, write=True))).allowed
    assert not (await decide(publish(local=True))).allowed
    assert not (await decide(publish("wrong", local=True))).allowed
    assert (await decide(play())).allowed


async def test_keys_that_only_play_leave_publishing_to_the_generated_key() -> None:
    access = await make_access(
        AuthConfig(keys=(key("0123456789", "play"),), open_play=False), MemoryStorage()
    )
    assert access.publish_key is not None
    decide = access.decider.decide
    assert (await decide(publish(local=True))).allowed
    assert (await decide(publish(access.publish_key.value))).allowed
    assert (await decide(play("0123456789"))).allowed
    assert not (await decide(play("wrong"))).allowed
    assert (await decide(play())).missing


async def test_anonymous_publishing_is_warned_of_at_each_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStorage()
    for _ in range(2):
        access = await make_access(AuthConfig(anonymous_publish=True), store)
        assert access.publish_key is None
        assert (await access.decider.decide(publish())).allowed
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
