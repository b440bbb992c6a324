"""The chain behind its guard: who failed too often is kept out, and failures answer late."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from streamserver.auth.bans import BanTable
from streamserver.auth.request import AccessRequest, Action, Decision

__all__ = ["Decides", "Gate"]

_LEAST_DELAY_S: Final = 0.1
_MOST_DELAY_S: Final = 0.4
"""Small enough for a person with a typing mistake; unequal, so that time tells nothing."""

logger = logging.getLogger(__name__)


class Decides(Protocol):
    """Whoever always decides: the chain, or the gate before it."""

    async def decide(self, request: AccessRequest) -> Decision:
        """The decision."""


class Gate:
    """Asks the chain, unless the address is banned; counts and delays failures.

    A failure is a credential that opens nothing, or a publisher without one. An outage of a
    decider is none, and neither is a page that asks before its user has signed in.
    """

    def __init__(
        self,
        chain: Decides,
        bans: BanTable,
        *,
        complain: Callable[..., object] = logger.info,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        delay_s: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``complain`` writes a log line; its owner limits how many."""
        self.chain = chain
        """Who decides; may be exchanged while running."""
        self.bans = bans
        """Who is kept out."""
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        """Decisions since the start, by action, decider and ``allowed`` or ``refused``."""
        self._complain = complain
        self._sleep = sleep
        self._delay_s = delay_s

    async def decide(self, request: AccessRequest) -> Decision:
        """Always decides; a failure takes a moment longer."""
        if self.bans.is_banned(request.remote_ip):
            decision = Decision(
                False, "too many failed tries from this address; try again later", "bans"
            )
            self._count(request, decision)
            return decision
        decision = await self.chain.decide(request)
        self._count(request, decision)
        if not decision.allowed and _is_try(request, decision):
            ban = self.bans.failed(request.remote_ip)
            if ban is not None:
                self._complain(
                    "%s is banned after %d failed tries (the last: %s, %s)",
                    ban.address,
                    ban.failures,
                    request.action.value,
                    request.protocol,
                )
            await self._sleep(self._delay_s(_LEAST_DELAY_S, _MOST_DELAY_S))
        return decision

    def _count(self, request: AccessRequest, decision: Decision) -> None:
        outcome = "allowed" if decision.allowed else "refused"
        self.decisions[(request.action.value, decision.decider, outcome)] += 1


def _is_try(request: AccessRequest, decision: Decision) -> bool:
    if decision.innocent:
        return False
    return bool(request.credentials()) or request.action is Action.PUBLISH
