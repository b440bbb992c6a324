"""From a name to a connected transport: every address tried, each in its time."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from streamserver.net.guard import OutgoingGuard
from streamserver.net.tcp_info import limit_unsent

__all__ = ["DialSettings", "FarEnd", "dial", "worst"]

P = TypeVar("P", bound=asyncio.BaseProtocol)

_KERNEL_UNSENT_BYTES: Final = 64 * 1024
"""Media that may wait in the kernel: what is there can no longer be passed over."""

_LINUX: Final = hasattr(socket, "TCP_USER_TIMEOUT")
_USER_TIMEOUT_MS: Final = 60_000
"""A host that acknowledges nothing for this long is gone (RFC 5482). Whoever sends gives up
earlier, and knows to say why; this ends what is left."""


class FarEnd(Protocol):
    """Where to connect to."""

    @property
    def host(self) -> str:
        """A name or address, IPv6 without brackets."""

    @property
    def port(self) -> int:
        """The TCP port."""

    @property
    def tls(self) -> bool:
        """Whether there is TLS below the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSettings:
    """How connections are made."""

    tls: ssl.SSLContext
    """Where the far end wants TLS: whom to believe."""

    connect_timeout_s: float = 5
    """For each address."""

    tls_timeout_s: float = 10
    """For the handshake."""


async def dial(
    target: FarEnd, guard: OutgoingGuard, settings: DialSettings, protocol: P
) -> tuple[P, socket.socket]:
    """Connects a protocol to a target; answers it and the socket, which the transport owns.

    The name is resolved now, and its addresses are tried in turn; TLS asks for the certificate of
    the name (SNI), not of the address. Raises `ResolveError`, `ForbiddenAddressError`, `OSError`
    (`ssl.SSLError` and `TimeoutError` among them) of the address that told most.
    """
    errors: list[Exception] = []
    for address in await guard.addresses(target.host):
        try:
            sock = await _connect(address, target.port, settings)
            return await _wrap(sock, target, settings, protocol), sock
        except OSError as error:
            errors.append(error)
    raise worst(errors)


def worst(errors: list[Exception]) -> Exception:
    """Of the failures of several addresses the one that tells most: whoever answered at all."""

    def telling(error: Exception) -> int:
        if isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError):
            return 2
        return 0 if isinstance(error, TimeoutError) else 1

    return max(errors, key=telling)


async def _connect(address: str, port: int, settings: DialSettings) -> socket.socket:
    """A connected socket. The address is a literal: nothing is looked up again."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        limit_unsent(sock, _KERNEL_UNSENT_BYTES)
        if _LINUX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except TimeoutError:
            raise TimeoutError(
                f"{address} did not answer within {settings.connect_timeout_s:g} s"
            ) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _wrap(sock: socket.socket, target: FarEnd, settings: DialSettings, protocol: P) -> P:
    """The socket with a protocol on it, and TLS between them where the target wants it."""
    try:
        if target.tls:
            await _secure(sock, target, settings, protocol)
        else:
            await asyncio.get_running_loop().create_connection(lambda: protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
    return protocol


async def _secure(sock: socket.socket, target: FarEnd, settings: DialSettings, protocol: P) -> None:
    try:
        async with asyncio.timeout(settings.tls_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: protocol, sock=sock, ssl=settings.tls, server_hostname=target.host
            )
    except TimeoutError:
        raise TimeoutError(
            f"no TLS handshake within {settings.tls_timeout_s:g} s; is this an RTMPS port?"
        ) from None
    except ConnectionError as error:
        # Whoever speaks no TLS often just hangs up.
        raise ssl.SSLError(1, "the far side closed the connection in the TLS handshake") from error
