"""An RTMP connection as a plain call: may it speak at all, and has it proven a password?"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.auth.bans import BanTable
from streamserver.auth.request import AccessRequest, Action
from streamserver.clock import Clock
from streamserver.control.attempt import admit, clean_agent
from streamserver.control.playing import Decides
from streamserver.errors import AccessDeniedError
from streamserver.rtmp.auth_server import AdobeAuth, AuthFailed, AuthNeeded, Proven, wants_auth

__all__ = ["ConnectAttempt", "Connecting"]

_LEAST_DELAY_S: Final = 0.1
_MOST_DELAY_S: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectAttempt:
    """An encoder or player says connect."""

    remote_ip: str
    """Its address."""

    local: bool
    """Whether it is on this machine."""

    flash_ver: str
    """What it calls itself."""

    params: Mapping[str, str] = field(repr=False)
    """The parameters behind app and tcUrl."""

    details: Mapping[str, str] = field(repr=False)
    """``app``, ``tc_url``, ``swf_url``, ``page_url``."""

    will_publish: bool = False
    """Whether it says that it will publish."""

    has_user: bool = False
    """Whether its URL brought user and password."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    """Names the connection to hooks, which are told of its end."""


class Connecting:
    """Asks hooks that want to know of connections, and encoders for their user and password."""

    def __init__(
        self,
        decider: Decides,
        clock: Clock,
        *,
        bans: BanTable,
        adobe: AdobeAuth | None = None,
        passwords: Callable[[], Iterable[str]] = tuple,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``adobe`` checks passwords against what ``passwords()`` answers; None: never asked."""
        self.on_left: Callable[[AccessRequest, int, int], None] = lambda asked, came, went: None
        """Told of the end of each connection that was let in, with bytes received and sent."""
        self._decider = decider
        self._clock = clock
        self._bans = bans
        self._adobe = adobe
        self._passwords = passwords
        self._sleep = sleep

    async def open(self, attempt: ConnectAttempt) -> Proven | None:
        """Lets a connection in; answers what it has proven.

        Raises `AccessDeniedError`, whose text the encoder needs as it is.
        """
        proven = await self._prove(attempt)
        decision = await self._decider.decide(_question(attempt, proven))
        admit(decision)
        return proven

    def left(self, attempt: ConnectAttempt, proven: Proven | None, came: int, went: int) -> None:
        """A connection that was let in has ended, after so many bytes received and sent."""
        self.on_left(_question(attempt, proven), came, went)

    async def _prove(self, attempt: ConnectAttempt) -> Proven | None:
        if self._adobe is None or attempt.has_user:
            return None
        if not wants_auth(attempt.flash_ver, attempt.will_publish, attempt.params):
            return None
        now_s = self._clock.wall_ns() // 1_000_000_000
        outcome = self._adobe.judge(attempt.params, self._passwords(), now_s)
        match outcome:
            case Proven():
                return outcome
            case AuthNeeded(description=text):
                raise AccessDeniedError(text)
            case AuthFailed(description=text, is_guess=is_guess):
                if is_guess:
                    self._bans.failed(attempt.remote_ip)
                    await self._sleep(random.uniform(_LEAST_DELAY_S, _MOST_DELAY_S))
                raise AccessDeniedError(text)


def _question(attempt: ConnectAttempt, proven: Proven | None) -> AccessRequest:
    return AccessRequest(
        id=attempt.id,
        action=Action.CONNECT,
        protocol="rtmp",
        stream=None,
        remote_ip=attempt.remote_ip,
        local=attempt.local,
        user=proven.user if proven else None,
        query=attempt.params,
        user_agent=clean_agent(attempt.flash_ver),
        details=attempt.details,
    )
