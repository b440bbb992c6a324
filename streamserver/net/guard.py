"""The one guard of outgoing connections: which addresses this server may talk to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final

from streamserver.errors import StreamServerError
from streamserver.net.addresses import parse_ip
from streamserver.net.resolver import Resolver

__all__ = ["ForbiddenAddressError", "OutgoingGuard"]

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""


class ForbiddenAddressError(StreamServerError):
    """The address is not one that this server may be sent to."""


class OutgoingGuard:
    """Resolves a host and answers only addresses that are allowed.

    Whoever connects must use these very addresses and not the name: a name server could answer
    the second question differently (DNS rebinding).
    """

    def __init__(self, resolver: Resolver, *, allow_private: bool) -> None:
        """``allow_private``: whether loopback, private and link-local addresses are open."""
        self._resolver = resolver
        self._allow_private = allow_private

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The allowed addresses of a host, at least one.

        Raises `ResolveError`, and `ForbiddenAddressError` when none of them is allowed.
        """
        found = await self._resolver.resolve(host)
        allowed = tuple(address for address in found if self._refusal(address) is None)
        if not allowed:
            raise ForbiddenAddressError(self._refusal(found[0]) or "")
        return allowed

    def check_literal(self, host: str) -> None:
        """Refuses a host that is itself a forbidden address; a name passes, until it is resolved.

        Raises `ForbiddenAddressError`.
        """
        refusal = self._refusal(host) if parse_ip(host) is not None else None
        if refusal is not None:
            raise ForbiddenAddressError(refusal)

    def _refusal(self, text: str) -> str | None:
        """Why an address is not allowed, or None."""
        address = parse_ip(text)
        if address is None:
            return f"{text} is no address"
        address = _embedded(address)
        if address.is_multicast or address.is_unspecified:
            return f"{text} is no address of a host"
        if not self._allow_private and not address.is_global:
            return (
                f"{text} is a private address, and outgoing.allow_private = false keeps this "
                "server away from those"
            )
        return None


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one leads to through NAT64 or 6to4 (RFC 3056)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address
