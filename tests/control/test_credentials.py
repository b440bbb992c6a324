import pytest

from streamserver.auth.hashes import hash_secret
from streamserver.control.credential_models import NewToken, TokenAction
from streamserver.control.credentials import CredentialControl
from streamserver.errors import NotFoundError
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld
from tests.auth.helpers_auth import play, publish
from tests.control.helpers_world import DEMO


def control(world: ApiWorld) -> CredentialControl:
    return CredentialControl(world.access, world.storage, world.ends, world.clock)


async def test_a_token_that_is_taken_back_ends_its_sessions_and_opens_nothing_more() -> None:
    world = ApiWorld()
    made = await control(world).create_token(
        NewToken(stream="live/*", actions=[TokenAction.PLAY], expires_in_s=60)
    )
    decision = await world.access.tokens.decide(play(made.token))
    assert decision is not None
    assert decision.allowed
    world.join("v0")
    session = world.join("v1")
    world.sessions.remove(session)
    session.credential = decision.credential
    world.sessions.add(session)
    await control(world).revoke_token(made.id)
    assert list(world.closed) == ["v1"]
    assert world.access.is_revoked(decision.credential)
    again = await world.access.tokens.decide(play(made.token))
    assert again is not None
    assert not again.allowed
    assert [ident for ident, _ in await world.storage.revoked_tokens(0)] == [made.id]
    with pytest.raises(NotFoundError):
        await control(world).revoke_token("nonsense")


async def test_a_new_key_ends_the_publisher_with_the_old_one() -> None:
    world = ApiWorld()
    first = await control(world).new_stream_key(DEMO)
    decider = world.access.stream_keys
    decision = await decider.decide(publish(first, stream=DEMO))
    assert decision is not None
    session = world.join("p1")
    world.sessions.remove(session)
    session.credential = decision.credential
    world.sessions.add(session)
    second = await control(world).new_stream_key(DEMO)
    assert first != second
    assert list(world.closed) == ["p1"]
    assert await decider.decide(publish(first, stream=DEMO)) is None
    assert await decider.resolve(DEMO.app, second) == (DEMO, second)
    assert await world.storage.stream_key_hash(DEMO) == hash_secret(second)
    await control(world).remove_stream_key(DEMO)
    await control(world).remove_stream_key(StreamKey("live", "none"))
    assert await decider.resolve(DEMO.app, second) is None


async def test_bans_are_listed_and_lifted() -> None:
    world = ApiWorld()
    for _ in range(30):
        world.access.bans.failed("2001:db8::1")
    page = await control(world).bans()
    [ban] = page.items
    assert (page.total, ban.address, ban.failures) == (1, "2001:db8::/64", 30)
    assert ban.until.endswith("Z")
    await control(world).lift_bans("198.51.100.1")
    await control(world).lift_bans("2001:db8::/64")
    assert (await control(world).bans()).total == 0
