"""The table of the public interface, chapter "Access", row by row."""

from typing import Any

import pytest

from streamserver.auth import AccessRequest, Action, DefaultPolicy
from streamserver.auth.hashes import hash_secret
from tests.auth.helpers_auth import api, play, publish, request

TOKEN, KEY = "t" * 32, "k" * 32


def policy(**changes: Any) -> DefaultPolicy:
    values: dict[str, Any] = {
        "api_hash": hash_secret(TOKEN),
        "publish_hash": hash_secret(KEY),
        **changes,
    }
    return DefaultPolicy(**values)


CONFIGURED = policy(publish_hash=None, decided={Action.PUBLISH, Action.PLAY})
ANONYMOUS = policy(publish_hash=None, anonymous_publish=True)
CLOSED = policy(open_play=False)

ALLOWED = [
    (policy(), publish(local=True)),
    (policy(), publish(KEY)),
    (policy(), publish(KEY, local=True)),
    (policy(), publish(password=KEY)),
    (policy(), publish(token=KEY)),
    (policy(), play()),
    (policy(), play("some cache buster")),
    (policy(), api(local=True)),
    (policy(), api(TOKEN)),
    (policy(), api(TOKEN, write=True)),
    (policy(), api(password=TOKEN)),
    (policy(), request(Action.METRICS, local=True)),
    (policy(), request(Action.METRICS, token=TOKEN)),
    (CONFIGURED, play()),
    (ANONYMOUS, publish()),
    (ANONYMOUS, publish("nobody knows any key")),
]

MISSING = [
    (policy(), publish()),
    (policy(), api()),
    (policy(), api(local=True, write=True)),
    (policy(), api(query={"token": TOKEN}, write=True)),
    (policy(), request(Action.METRICS)),
    (CONFIGURED, publish()),
    (CONFIGURED, publish(local=True)),
    (CLOSED, play()),
    (CLOSED, play(local=True)),
]

WRONG = [
    (policy(), publish("wrong")),
    (policy(), publish("wrong", local=True)),
    (policy(), publish(TOKEN, local=True)),
    (policy(), api("wrong")),
    (policy(), api("wrong", local=True)),
    (policy(), api(KEY, local=True)),
    (policy(), request(Action.METRICS, token="wrong", local=True)),
    (CONFIGURED, publish("wrong", local=True)),
    (CONFIGURED, publish(KEY)),
    (CONFIGURED, play("wrong")),
    (
        policy(publish_hash=None, anonymous_publish=True, decided={Action.PUBLISH}),
        publish("wrong"),
    ),
]


@pytest.mark.parametrize(("decider", "asked"), ALLOWED)
async def test_what_the_defaults_allow(decider: DefaultPolicy, asked: AccessRequest) -> None:
    assert (await decider.decide(asked)).allowed


@pytest.mark.parametrize(("decider", "asked"), MISSING)
async def test_what_needs_a_credential_asks_for_one(
    decider: DefaultPolicy, asked: AccessRequest
) -> None:
    decision = await decider.decide(asked)
    assert (decision.allowed, decision.missing) == (False, True)


@pytest.mark.parametrize(("decider", "asked"), WRONG)
async def test_a_wrong_credential_is_refused_from_anywhere(
    decider: DefaultPolicy, asked: AccessRequest
) -> None:
    decision = await decider.decide(asked)
    assert (decision.allowed, decision.missing) == (False, False)


@pytest.mark.parametrize("asked", [publish("sec" * 9), api("sec" * 9)])
async def test_no_reason_shows_a_credential(asked: AccessRequest) -> None:
    assert "secsec" not in repr(await policy().decide(asked))
