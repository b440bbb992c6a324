"""Request heads, without IO: where one ends, what it asks, how its body is framed (RFC 9112)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from streamserver.errors import RemoteProtocolError

__all__ = [
    "CHUNKED",
    "MAX_HEAD_BYTES",
    "BadRequestError",
    "FastHandler",
    "HeadScanner",
    "Parked",
    "RequestHead",
    "accepts_gzip",
    "parse_request_head",
]

MAX_HEAD_BYTES: Final = 16 * 1024
"""The longest request head that is read, request line and blank line included."""

CHUNKED: Final = -1
"""`RequestHead.body_bytes` of a body in chunked framing."""

_MAX_HEADERS: Final = 128
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_GZIP: Final = re.compile(
    rb"(?:^|[,\s])(?:x-)?gzip\s*(?:;\s*q=([0-9.]*)\s*)?(?:,|$)", re.IGNORECASE
)

_METHODS: Final = frozenset(
    b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE QUERY PROPFIND REPORT SEARCH".split()
)
"""What the application behind may be asked; it answers 405 to those that it does not serve."""

_NOT_FAST: Final = frozenset(
    b"content-length transfer-encoding upgrade expect range if-match if-none-match "
    b"if-modified-since if-unmodified-since if-range".split()
)
"""Headers whose meaning a prebuilt answer does not know."""


class BadRequestError(RemoteProtocolError):
    """The head broke a rule of HTTP. ``str()`` is a sentence for the peer."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class Parked(Protocol):
    """A request whose answer comes later: a blocking playlist reload."""

    def park(self, resume: Callable[[bytes], None]) -> None:
        """Keeps ``resume``, to be called at most once, with a complete answer."""

    def cancel(self) -> None:
        """Forgets the request: its connection is gone. Never called after ``resume``."""


FastHandler = Callable[[bytes, bool], bytes | Parked | None]
"""Takes the target of a plain ``GET`` (no body, no range, no condition), path and query without the
listener's base path, and whether the client takes gzip. Answers with a complete keep-alive
response, parks, or leaves the request to aiohttp (None)."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the front must know of a request in order to find its end and to choose its path."""

    method: bytes
    """As sent; methods are case-sensitive."""

    target: bytes
    """As sent: path and query, or an absolute URL, or ``*``."""

    body_bytes: int
    """The length of the body; 0 without one; `CHUNKED` when it ends by its own framing."""

    upgrade: bool
    """Whether another protocol is asked for; the answer decides (101)."""

    keep_alive: bool
    """Whether the client wants to use the connection again."""

    plain: bool
    """Whether a prebuilt answer may serve it."""

    gzip: bool
    """Whether the client takes a gzip answer."""


class HeadScanner:
    """Collects bytes and cuts request heads out of them; what follows a head stays.

    Holds at most ``max_bytes`` of an unfinished head, plus what one read brought beyond it.
    """

    __slots__ = ("_buffer", "_max_bytes", "_searched")

    def __init__(self, max_bytes: int = MAX_HEAD_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes
        self._searched = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Adds what came."""
        self._buffer += data

    def next_head(self) -> bytes | None:
        """Cuts off the next head, or answers None until it is whole.

        Raises `BadRequestError` (431) when a head grows beyond the bound.
        """
        buffer = self._buffer
        # RFC 9112 2.2: empty lines before the request line are ignored; some clients send one
        # after a POST body.
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
            self._searched = 0
        end = buffer.find(b"\r\n\r\n", max(self._searched - 3, 0))
        if (len(buffer) if end < 0 else end + 4) > self._max_bytes:
            raise BadRequestError(
                f"The request's head is longer than {self._max_bytes} bytes.", 431
            )
        if end < 0:
            self._searched = len(buffer)
            return None
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        self._searched = 0
        return head

    def take_all(self) -> bytes:
        """Hands over everything that is held."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return data


def accepts_gzip(value: bytes) -> bool:
    """Whether an ``Accept-Encoding`` value allows gzip (RFC 9110 12.5.3)."""
    found = _GZIP.search(value)
    if found is None:
        return False
    weight = found.group(1)
    return weight is None or weight.strip(b"0.") != b""


def parse_request_head(head: bytes) -> RequestHead:
    """Reads a whole head, its blank line included, strictly: what is unclear is refused.

    Raises `BadRequestError`. Two readers that frame one message differently are how requests are
    smuggled, so nothing is guessed here (RFC 9112 11.2).
    """
    line, *lines = head[:-4].split(b"\r\n")
    method, target, minor = _parse_request_line(line)
    if len(lines) > _MAX_HEADERS:
        raise BadRequestError(f"The request has more than {_MAX_HEADERS} header lines.", 431)
    fields: dict[bytes, list[bytes]] = {}
    for text in lines:
        name, value = _parse_field(text)
        fields.setdefault(name, []).append(value)
    # RFC 9112 3.2: exactly one Host in every HTTP/1.1 request.
    hosts = len(fields.get(b"host", ()))
    if hosts > 1 or (minor and not hosts):
        raise BadRequestError("The request needs exactly one Host header.")
    tokens = b",".join(fields.get(b"connection", ())).lower().replace(b" ", b"").split(b",")
    keep_alive = b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
    return RequestHead(
        method=method,
        target=target,
        body_bytes=_body_framing(fields, minor),
        upgrade=minor == 1 and b"upgrade" in fields and b"upgrade" in tokens,
        keep_alive=keep_alive,
        plain=(
            method == b"GET"
            and minor == 1
            and keep_alive
            and target.startswith(b"/")
            and _NOT_FAST.isdisjoint(fields)
        ),
        gzip=accepts_gzip(b",".join(fields.get(b"accept-encoding", ()))),
    )


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, int]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise BadRequestError("The request line is not one of HTTP.")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if version.startswith(b"HTTP/"):
            raise BadRequestError("Only HTTP/1.1 and HTTP/1.0 are spoken here.", 505)
        raise BadRequestError("The request line is not one of HTTP.")
    if method not in _METHODS:
        raise BadRequestError("The method is not known here.", 501)
    return method, target, int(version == b"HTTP/1.1")


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    # RFC 9112 5.1 and 5.2: no space before the colon, no continued lines.
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
        raise BadRequestError("A header line is not one of HTTP.")
    return name.lower(), value.strip(b" \t")


def _body_framing(fields: dict[bytes, list[bytes]], minor: int) -> int:
    codings = fields.get(b"transfer-encoding")
    lengths = fields.get(b"content-length")
    if codings is not None:
        # RFC 9112 6.1: with both headers, or in HTTP/1.0, the message is an attack or a mistake.
        if lengths is not None or minor == 0:
            raise BadRequestError("Transfer-Encoding does not go with the rest of the head.")
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise BadRequestError("The only Transfer-Encoding known here is chunked.", 501)
        return CHUNKED
    if lengths is None:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 15:
        raise BadRequestError("Content-Length must be one number.")
    return int(lengths[0])
