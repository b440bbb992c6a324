import pytest

from streamserver.auth import DefaultPolicy
from streamserver.auth.hashes import hash_secret, make_secret
from streamserver.auth.stream_keys import StreamKeyDecider, looks_like_secret, stream_key_tag
from streamserver.names import StreamKey
from streamserver.storage import MemoryStorage
from tests.auth.helpers_auth import LIVE_DEMO, play, publish

SECRET = "abcdefghijklmnopqrstuvwxyz234567"


@pytest.fixture
async def decider() -> StreamKeyDecider:
    storage = MemoryStorage()
    await storage.set_stream_key(LIVE_DEMO, hash_secret(SECRET))
    return StreamKeyDecider(storage)


def test_what_the_server_makes_looks_like_a_secret() -> None:
    assert looks_like_secret(make_secret())
    assert not looks_like_secret("demo")
    assert not looks_like_secret(SECRET + "a")


async def test_a_streams_key_publishes_that_stream_and_no_other(decider: StreamKeyDecider) -> None:
    decision = await decider.decide(publish(SECRET))
    assert decision is not None
    assert decision.allowed
    assert decision.credential == stream_key_tag(hash_secret(SECRET))
    other = StreamKey("live", "other")
    assert await decider.decide(publish(SECRET, stream=other)) is None
    assert await decider.decide(play(SECRET)) is None
    assert await decider.decide(publish("wrong")) is None


@pytest.mark.parametrize(
    ("app", "name", "found"),
    [
        ("live", SECRET, True),
        (SECRET, "default", True),
        ("other", SECRET, False),
        (SECRET, "demo", False),
        ("live", "demo", False),
        ("live", "a" * 32, False),
        ("' OR 1=1 --", SECRET, False),
    ],
)
async def test_the_key_alone_tells_its_stream(
    decider: StreamKeyDecider, app: str, name: str, found: bool
) -> None:
    expected = (LIVE_DEMO, SECRET) if found else None
    assert await decider.resolve(app, name) == expected


async def test_a_stream_with_a_key_of_its_own_is_not_open_to_anyone(
    decider: StreamKeyDecider,
) -> None:
    policy = DefaultPolicy(api_hash="", anonymous_publish=True, needs_key=decider.needs_key)
    refused = await policy.decide(publish(local=True))
    assert (refused.allowed, refused.missing) == (False, True)
    other = StreamKey("live", "other")
    assert (await policy.decide(publish(local=True, stream=other))).allowed
