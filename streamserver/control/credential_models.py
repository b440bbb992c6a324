"""Shapes of the API that are about credentials and bans; see `models`."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from streamserver.control.models import Count, Time

__all__ = ["BanInfo", "BanPage", "NewToken", "Token", "TokenAction"]


def _says(text: str) -> Meta:
    return Meta(description=text)


class TokenAction(StrEnum):
    """One right of a token."""

    PUBLISH = "publish"
    """To publish the streams."""

    PLAY = "play"
    """To watch them."""

    MANAGE = "manage"
    """To edit their destinations and keys through the API, and to see them there."""

    READ = "read"
    """To see them in the API, and to change nothing."""


Pattern = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[A-Za-z0-9_*-][A-Za-z0-9._*-]{0,127}(/[A-Za-z0-9_*-][A-Za-z0-9._*-]{0,127})?)$",
        max_length=257,
    ),
]


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token is to open."""

    stream: Annotated[
        Pattern, _says("app/name, with * for any characters; * alone is every stream.")
    ]
    actions: Annotated[list[TokenAction], Meta(min_length=1, max_length=8), _says("Its rights.")]
    expires_in_s: Annotated[
        int, Meta(ge=1, le=10 * 366 * 86400), _says("Seconds for which it holds.")
    ] = 3600


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A signed token; it is shown this once and kept nowhere."""

    id: Annotated[str, _says("Names it where it is taken back.")]
    token: Annotated[str, _says("For ?token=, Authorization: Bearer, or a password.")]
    stream: Annotated[str, _says("The streams that it is for.")]
    actions: Annotated[list[TokenAction], _says("Its rights.")]
    expires_at: Annotated[Time, _says("When it ends, and with it what it had let in.")]


class BanInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is kept out."""

    address: Annotated[str, _says("An IPv4 address, or an IPv6 network of 64 bits.")]
    failures: Annotated[Count, _says("Failed tries that led to it.")]
    until: Annotated[Time, _says("When it ends.")]


class BanPage(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that are kept out."""

    items: Annotated[list[BanInfo], _says("The oldest first.")]
    total: Annotated[Count, _says("How many there are.")]
