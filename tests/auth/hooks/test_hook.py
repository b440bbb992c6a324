from typing import Any

import pytest

from streamserver.auth import Action
from streamserver.names import StreamKey
from tests.auth.helpers_auth import api, play, publish, request
from tests.auth.hooks.helpers_hooks import World


async def test_all_of_the_request_is_told_and_2xx_allows() -> None:
    world = World(forward_headers=("Cookie", "X-Absent"))
    headers = {"cookie": "session=1", "Authorization": "Bearer t", "X-Other": "2"}
    decision = await world.hook.decide(
        play("k" * 9, user="anna", password="secret", token="t", user_agent="VLC", headers=headers)
    )
    assert decision is not None
    assert decision.allowed
    assert world.far_side.json == {
        "id": "s1",
        "action": "play",
        "stream": "live/demo",
        "app": "live",
        "name": "demo",
        "protocol": "rtmp",
        "remote_ip": "203.0.113.9",
        "user": "anna",
        "password": "secret",
        "token": "t",
        "query": {"key": "k" * 9},
        "user_agent": "VLC",
        "write": False,
        "headers": {"Cookie": "session=1"},
    }
    _, _, sent, _ = world.far_side.asked[-1]
    assert sent == {"Cookie": "session=1", "Content-Type": "application/json"}


async def test_it_may_rename_send_on_and_set_an_end() -> None:
    world = World()
    world.far_side.answers(
        200,
        b'{"stream": "tv/show", "destinations": ["rtmp://far.test/a/b"], "expires_in_s": 60,'
        b' "reason": "welcome", "whatever": 1}',
    )
    decision = await world.hook.decide(publish())
    assert decision is not None
    assert decision.stream == StreamKey("tv", "show")
    assert decision.destinations == ("rtmp://far.test/a/b",)
    assert decision.expires_s == world.clock.wall // 10**9 + 60
    assert decision.reason == "welcome"
    assert "far.test" not in repr(decision)


@pytest.mark.parametrize("status", [201, 204, 299])
async def test_every_2xx_allows_and_a_body_that_is_no_object_says_nothing(status: int) -> None:
    world = World()
    world.far_side.answers(status, b"OK")
    decision = await world.hook.decide(play())
    assert decision is not None
    assert decision.allowed


@pytest.mark.parametrize(
    ("status", "body", "reason", "innocent"),
    [
        (403, b'{"reason": "not you\\r\\n"}', "not you", False),
        (401, b"", "the access hook refused", False),
        (404, b"<html>", "the access hook refused", False),
        (302, b"", "the access hook refused", False),
        (500, b"", "the access hook refused", True),
    ],
)
async def test_everything_else_refuses(
    status: int, body: bytes, reason: str, innocent: bool
) -> None:
    world = World(fail="open")
    world.far_side.answers(status, body, location="https://elsewhere.test/")
    decision = await world.hook.decide(play())
    assert decision is not None
    assert (decision.allowed, decision.reason, decision.innocent) == (False, reason, innocent)
    assert len(world.far_side.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream": "../etc"}',
        b'{"stream": "a/b/c"}',
        b'{"stream": "live/\' OR 1=1 --"}',
        b'{"stream": 7}',
        b'{"expires_in_s": 0}',
        b'{"expires_in_s": 1e300}',
        b'{"destinations": "rtmp://x"}',
        b'{"destinations": [' + b",".join([b'"a"'] * 33) + b"]}",
        b"{",
        b'{"reason": "\xff"}',
    ],
)
async def test_an_answer_that_cannot_be_used_is_none(body: bytes) -> None:
    world = World()
    world.far_side.answers(200, body)
    decision = await world.hook.decide(publish())
    assert decision is not None
    assert (decision.allowed, decision.innocent) == (False, True)
    assert world.hook.stats.outcomes == {"failed": 1}


