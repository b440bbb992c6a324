"""The deciders in their order."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from streamserver.auth.policy import DefaultPolicy
from streamserver.auth.request import AccessRequest, Decider, Decision
from streamserver.errors import UnavailableError

__all__ = ["Chain"]

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
_GRACE_S: Final = 1.0
"""What a decider with a deadline of its own has beyond it to say so."""

_UNKNOWN: Final = Decision(False, "access cannot be checked at the moment", "chain", innocent=True)


class Chain:
    """Asks each decider in turn; the first that has an opinion decides, else the default policy.

    A decider that fails or exceeds its deadline refuses: a door that stands open while its lock is
    broken is no door.
    """

    name = "chain"

    def __init__(
        self, deciders: Sequence[Decider], default: DefaultPolicy, *, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._deciders = tuple(deciders)
        self._default = default
        self._timeout_s = timeout_s

    async def decide(self, request: AccessRequest) -> Decision:
        """Always decides, within the deadline of each decider."""
        for decider in self._deciders:
            decision = await self._ask(decider, request)
            if decision is not None:
                return decision
        return await self._ask(self._default, request) or _UNKNOWN

    async def _ask(self, decider: Decider, request: AccessRequest) -> Decision | None:
        own_s = getattr(decider, "timeout_s", None)
        timeout_s = self._timeout_s if own_s is None else own_s + _GRACE_S
        try:
            async with asyncio.timeout(timeout_s):
                return await decider.decide(request)
        except TimeoutError:
            logger.warning("decider %s did not answer in %s s", decider.name, timeout_s)
        except UnavailableError as error:
            # A storage that is full or locked is the operator's; a traceback tells nothing more.
            logger.error("decider %s cannot decide: %s", decider.name, error)
        except Exception:
            # A decider may be a user's coroutine, which can raise anything.
            logger.exception("decider %s failed", decider.name)
        return replace(_UNKNOWN, decider=decider.name)
