"""What every room of a server stands on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from streamserver.auth import is_loopback_request
from streamserver.clock import Clock
from streamserver.config import Config
from streamserver.control.facts import ServerFacts
from streamserver.logging_setup import RateLimitedLogger
from streamserver.net.proxies import TrustedProxies
from streamserver.net.resolver import DnsResolver

__all__ = ["Ground"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Known before anything is open, and the same until the end."""

    config: Config
    """What was configured."""

    clock: Clock
    """The time."""

    facts: ServerFacts
    """What the server tells about itself."""

    proxies: TrustedProxies
    """Whose forwarded addresses count."""

    resolver: DnsResolver
    """Of all outgoing connections."""

    complaints: RateLimitedLogger
    """One log for what peers do wrong."""

    def complain(self, level: int = logging.WARNING) -> Callable[..., object]:
        """What logs about peers at a level, rationed."""
        return partial(self.complaints.log, level)

    def is_local(self, peer_ip: str, headers: Mapping[str, str], host: str | None) -> bool:
        """Whether a request comes from this machine itself, by no proxy and no foreign page."""
        return is_loopback_request(
            peer_ip, headers, host, trusted_proxies_configured=bool(self.proxies)
        )

    def client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        """Whom a request is from, trusted proxies seen through."""
        forwarded = [value for name, value in headers.items() if name.lower() == "x-forwarded-for"]
        return self.proxies.client_ip(peer, forwarded)