@pytest.mark.parametrize(("fail", "allowed"), [("closed", False), ("open", True)])
async def test_no_answer_means_what_the_configuration_says(fail: str, allowed: bool) -> None:
    world = World(fail=fail)
    world.far_side.failure = "no answer within 5 s"
    decision = await world.hook.decide(play())
    assert decision is not None
    assert decision.allowed is allowed
    assert world.said == ["the access hook hooks[0] failed: no answer within 5 s"]


async def test_a_body_beyond_the_bound_is_no_answer() -> None:
    world = World()
    world.far_side.answers(200, b"{" + b" " * 65535, whole=False)
    decision = await world.hook.decide(play())
    assert decision is not None
    assert not decision.allowed


async def test_it_has_no_opinion_on_what_it_is_not_for() -> None:
    world = World(actions="publish", protocols=("whip",))
    assert await world.hook.decide(play()) is None
    assert await world.hook.decide(publish()) is None
    assert await world.hook.decide(publish(protocol="whip")) is not None
    assert await world.hook.decide(api("t")) is None
    assert await world.hook.decide(request(Action.CONNECT)) is None


async def test_get_puts_everything_into_the_query() -> None:
    world = World(method="GET")
    await world.hook.decide(publish("a&b=c"))
    method, url, _, body = world.far_side.asked[-1]
    assert (method, body) == ("GET", None)
    assert url.startswith("https://backend.test/hook?secret=1&id=s1&")
    assert world.far_side.query["query"] == "key=a%26b%3Dc"
    assert world.far_side.query["write"] == "false"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\x00", "x" * 9000])
async def test_a_header_that_cannot_be_passed_on_is_left_out(value: str) -> None:
    world = World(forward_headers=("Cookie",))
    await world.hook.decide(play(headers={"Cookie": value}))
    assert "Cookie" not in world.far_side.asked[-1][2]
    assert world.far_side.json["headers"] == {}


async def test_answers_are_remembered_for_the_same_question_only() -> None:
    world = World(cache_s=10)
    await world.hook.decide(play("a", id="1"))
    await world.hook.decide(play("a", id="2"))
    assert len(world.far_side.asked) == 1
    for other in (play("b"), play("a", remote_ip="203.0.113.8"), publish("a")):
        await world.hook.decide(other)
    assert len(world.far_side.asked) == 4
    world.clock.advance(s=10)
    await world.hook.decide(play("a"))
    assert len(world.far_side.asked) == 5
    assert world.hook.stats.outcomes == {"allowed": 5, "cached": 1}


async def test_neither_outages_nor_what_has_ended_are_remembered() -> None:
    world = World(cache_s=600)
    world.far_side.answers(500)
    await world.hook.decide(play())
    world.far_side.answers(200, b'{"expires_in_s": 5}')
    first = await world.hook.decide(play())
    assert first is not None
    assert first.allowed
    world.clock.advance(s=5)
    second = await world.hook.decide(play())
    assert second is not None
    assert second.expires_s != first.expires_s
    assert len(world.far_side.asked) == 3


async def test_the_memory_is_bounded_and_holds_no_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamserver.auth.hooks.hook._MAX_CACHED", 5)
    world = World(cache_s=600)
    for number in range(50):
        await world.hook.decide(play(f"secret-{number}"))
    assert len(world.hook._cache) == 5
    assert "secret-49" not in repr(world.hook._cache)


NAMES: list[Any] = ["'; DROP TABLE x; --", "../../etc/passwd", "a\x00b", "é\ud800"]


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("style", ["streamserver", "mediamtx", "nginx-rtmp", "srs"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_strange_credentials_are_values_in_every_style(
    style: str, method: str, text: str
) -> None:
    world = World(style, method=method)
    asked = publish(text, user=text, password=text, user_agent=text)
    decision = await world.hook.decide(asked)
    assert decision is not None
    _, url, _, body = world.far_side.asked[-1]
    assert url.isascii()
    assert b"\x00" not in (body or b"")
