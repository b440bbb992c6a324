"""Names to addresses, with a deadline: the one resolver of the process.

``loop.getaddrinfo`` is not used: it waits in a thread that cannot be ended, and with uvloop two
that hang stop every other.
"""

import asyncio
import socket
from typing import Final, Protocol

import aiodns

from streamserver.errors import StreamServerError
from streamserver.net.addresses import parse_ip

__all__ = ["DnsResolver", "ResolveError", "Resolver"]

_TIMEOUT_S: Final = 5.0
_TRY_S: Final = 2.0
_TRIES: Final = 2

_NO_SUCH_HOST: Final = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA})


class ResolveError(StreamServerError):
    """A name has no address, or none that could be learned in time."""


class Resolver(Protocol):
    """Tells the addresses of a host."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """All addresses of a name, at least one, in the order to try. Raises `ResolveError`."""


class DnsResolver:
    """Asks the name servers and the hosts file of the system, through c-ares.

    Looks up anew at each call: an address that was right an hour ago proves nothing. c-ares may
    repeat an answer within the time to live that it came with. A look-up that hangs costs a timer
    and a socket, and delays no other.
    """

    def __init__(self, *, timeout_s: float = _TIMEOUT_S, servers: tuple[str, ...] = ()) -> None:
        """``servers`` (``address`` or ``address:port``) stand in the place of the system's."""
        self._timeout_s = timeout_s
        self._servers = servers
        self._channel: aiodns.DNSResolver | None = None

    async def resolve(self, host: str) -> tuple[str, ...]:
        """See `Resolver`. A literal address is answered as it is, without a look-up."""
        literal = parse_ip(host)
        if literal is not None:
            return (str(literal),)
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._ask().getaddrinfo(
                    host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            raise ResolveError(
                f"the name servers did not answer for {host} within {self._timeout_s:g} s"
            ) from None
        except (aiodns.error.DNSError, UnicodeError) as error:
            raise ResolveError(_explain(host, error)) from None
        addresses = dict.fromkeys(_text(node.addr[0]) for node in found.nodes)
        if not addresses:
            raise ResolveError(f"{host} has no address")
        return tuple(addresses)

    async def close(self) -> None:
        """Lets go of the sockets; look-ups under way end with `ResolveError`."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _ask(self) -> aiodns.DNSResolver:
        if self._channel is None:
            # Made at the first look-up: most servers never have one.
            self._channel = aiodns.DNSResolver(
                nameservers=self._servers or None,
                loop=asyncio.get_running_loop(),
                timeout=_TRY_S,
                tries=_TRIES,
            )
        return self._channel


def _text(address: str | bytes) -> str:
    return address.decode() if isinstance(address, bytes) else address


def _explain(host: str, error: Exception) -> str:
    code = error.args[0] if error.args else None
    if code in _NO_SUCH_HOST or isinstance(error, UnicodeError):
        return f"there is no host {host}"
    if code == aiodns.error.ARES_ETIMEOUT:
        return f"the name servers did not answer for {host}"
    words = str(error.args[1]) if len(error.args) > 1 else str(error)
    return f"the name of {host} could not be resolved: {words}"
