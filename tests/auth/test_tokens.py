import base64
import json
from typing import Any

import jwt
import pytest

from streamserver.auth import Decision
from streamserver.auth.rights import Right, StreamPattern
from streamserver.auth.tags import credential_tag
from streamserver.auth.tokens import OwnTokens
from tests.auth.helpers_auth import LIVE_DEMO, api, play, publish, request
from tests.fakes import FakeClock

SECRET = b"s" * 32


DEEP = base64.urlsafe_b64encode(b'{"a":' + b"[" * 5_000).decode().rstrip("=") + ".e30.x"
"""JSON that is nested more deeply than a parser can follow."""


def world(*patterns: str, rights: str = "publish play", **more: Any) -> tuple[OwnTokens, str, str]:
    tokens = OwnTokens(SECRET, FakeClock().wall_ns)
    issued = tokens.issue(
        [StreamPattern.parse(one) for one in patterns or ("live/*",)],
        [Right(one) for one in rights.split()],
        more.get("lifetime_s", 60),
    )
    return tokens, issued.token, issued.id


async def decide(tokens: OwnTokens, asked: Any) -> Decision:
    decision = await tokens.decide(asked)
    assert decision is not None
    return decision


async def test_a_token_opens_its_streams_until_its_end() -> None:
    clock = FakeClock()
    tokens = OwnTokens(SECRET, clock.wall_ns)
    issued = tokens.issue([StreamPattern.parse("live/*")], [Right.PLAY], 60)
    decision = await decide(tokens, play(issued.token))
    assert decision.allowed
    assert decision.expires_s == issued.expires_s == clock.wall // 10**9 + 60
    assert decision.credential == credential_tag("token", issued.id)
    clock.advance(s=60)
    late = await decide(tokens, play(issued.token))
    assert (late.allowed, late.reason, late.innocent) == (False, "the token has expired", True)


async def test_it_opens_neither_other_streams_nor_other_actions() -> None:
    tokens, token, _ = world("live/other", rights="play")
    assert (await decide(tokens, play(token))).reason == "the token is for another stream"
    assert "does not allow" in (await decide(tokens, publish(token))).reason


async def test_what_was_taken_back_opens_nothing_after_a_restart_too() -> None:
    tokens, token, ident = world()
    found = tokens.revoke(ident)
    assert found is not None
    assert not (await decide(tokens, play(token))).allowed
    again = OwnTokens(SECRET, FakeClock().wall_ns, [(ident, found[1])])
    assert not (await decide(again, play(token))).allowed
    assert again.revoked_tags() == {found[0]}


@pytest.mark.parametrize(
    "ident", ["", "-", "zz-1", "1-1", "6afd2b40", "a" * 500, "ffffff-" + "a" * 40]
)
async def test_ids_that_are_none_or_over_cannot_be_taken_back(ident: str) -> None:
    assert world()[0].revoke(ident) is None


async def test_a_token_of_another_server_is_a_failed_try() -> None:
    _, token, _ = world()
    other = OwnTokens(b"o" * 32, FakeClock().wall_ns)
    decision = await decide(other, play(token))
    assert (decision.allowed, decision.innocent) == (False, False)


async def test_a_token_without_a_signature_or_with_changed_claims_opens_nothing() -> None:
    tokens, token, _ = world("live/other", rights="play")
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["stream"] = ["*/*"]
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert not (await decide(tokens, play(f"{head}.{changed}.{signature}"))).allowed
    none = jwt.encode(claims, "", algorithm="none", headers={"kid": "streamserver-1"})
    assert not (await decide(tokens, play(none))).allowed


@pytest.mark.parametrize(
    "credential", ["", "eyJ", "eyJ..", "a.b.c", "x" * 10_000, "eyJ.\ud800.", DEEP]
)
async def test_it_has_no_opinion_on_what_is_no_token_of_ours(credential: str) -> None:
    tokens, _, _ = world()
    assert await tokens.decide(play(credential)) is None


def test_neither_the_token_nor_the_secret_is_shown() -> None:
    tokens = OwnTokens(SECRET, FakeClock().wall_ns)
    issued = tokens.issue([], [], 60)
    assert issued.token not in repr(issued)


READ = {"stream": LIVE_DEMO}
WRITE = {"stream": LIVE_DEMO, "write": True}


@pytest.mark.parametrize(
    ("rights", "pattern", "asked", "allowed"),
    [
        ("read", "live/demo", READ, True),
        ("read", "live/demo", {}, False),
        ("read", "*", {}, True),
        ("read", "live/demo", WRITE, False),
        ("read", "live/demo", WRITE | {"manage": True}, False),
        ("manage", "live/demo", READ, True),
        ("manage", "live/demo", WRITE | {"manage": True}, True),
        ("manage", "live/demo", WRITE, False),
        ("manage", "live/other", WRITE | {"manage": True}, False),
        ("manage", "*", {"write": True}, False),
        ("publish play", "*", READ, False),
    ],
)
async def test_rights_for_the_api(
    rights: str, pattern: str, asked: dict[str, Any], allowed: bool
) -> None:
    tokens, token, _ = world(pattern, rights=rights)
    assert (await decide(tokens, api(token, **asked))).allowed is allowed


async def test_metrics_are_for_who_reads_everything() -> None:
    from streamserver.auth import Action

    for pattern, allowed in (("*", True), ("live/*", False)):
        tokens, token, _ = world(pattern, rights="read")
        asked = request(Action.METRICS, token=token)
        assert (await decide(tokens, asked)).allowed is allowed


@pytest.mark.parametrize(
    "text", ["", "/", "a/b/c", "a b", "../x", "live/'--", "*****", "live/*a*b*c*d*e", ".x/y", "a/?"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="app/name"):
        StreamPattern.parse(text)


def test_a_pattern_covers_renditions_and_one_segment_means_default() -> None:
    assert str(StreamPattern.parse("live")) == "live/default"
    pattern = StreamPattern.parse("live/d*o")
    assert pattern.covers(LIVE_DEMO)
    assert not pattern.covers(None)
