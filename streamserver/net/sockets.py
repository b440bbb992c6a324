"""Listening sockets: all addresses of a host on one port, or a sentence that says why not."""

import errno
import ipaddress
import socket

from streamserver.errors import ConfigError, UnavailableError

__all__ = ["BACKLOG", "bind", "keep_little"]

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel lowers it to its own bound."""

_PORT_FLAGS = {
    "http": "--set http.port=…", "https": "--set http.https_port=…", "rtmp": "--set rtmp.port=…",
    "rtmps": "--set rtmp.tls_port=…", "sink": "--port …",
}  # fmt: skip
"""How each listener is given another port."""


def bind(name: str, host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on an address, ``localhost``, or ``""`` for all, IPv6 included.

    ``name`` is for the error: `UnavailableError` when the port is not to be had, `ConfigError`
    when the host is no address. Port 0 takes a free one, the same for all sockets.
    """
    hosts = {"": ["::"], "localhost": ["127.0.0.1", "::1"]}.get(host, [host])
    sockets: list[socket.socket] = []
    bound = port
    try:
        for address in hosts:
            try:
                sock = _bind_one(name, address, bound)
            except OSError as error:
                if sockets and error.errno != errno.EADDRINUSE:
                    continue  # localhost on a host without IPv6
                if host == "" and error.errno != errno.EADDRINUSE:
                    sock = _bind_one(name, "0.0.0.0", bound)  # no IPv6 here
                else:
                    raise
            sockets.append(sock)
            bound = sock.getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise UnavailableError(_explain(name, host, port, error)) from error
    return sockets


def keep_little(sock: socket.socket, size: int = 64 * 1024) -> None:
    """Bounds what the kernel keeps of unread bytes, for all that a listening socket accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _bind_one(name: str, host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(
            f"{name}: {host!r} is no address; give an IP address, localhost, or nothing"
        ) from None
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: a peer that vanished is noticed in the end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if address.version == 6:
            # "::" serves IPv4 as well, so that one socket is the port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        sock.setblocking(False)
        sock.bind((host, port))
        # Here and not in the loop: with SO_REUSEADDR a taken port may show only now.
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(name: str, host: str, port: int, error: OSError) -> str:
    where = f"{name} port {port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken: `ss -ltnp 'sport = :{port}'` shows by whom; "
            f"or choose another one with {_PORT_FLAGS.get(name, '--set http.port=…')}"
        )
    if error.errno == errno.EACCES:
        return f"{where} may not be opened by this user: ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: {host} is not an address of this host"
    return f"{where} cannot be opened: {error.strerror}"
