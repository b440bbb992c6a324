import asyncio
from collections.abc import Awaitable, Callable

import pytest

from streamserver.auth import AccessRequest, Chain, Decision, DefaultPolicy
from streamserver.auth.hashes import hash_secret
from tests.auth.helpers_auth import publish

POLICY = DefaultPolicy(api_hash=hash_secret("t" * 32), anonymous_publish=True)


class Voice:
    """A decider that does what it is told, and counts."""

    name = "voice"

    def __init__(self, answer: Callable[[], Awaitable[Decision | None]]) -> None:
        self.answer = answer
        self.asked = 0

    async def decide(self, request: AccessRequest) -> Decision | None:
        self.asked += 1
        return await self.answer()


async def no_opinion() -> Decision | None:
    return None


async def refusal() -> Decision | None:
    return Decision(False, "no", "voice")


async def failure() -> Decision | None:
    raise RuntimeError("the hook is broken")


async def silence() -> Decision | None:
    await asyncio.Event().wait()
    return None


async def test_without_deciders_the_default_policy_decides() -> None:
    assert (await Chain([], POLICY).decide(publish())).decider == "default"


async def test_the_first_opinion_counts_and_the_rest_is_not_asked() -> None:
    voices = [Voice(no_opinion), Voice(refusal), Voice(no_opinion)]
    decision = await Chain(voices, POLICY).decide(publish())
    assert decision == Decision(False, "no", "voice")
    assert [voice.asked for voice in voices] == [1, 1, 0]


@pytest.mark.parametrize(
    ("answer", "logged"), [(failure, "decider voice failed"), (silence, "did not answer")]
)
async def test_a_decider_that_fails_or_is_silent_refuses(
    answer: Callable[[], Awaitable[Decision | None]],
    logged: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    decision = await Chain([Voice(answer)], POLICY, timeout_s=0.001).decide(publish())
    assert not decision.allowed
    assert not decision.missing
    assert logged in caplog.text


async def test_a_caller_that_is_cancelled_is_cancelled() -> None:
    task = asyncio.create_task(Chain([Voice(silence)], POLICY).decide(publish()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
