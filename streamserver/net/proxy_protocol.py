"""The PROXY protocol, versions 1 and 2: what a load balancer says before the connection begins.

Source: "The PROXY protocol", versions 1 and 2, HAProxy (sections 2.1 and 2.2). Sans-IO.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = ["ProxyHeader", "ProxyProtocolParser"]

_V1_START: Final = b"PROXY "
_V1_MAX: Final = 107
"""The longest version 1 line, its CRLF included (section 2.1)."""

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = Struct("!12sBBH")
_V2_MAX_LENGTH: Final = 4096
"""What may follow the fixed part; senders need some hundred bytes for addresses and TLVs."""

_TCP4: Final = Struct("!4s4sHH")
_TCP6: Final = Struct("!16s16sHH")
_PORT: Final = re.compile(rb"(?:0|[1-9]\d{0,4})\Z")


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the proxy says about the connection."""

    version: int
    """1 or 2."""

    source: tuple[str, int] | None
    """The client's address (unmapped) and port; None when the proxy speaks for itself (a health
    check) or does not know: then the socket's own addresses count."""

    destination: tuple[str, int] | None
    """The address and port that the client connected to."""


class ProxyProtocolParser:
    """Reads one header from the start of a connection, however it is split."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: ProxyHeader | None = None

    @property
    def header(self) -> ProxyHeader | None:
        """The header, once it is complete."""
        return self._header

    def receive(self, data: bytes) -> ProxyHeader | None:
        """Takes bytes; answers the header as soon as it is complete, None until then.

        Raises `RemoteProtocolError` as soon as the bytes cannot be a header. At most 4 KiB are
        held besides what came in one call.
        """
        self._buffer += data
        if self._header is None:
            self._header = self._parse()
        return self._header

    def remainder(self) -> bytes:
        """Takes out the bytes behind the header: the beginning of the connection proper."""
        rest = bytes(self._buffer) if self._header is not None else b""
        if rest:
            self._buffer.clear()
        return rest

    def _parse(self) -> ProxyHeader | None:
        buffer = self._buffer
        if buffer.startswith(_V2_SIGNATURE):
            return self._parse_v2()
        if buffer.startswith(_V1_START):
            return self._parse_v1()
        if _V2_SIGNATURE.startswith(buffer) or _V1_START.startswith(buffer):
            return None
        raise RemoteProtocolError("the connection does not begin with a PROXY protocol header")

    def _parse_v1(self) -> ProxyHeader | None:
        end = self._buffer.find(b"\r\n", 0, _V1_MAX)
        if end < 0:
            if len(self._buffer) >= _V1_MAX:
                raise RemoteProtocolError("the PROXY line has no end within 107 bytes")
            return None
        words = bytes(self._buffer[:end]).split(b" ")
        del self._buffer[: end + 2]
        # Section 2.1: whatever follows UNKNOWN is to be ignored.
        if words[1] == b"UNKNOWN":
            return ProxyHeader(1, None, None)
        if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
            raise RemoteProtocolError("the PROXY line is malformed")
        version = 4 if words[1] == b"TCP4" else 6
        return ProxyHeader(
            1,
            (_address(words[2], version), _port(words[4])),
            (_address(words[3], version), _port(words[5])),
        )

    def _parse_v2(self) -> ProxyHeader | None:
        if len(self._buffer) < _V2_FIXED.size:
            return None
        _, version_command, family, length = _V2_FIXED.unpack_from(self._buffer)
        if version_command not in (0x20, 0x21):
            raise RemoteProtocolError("the PROXY header has an unknown version or command")
        if length > _V2_MAX_LENGTH:
            raise RemoteProtocolError("the PROXY header is too long")
        end = _V2_FIXED.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_V2_FIXED.size : end])
        del self._buffer[:end]
        # Section 2.2: LOCAL means the proxy's own connection; its addresses are to be ignored.
        if version_command == 0x20:
            return ProxyHeader(2, None, None)
        return _v2_header(family, payload)


def _v2_header(family: int, payload: bytes) -> ProxyHeader:
    layout = {0x11: _TCP4, 0x21: _TCP6}.get(family)
    if layout is None:
        # Unspecified, UDP or a Unix socket: no address that we could use.
        return ProxyHeader(2, None, None)
    if len(payload) < layout.size:
        raise RemoteProtocolError("the PROXY header is shorter than its addresses")
    source, destination, source_port, destination_port = layout.unpack_from(payload)
    return ProxyHeader(
        2,
        (_unmapped(ip_address(source)), source_port),
        (_unmapped(ip_address(destination)), destination_port),
    )


def _address(word: bytes, version: int) -> str:
    try:
        address = ip_address(word.decode("ascii"))
    except ValueError:
        raise RemoteProtocolError("the PROXY line holds something that is no address") from None
    if address.version != version or b"%" in word:
        raise RemoteProtocolError("the PROXY line holds an address of another family")
    return _unmapped(address)


def _port(word: bytes) -> int:
    if not _PORT.match(word) or int(word) > 0xFFFF:
        raise RemoteProtocolError("the PROXY line holds something that is no port")
    return int(word)


def _unmapped(address: IPv4Address | IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)
