"""STUN binding messages as ICE uses them (RFC 8489, RFC 8445 section 16.1). No IO.

Only what an ICE-lite agent needs, and what a full one sends it: requests and their answers.
"""

import binascii
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = [
    "BAD_REQUEST", "ROLE_CONFLICT", "UNAUTHENTICATED", "UNKNOWN_ATTRIBUTE",
    "Kind", "Message", "authentic", "error", "parse", "request", "success", "username_of",
]  # fmt: skip

BAD_REQUEST: Final = 400
UNAUTHENTICATED: Final = 401
UNKNOWN_ATTRIBUTE: Final = 420
ROLE_CONFLICT: Final = 487

_COOKIE: Final = 0x2112A442
_COOKIE_BYTES: Final = _COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR: Final = 0x5354554E
_HEADER: Final = Struct("!HHI12s")
_ATTRIBUTE: Final = Struct("!HH")
_LENGTH: Final = Struct("!H")
_XOR_PORT: Final = Struct("!xBH")
_U32: Final = Struct("!I")
_U64: Final = Struct("!Q")
_MAX_BYTES: Final = 1280
"""The longest message that is looked at; real ones have about 100 bytes."""

_MAX_ATTRIBUTES: Final = 32
_MAX_UNKNOWN: Final = 8
"""Unknown attributes that an error names."""

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_PRIORITY: Final = 0x0024
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_ICE_CONTROLLING: Final = 0x802A

_HMAC_BYTES: Final = 20
_INTEGRITY_BYTES: Final = 4 + _HMAC_BYTES
_FINGERPRINT_BYTES: Final = 8


class Kind(IntEnum):
    """Class and method of a binding message in one (RFC 8489, section 5)."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; its integrity is not yet checked, see `authentic`."""

    kind: Kind
    """Request, indication or answer."""

    transaction_id: bytes
    """12 bytes by which an answer belongs to its request."""

    username: bytes = b""
    """``ufrag of the receiver:ufrag of the sender``; empty when absent."""

    priority: int | None = None
    """PRIORITY: what a candidate learned from this request would have."""

    use_candidate: bool = False
    """The controlling agent nominates the pair that this request travels on."""

    controlling: int | None = None
    """Tie breaker of a sender that controls."""

    controlled: int | None = None
    """Tie breaker of a sender that believes itself controlled."""

    mapped: tuple[str, int] | None = None
    """XOR-MAPPED-ADDRESS of an answer: address and port."""

    error_code: int | None = None
    """ERROR-CODE of an answer."""

    unknown: tuple[int, ...] = ()
    """Attributes that must be understood and are not."""

    integrity_at: int | None = None
    """Where MESSAGE-INTEGRITY begins; None without."""


def username_of(data: bytes | memoryview) -> bytes | None:
    """USERNAME of a binding request, without looking at anything else; None if there is none.

    The first, cheap look at what a stranger sends.
    """
    if not 20 <= len(data) <= _MAX_BYTES or data[4:8] != _COOKIE_BYTES:
        return None
    if data[0] or data[1] != Kind.REQUEST:
        return None
    at = 20
    for _ in range(_MAX_ATTRIBUTES):
        if at + 4 > len(data):
            return None
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        if kind == _USERNAME:
            return bytes(data[at + 4 : at + 4 + size])
        at += 4 + (size + 3 & ~3)
    return None


def parse(data: bytes) -> Message:
    """Reads a binding message. Raises `RemoteProtocolError` for anything else."""
    if not 20 <= len(data) <= _MAX_BYTES:
        raise RemoteProtocolError("the length of the message cannot be STUN's")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    # RFC 8489, section 5: the magic cookie, and a length that is a multiple of four.
    if cookie != _COOKIE or length % 4 or length + 20 != len(data):
        raise RemoteProtocolError("the header is not STUN's")
    try:
        kind = Kind(kind)
    except ValueError:
        raise RemoteProtocolError("the message is not a binding message") from None
    return _Reader(data, kind, transaction_id).read()


def authentic(data: bytes, message: Message, password: bytes) -> bool:
    """Whether MESSAGE-INTEGRITY is there and was made with this password."""
    at = message.integrity_at
    if at is None:
        return False
    # RFC 8489, section 14.5: the length in the header counts up to the attribute, no further.
    text = data[:2] + _LENGTH.pack(at - 20 + _INTEGRITY_BYTES) + data[4:at]
    made = hmac.digest(password, text, "sha1")
    return hmac.compare_digest(made, data[at + 4 : at + _INTEGRITY_BYTES])


def request(
    transaction_id: bytes,
    username: bytes,
    password: bytes,
    *,
    priority: int = 0,
    controlling: int | None = None,
    controlled: int | None = None,
    use_candidate: bool = False,
) -> bytes:
    """A connectivity check (RFC 8445, section 7.2.2), signed with the receiver's password."""
    parts = [_attribute(_USERNAME, username), _attribute(_PRIORITY, _U32.pack(priority))]
    if controlling is not None:
        parts.append(_attribute(_ICE_CONTROLLING, _U64.pack(controlling)))
    if controlled is not None:
        parts.append(_attribute(_ICE_CONTROLLED, _U64.pack(controlled)))
    if use_candidate:
        parts.append(_attribute(_USE_CANDIDATE, b""))
    return _seal(Kind.REQUEST, transaction_id, b"".join(parts), password)


def success(transaction_id: bytes, address: tuple[str, int], password: bytes) -> bytes:
    """The answer to a request: where it came from (RFC 8489, sections 6.3.1.1 and 14.2)."""
    mapped = _attribute(_XOR_MAPPED_ADDRESS, _pack_address(address, transaction_id))
    return _seal(Kind.SUCCESS, transaction_id, mapped, password)


