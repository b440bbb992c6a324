"""The addresses that descriptions name, and how (RFC 8445, section 5.1; RFC 6544, section 4)."""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

from streamserver.net.addresses import parse_ip
from streamserver.net.resolver import ResolveError, Resolver

__all__ = ["AUTO", "candidates", "public_addresses"]

AUTO: Final = "auto"
"""Stands for the addresses of this host's interfaces."""

_MAX_ADDRESSES: Final = 8
_HOST_UDP: Final = 126
_HOST_TCP: Final = 90
"""Type preferences: TCP after everything over UDP, relayed excepted."""

_COMPONENT: Final = 1
_PASSIVE: Final = 2 << 13
"""Direction preference of passive TCP among host candidates (RFC 6544, section 4.2)."""


def _interfaces() -> list[str]:
    # Late, see `private`.
    from streamserver.webrtc.private import host_addresses

    return host_addresses()


async def public_addresses(
    wanted: Sequence[str],
    bound: Sequence[str],
    resolver: Resolver,
    interfaces: Callable[[], list[str]] = _interfaces,
) -> tuple[list[str], list[str]]:
    """The addresses to print, and sentences about those that could not be learned.

    ``wanted`` are addresses, host names, and ``auto``; ``bound`` the addresses that the sockets
    are bound to (``0.0.0.0`` and ``::`` for all). An address of a family without a socket is left
    out; so is everything beyond the eighth.
    """
    found: dict[str, None] = {}
    failures: list[str] = []
    families = {ipaddress.ip_address(address).version for address in bound}
    for text in wanted:
        if text == AUTO:
            names = _of_this_host(bound, interfaces)
        else:
            try:
                names = list(await resolver.resolve(text))
            except ResolveError as error:
                failures.append(str(error))
                continue
        for name in names:
            address = parse_ip(name)
            if address is not None and address.version in families:
                found[str(address)] = None
    return list(found)[:_MAX_ADDRESSES], failures


def _of_this_host(bound: Sequence[str], interfaces: Callable[[], list[str]]) -> list[str]:
    named = [text for text in bound if not ipaddress.ip_address(text).is_unspecified]
    if named:
        return named
    # Without any network there is still the loopback: a demonstration on a train works.
    return interfaces() or ["127.0.0.1", "::1"]


def candidates(addresses: Sequence[str], port: int, *, tcp: bool) -> list[str]:
    """Values of ``a=candidate`` lines: everything over UDP, then the same over TCP."""
    lines = [
        f"{index + 1} {_COMPONENT} udp {_priority(_HOST_UDP, 0xFFFF - index)} {address} {port} "
        "typ host"
        for index, address in enumerate(addresses)
    ]
    if tcp:
        first = len(lines) + 1
        lines += [
            f"{first + index} {_COMPONENT} tcp "
            f"{_priority(_HOST_TCP, _PASSIVE + 0x1FFF - index)} {address} {port} "
            "typ host tcptype passive"
            for index, address in enumerate(addresses)
        ]
    return lines


def _priority(type_preference: int, local_preference: int) -> int:
    # RFC 8445, section 5.1.2.1.
    return (type_preference << 24) + (local_preference << 8) + 256 - _COMPONENT
