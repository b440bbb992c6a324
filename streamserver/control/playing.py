"""Playing as a plain call: may this client watch that stream?"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from streamserver.auth import AccessRequest, Action, Decision, parse_authorization
from streamserver.control.attempt import admit
from streamserver.names import StreamKey
from streamserver.outputs.hls.grants import Grant

__all__ = ["Decides", "IsLocal", "PlayGate", "Player"]

_MAX_PARAMS = 32

IsLocal = Callable[[str, Mapping[str, str], str | None], bool]
"""Tells from the client's address, the headers and the ``Host`` whether a request is local."""


class Decides(Protocol):
    """``auth.Chain``."""

    async def decide(self, request: AccessRequest) -> Decision:
        """Always decides."""


class Player(Protocol):
    """Who asks, as an output knows it."""

    @property
    def ip(self) -> str:
        """Its address."""

    @property
    def user_agent(self) -> str:
        """What it calls itself."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its header fields."""


class PlayGate:
    """Asks the chain of deciders about viewers."""

    def __init__(
        self,
        chain: Decides,
        is_local: IsLocal,
        demand: Callable[[StreamKey], Awaitable[object]] | None = None,
    ) -> None:
        """``demand`` tries to make a stream live that an admitted viewer wants."""
        self._chain = chain
        self._is_local = is_local
        self._demand = demand

    async def check_hls(self, stream: StreamKey, player: Player, query: str) -> Grant:
        """What the client may watch; ``query`` is the URL's. Raises `AccessDeniedError`."""
        credentials = parse_authorization(player.headers.get("Authorization"))
        decision = await self._chain.decide(
            AccessRequest(
                id=secrets.token_hex(8),
                action=Action.PLAY,
                protocol="hls",
                stream=stream,
                remote_ip=player.ip,
                local=self._is_local(player.ip, player.headers, player.headers.get("Host")),
                user=credentials.user,
                password=credentials.password,
                token=credentials.token,
                query=_params(query),
                user_agent=player.user_agent,
                headers=player.headers,
            )
        )
        admit(decision)
        stream = decision.stream or stream
        if self._demand is not None:
            await self._demand(stream)
        return Grant(stream, decision.expires_s, decision.credential)


def _params(query: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMS))
    except ValueError:
        return {}