def error(
    transaction_id: bytes, code: int, reason: str, password: bytes, unknown: tuple[int, ...] = ()
) -> bytes:
    """A refusal, signed (RFC 8489, sections 14.8 and 14.9)."""
    body = _attribute(_ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + reason.encode())
    if unknown:
        body += _attribute(_UNKNOWN_ATTRIBUTES, b"".join(map(_LENGTH.pack, unknown)))
    return _seal(Kind.ERROR, transaction_id, body, password)


class _Reader:
    """One pass over the attributes of a message."""

    def __init__(self, data: bytes, kind: Kind, transaction_id: bytes) -> None:
        self._data = data
        self._kind = kind
        self._id = transaction_id
        self._found: dict[int, bytes] = {}
        self._unknown: list[int] = []
        self._integrity_at: int | None = None

    def read(self) -> Message:
        at, left = 20, _MAX_ATTRIBUTES
        while at < len(self._data):
            left -= 1
            if left < 0 or at + 4 > len(self._data):
                raise RemoteProtocolError("the attributes do not end where the message does")
            kind, size = _ATTRIBUTE.unpack_from(self._data, at)
            end = at + 4 + (size + 3 & ~3)
            if end > len(self._data):
                raise RemoteProtocolError("an attribute is longer than its message")
            self._take(kind, at, self._data[at + 4 : at + 4 + size])
            at = end
        return self._message()

    def _take(self, kind: int, at: int, value: bytes) -> None:
        if kind == _FINGERPRINT:
            self._check_fingerprint(at, value)
        elif self._integrity_at is not None:
            # RFC 8489, section 14.5: what follows MESSAGE-INTEGRITY is not signed, so not read.
            return
        elif kind == _MESSAGE_INTEGRITY:
            if len(value) != _HMAC_BYTES:
                raise RemoteProtocolError("MESSAGE-INTEGRITY has the wrong length")
            self._integrity_at = at
        elif kind in _KNOWN:
            self._found.setdefault(kind, value)  # section 14: of several, the first counts
        elif kind < 0x8000 and len(self._unknown) < _MAX_UNKNOWN:
            self._unknown.append(kind)  # section 6.3: below 0x8000 must be understood

    def _check_fingerprint(self, at: int, value: bytes) -> None:
        # RFC 8489, section 14.7: the last attribute, over everything before it.
        made = binascii.crc32(self._data[:at]) ^ _FINGERPRINT_XOR
        if at + _FINGERPRINT_BYTES != len(self._data) or value != _U32.pack(made):
            raise RemoteProtocolError("the fingerprint of the message is wrong")

    def _message(self) -> Message:
        mapped = self._found.get(_XOR_MAPPED_ADDRESS)
        code = self._found.get(_ERROR_CODE)
        if code is not None and len(code) < 4:
            raise RemoteProtocolError("the error code is too short")
        return Message(
            kind=self._kind,
            transaction_id=self._id,
            username=self._found.get(_USERNAME, b""),
            priority=self._integer(_PRIORITY, _U32),
            use_candidate=_USE_CANDIDATE in self._found,
            controlling=self._integer(_ICE_CONTROLLING, _U64),
            controlled=self._integer(_ICE_CONTROLLED, _U64),
            mapped=None if mapped is None else _unpack_address(mapped, self._id),
            error_code=None if code is None else (code[2] & 7) * 100 + code[3],
            unknown=tuple(self._unknown),
            integrity_at=self._integrity_at,
        )

    def _integer(self, kind: int, layout: Struct) -> int | None:
        value = self._found.get(kind)
        if value is None:
            return None
        if len(value) != layout.size:
            raise RemoteProtocolError("a number has the wrong length")
        return int(layout.unpack(value)[0])


_KNOWN: Final = frozenset(
    (
        _USERNAME, _ERROR_CODE, _UNKNOWN_ATTRIBUTES, _XOR_MAPPED_ADDRESS, _PRIORITY,
        _USE_CANDIDATE, _ICE_CONTROLLED, _ICE_CONTROLLING,
    )
)  # fmt: skip


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _seal(kind: Kind, transaction_id: bytes, body: bytes, password: bytes) -> bytes:
    head = _HEADER.pack(kind, len(body) + _INTEGRITY_BYTES, _COOKIE, transaction_id)
    signature = hmac.digest(password, head + body, "sha1")
    body += _attribute(_MESSAGE_INTEGRITY, signature)
    text = _HEADER.pack(kind, len(body) + _FINGERPRINT_BYTES, _COOKIE, transaction_id) + body
    return text + _attribute(_FINGERPRINT, _U32.pack(binascii.crc32(text) ^ _FINGERPRINT_XOR))


def _pack_address(address: tuple[str, int], transaction_id: bytes) -> bytes:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host.partition("%")[0])
    mask = int.from_bytes((_COOKIE_BYTES + transaction_id)[: len(packed)], "big")
    hidden = (int.from_bytes(packed, "big") ^ mask).to_bytes(len(packed), "big")
    return _XOR_PORT.pack(1 if family is socket.AF_INET else 2, port ^ _COOKIE >> 16) + hidden


def _unpack_address(value: bytes, transaction_id: bytes) -> tuple[str, int]:
    if len(value) < 2 or len(value) != {1: 8, 2: 20}.get(value[1]):
        raise RemoteProtocolError("the mapped address has no known family or the wrong length")
    mask = (_COOKIE_BYTES + transaction_id)[: len(value) - 4]
    host = bytes(a ^ b for a, b in zip(value[4:], mask, strict=True))
    port = int.from_bytes(value[2:4], "big") ^ _COOKIE >> 16
    return str(ipaddress.ip_address(host)), port
