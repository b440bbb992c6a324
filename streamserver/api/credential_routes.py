"""The routes about tokens and bans."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from streamserver.api.access import Access
from streamserver.api.calls import Call, NoQuery
from streamserver.api.handlers import Services
from streamserver.api.route import Route
from streamserver.control.credential_models import (
    BanInfo,
    BanPage,
    NewToken,
    Token,
    TokenAction,
)

__all__ = ["CREDENTIAL_EXAMPLES", "CREDENTIAL_ROUTES"]


class AddressQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which address."""

    address: Annotated[
        str, Meta(max_length=64, description="Only this address; all without it.")
    ] = ""


async def create_token(services: Services, call: Call[NoQuery]) -> Token:
    """``POST /api/v1/tokens``."""
    return await services.credentials.create_token(call.read(NewToken))


async def revoke_token(services: Services, call: Call[NoQuery]) -> None:
    """``DELETE /api/v1/tokens/{id}``."""
    await services.credentials.revoke_token(call.id)


async def bans(services: Services, call: Call[NoQuery]) -> BanPage:
    """``GET /api/v1/bans``."""
    return await services.credentials.bans()


async def lift_bans(services: Services, call: Call[AddressQuery]) -> None:
    """``DELETE /api/v1/bans``."""
    await services.credentials.lift_bans(call.query.address or None)


CREDENTIAL_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="POST",
        path="/api/v1/tokens",
        handler=create_token,
        name="createToken",
        tag="access",
        summary="Sign a token: rights for a pattern of streams, until a time.",
        access=Access.WRITE,
        query=NoQuery,
        body=NewToken,
        response=Token,
    ),
    Route(
        method="DELETE",
        path="/api/v1/tokens/{id}",
        handler=revoke_token,
        name="revokeToken",
        tag="access",
        summary="Take a token back, and end every session that came with it.",
        access=Access.WRITE,
        query=NoQuery,
        problems=(404,),
    ),
    Route(
        method="GET",
        path="/api/v1/bans",
        handler=bans,
        name="listBans",
        tag="access",
        summary="The addresses that are kept out because they failed too often.",
        access=Access.READ,
        query=NoQuery,
        response=BanPage,
    ),
    Route(
        method="DELETE",
        path="/api/v1/bans",
        handler=lift_bans,
        name="liftBans",
        tag="access",
        summary="Let an address in again (address=...), or all.",
        access=Access.WRITE,
        query=AddressQuery,
    ),
)
"""Their part of the one table."""

CREDENTIAL_EXAMPLES: Final[tuple[msgspec.Struct, ...]] = (
    NewToken(stream="live/show", actions=[TokenAction.PLAY], expires_in_s=3600),
    Token(
        id="6afd2b40-8f1e0c7d5a3b9264",
        token="eyJhbGciOiJIUzI1NiIsImtpZCI6InN0cmVhbXNlcnZlci0xIn0.eyJ9.c2lnbmF0dXJl",
        stream="live/show",
        actions=[TokenAction.PLAY],
        expires_at="2026-11-20T12:00:00.000Z",
    ),
    BanPage(
        items=[BanInfo(address="203.0.113.9", failures=30, until="2026-11-20T12:05:00.000Z")],
        total=1,
    ),
)
"""One example of each of their shapes."""
