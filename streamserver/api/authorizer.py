"""Asks the chain of deciders on the API's behalf."""

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from aiohttp import hdrs

from streamserver.api.access import ApiRequest, Grant
from streamserver.api.problems import UnauthenticatedError
from streamserver.auth import AccessRequest, Action, Decision, DefaultPolicy
from streamserver.errors import AccessDeniedError

__all__ = ["ChainAuthorizer", "Decides", "IsLocal"]

IsLocal = Callable[[str, Mapping[str, str], str | None], bool]
"""Tells from the client's address, the headers and the ``Host`` whether a request is local."""


class Decides(Protocol):
    """``auth.Chain``."""

    async def decide(self, request: AccessRequest) -> Decision:
        """Always decides."""


class ChainAuthorizer:
    """An `Authorizer` over a chain; see `is_loopback_request` for ``is_local``."""

    def __init__(self, chain: Decides, is_local: IsLocal) -> None:
        self._chain = chain
        self._is_local = is_local

    async def authorize(self, request: ApiRequest) -> Grant:
        """See `Authorizer`."""
        headers = request.headers
        decision = await self._chain.decide(
            AccessRequest(
                id=secrets.token_hex(8),
                action=Action(request.action),
                protocol="http",
                stream=request.stream,
                remote_ip=request.remote_ip,
                local=self._is_local(request.remote_ip, headers, headers.get(hdrs.HOST)),
                write=request.write,
                manage=request.manage,
                user=request.credentials.user,
                password=request.credentials.password,
                token=request.credentials.token,
                user_agent=headers.get(hdrs.USER_AGENT, "")[:256],
                headers=headers,
            )
        )
        if decision.allowed:
            return Grant(expires_s=decision.expires_s, credential=decision.credential)
        # The last voice knows tokens only: what it refuses is none that anybody knows.
        if decision.missing or decision.decider == DefaultPolicy.name:
            raise UnauthenticatedError(decision.reason)
        raise AccessDeniedError(decision.reason)
