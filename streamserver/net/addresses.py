"""Addresses: how they are written, which of them are ours, where we listen."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = [
    "Listening",
    "is_loopback",
    "lan_address",
    "parse_ip",
    "unmap",
    "url_host",
]

# Addresses that are documentation only (RFC 5737, RFC 3849): nothing is ever sent there, but the
# kernel chooses the source address that it would use.
_FAR_AWAY: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that takes connections."""

    name: str
    """What it is for people: ``RTMP``, ``HTTP``, ``WEBRTC``."""

    scheme: str
    """The scheme of its URLs: ``rtmp``, ``rtmps``, ``http`` or ``https``; ``webrtc`` has none."""

    host: str
    """The address it is bound to; empty: all."""

    port: int
    """The port it really has, also where the configuration said 0."""

    base_path: str = ""
    """The path under which it serves."""

    def url(self, default_host: str) -> str:
        """Its URL without a slash at the end; ``default_host`` where it listens on all."""
        host = self.host if self.host not in ("", "0.0.0.0", "::") else default_host
        if self.scheme == "webrtc":
            return f"{url_host(host)}:{self.port}, UDP and TCP"
        return f"{self.scheme}://{url_host(host)}{self._port_suffix()}{self.base_path}"

    def _port_suffix(self) -> str:
        usual = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}[self.scheme]
        return "" if self.port == usual else f":{self.port}"


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, unmapped and without zone, or None."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def unmap(text: str) -> str:
    """``::ffff:192.0.2.1``, which a dual-stack socket reports, as ``192.0.2.1``."""
    address = parse_ip(text)
    return text if address is None else str(address)


def is_loopback(text: str) -> bool:
    """Whether a text is an address of the loopback (127.0.0.0/8, ::1)."""
    address = parse_ip(text)
    return address is not None and address.is_loopback


def url_host(host: str) -> str:
    """A host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _route_to(family: int, far: str) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))  # a datagram socket sends nothing here
        return str(probe.getsockname()[0])


def lan_address(route_to: Callable[[int, str], str] = _route_to) -> str:
    """The address under which the local network likely reaches this host; else ``127.0.0.1``.

    ``route_to(family, address)`` answers the source address that the kernel would use.
    """
    for family, far in _FAR_AWAY:
        try:
            found = parse_ip(route_to(family, far))
        except OSError:
            continue
        if found is not None and not found.is_loopback and not found.is_unspecified:
            return str(found)
    return "127.0.0.1"
