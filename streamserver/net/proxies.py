"""Who a request really comes from, when proxies stand before us.

Nothing that a header says counts, unless the socket's peer is a listed proxy. The header
``Forwarded`` (RFC 7239) is not read: common proxies write ``X-Forwarded-*``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from streamserver.net.addresses import parse_ip, unmap

__all__ = ["Origin", "TrustedProxies"]

_MAX_HOPS: Final = 32
"""Entries of X-Forwarded-For that are looked at, from the right."""

_MAX_VALUE: Final = 256
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?\Z")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z")
_ADDRESS_AND_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::\d{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Origin:
    """A request as its sender made it, before any proxy."""

    ip: str
    """The client's address, unmapped, without port."""

    scheme: str
    """``http`` or ``https``, as the client used it."""

    host: str
    """The ``Host`` that the client asked for; may hold a port; empty when it gave none."""

    prefix: str = ""
    """The path that a proxy took off, such as ``/video``; empty: none."""

    via_proxy: bool = False
    """Whether a trusted proxy stood between."""


class TrustedProxies:
    """The proxies whose word counts, as addresses and networks.

    Raises `ValueError` for what is neither.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(text) for text in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, ip: str) -> bool:
        """Whether an address is one of them; a text that is no address never is."""
        address = parse_ip(ip)
        return address is not None and any(address in network for network in self._networks)

    def client_ip(self, peer_ip: str, forwarded_for: Sequence[str]) -> str:
        """The client's address: each proxy vouches for the entry to the left of its own.

        ``forwarded_for`` are the values of all X-Forwarded-For headers in order. The walk goes
        from the right and ends at the first address that is no trusted proxy, since everything
        left of it is hearsay; an entry that is no address ends it too.
        """
        client = unmap(peer_ip)
        if not self.trusts(client):
            return client
        entries = ",".join(forwarded_for).rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]
        for entry in reversed(entries):
            address = _entry_ip(entry.strip())
            if address is None:
                break
            client = address
            if not self.trusts(client):
                break
        return client

    def resolve(
        self, peer_ip: str, headers: Iterable[tuple[str, str]], *, scheme: str, host: str
    ) -> Origin:
        """What the client sent, from the socket's peer and the headers as they came.

        ``scheme`` and ``host`` are those of the request on our own socket. Of X-Forwarded-Proto,
        -Host and -Prefix the last value counts: the nearest proxy wrote it.
        """
        peer = unmap(peer_ip)
        if not self.trusts(peer):
            return Origin(peer, scheme, host)
        forwarded_for: list[str] = []
        last: dict[str, str] = {}
        for name, value in headers:
            lowered = name.lower()
            if lowered == "x-forwarded-for":
                forwarded_for.append(value)
            elif lowered.startswith("x-forwarded-"):
                last[lowered] = value.rpartition(",")[2].strip()[:_MAX_VALUE]
        return Origin(
            self.client_ip(peer, forwarded_for),
            _scheme(last.get("x-forwarded-proto", ""), scheme),
            _matching(_HOST, last.get("x-forwarded-host", ""), host),
            _matching(_PREFIX, last.get("x-forwarded-prefix", "").rstrip("/"), ""),
            via_proxy=True,
        )


def _entry_ip(entry: str) -> str | None:
    """An entry of X-Forwarded-For; some proxies write a port behind the address."""
    entry = entry.strip('"')
    found = _ADDRESS_AND_PORT.match(entry)
    address = parse_ip(found[1] or found[2] if found else entry)
    return None if address is None else str(address)


def _scheme(value: str, otherwise: str) -> str:
    return {"http": "http", "ws": "http", "https": "https", "wss": "https"}.get(
        value.lower(), otherwise
    )


def _matching(pattern: re.Pattern[str], value: str, otherwise: str) -> str:
    return value if pattern.match(value) else otherwise
