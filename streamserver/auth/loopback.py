"""Whether a request really was made on this machine.

The peer's address alone does not tell: a proxy on this host speaks from loopback for the whole
world, and so does a browser for any page that it shows (DNS rebinding, cross-site requests).
"""

import re
from collections.abc import Mapping
from typing import Final

from streamserver.net import is_loopback

__all__ = ["is_loopback_request"]

_HOST_AND_PORT: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::\d{0,5})?\Z")


def is_loopback_request(
    peer_ip: str,
    headers: Mapping[str, str],
    host: str | None,
    *,
    trusted_proxies_configured: bool,
) -> bool:
    """Whether all signs say that the client runs on this machine.

    ``host`` is the ``Host`` header, for RTMP the host (and port) of ``tcUrl``. All of these must
    hold: the peer is a loopback address; no ``Forwarded``, ``X-Forwarded-*`` or ``Via`` header;
    the host is ``localhost`` or a loopback address; no ``Origin`` other than that host; no trusted
    proxy is configured.
    """
    if trusted_proxies_configured or not is_loopback(peer_ip):
        return False
    if host is None or not _names_loopback(host):
        return False
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in ("forwarded", "via") or lowered.startswith("x-forwarded-"):
            return False
        if lowered == "origin" and not _is_own_origin(value, host):
            return False
    return True


def _names_loopback(host: str) -> bool:
    found = _HOST_AND_PORT.match(host.strip())
    if found is None:
        return False
    bracketed, plain = found.groups()
    if bracketed is not None:
        return is_loopback(bracketed)
    # RFC 6761 6.3: browsers resolve localhost to loopback themselves; no DNS can rebind it.
    return plain.lower().removesuffix(".") == "localhost" or is_loopback(plain)


def _is_own_origin(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.strip().lower().partition("://")
    return scheme in ("http", "https") and bool(separator) and rest == host.strip().lower()
