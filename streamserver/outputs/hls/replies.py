"""Answers: a status, a body, and the complete HTTP/1.1 message ready for the wire."""

import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from streamserver.errors import RefusedError

__all__ = [
    "IMMUTABLE",
    "MP2T",
    "MP4",
    "NO_CACHE",
    "NO_STORE",
    "PLAYLIST",
    "SHORT",
    "Reply",
    "problem",
    "refusal",
]

PLAYLIST: Final = "application/vnd.apple.mpegurl"
"""Content type of playlists (RFC 8216 section 4)."""

MP4: Final = "video/mp4"
"""Content type of initialisation segments, parts and CMAF segments."""

MP2T: Final = "video/mp2t"
"""Content type of MPEG-TS segments."""

IMMUTABLE: Final = "public, max-age=3600, immutable"
"""Media: a name is never used for other bytes."""

NO_CACHE: Final = "no-cache"
"""Media playlists of a session: ask again each time."""

NO_STORE: Final = "no-store"
"""What belongs to one viewer, and what may be right a second later."""

SHORT: Final = "public, max-age=1"
"""Playlists without sessions, so that a cache in front collapses requests."""

_MEDIA_HEADERS: Final = (
    # Media is for every page of the web; what is secret is its URL.
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Expose-Headers",
        "Accept-Patch, Accept-Post, Accept-Ranges, Allow, Content-Length, Content-Range, Date, "
        "ETag, Idempotent-Replayed, Link, Location, Retry-After, WWW-Authenticate",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Server", "streamserver"),
)

_PROBLEM: Final = "application/problem+json"


class Reply:
    """One answer; never changed once made, and shared by everybody who asks.

    The body is given, whole or in pieces that are joined when somebody asks, or a function that
    makes it when it is first needed. Once the message for
    the wire is there, the body lives in it and nowhere else. No ``Date`` is sent: a message may
    be seconds older than its sending, and a recipient adds the field (RFC 9110 section 6.6.1).
    """

    __slots__ = (
        "_body", "_gzip_body", "_head_size", "_make", "_pieces", "_wire_gzip", "cache_control",
        "compress", "content_type", "headers", "made", "status",
    )  # fmt: skip

    def __init__(
        self,
        status: int,
        content_type: str,
        cache_control: str,
        body: bytes | tuple[bytes, ...] | Callable[[], bytes],
        *,
        compress: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """``compress`` allows gzip; ``headers`` come in addition to those of `header_items`."""
        self.status = status
        self.content_type = content_type
        self.cache_control = cache_control
        self.compress = compress
        self.headers = headers
        self._body: bytes | None = None
        self._pieces: tuple[bytes, ...] | None = None
        self._make: Callable[[], bytes] | None = None
        if isinstance(body, bytes):
            self._body = body
        elif isinstance(body, tuple):
            self._pieces = body
        else:
            self._make = body
        self._gzip_body: bytes | None = None
        self.made: bytes | None = None
        """`wire`, once somebody has asked for it: an attribute costs a third of a call."""
        self._wire_gzip: bytes | None = None
        self._head_size = 0

    @property
    def is_built(self) -> bool:
        """Whether the bytes of a body given as a function are there."""
        return self._make is None

    @property
    def payload(self) -> bytes | memoryview:
        """The body, without copying it."""
        if self.made is not None:
            return memoryview(self.made)[self._head_size :]
        if self._body is None:
            if self._pieces is not None:
                self._body = b"".join(self._pieces)
                self._pieces = None
            else:
                assert self._make is not None
                self._body = self._make()
                self._make = None
        return self._body

    @property
    def pieces(self) -> tuple[bytes | memoryview, ...]:
        """The body in pieces, as they are held; nothing is copied for it."""
        return (self.payload,) if self._pieces is None else self._pieces

    @property
    def body(self) -> bytes:
        """The body."""
        return bytes(self.payload)

    @property
    def gzip_body(self) -> bytes | None:
        """The body compressed, or None where that is of no use."""
        if not self.compress:
            return None
        if self._gzip_body is None:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            self._gzip_body = packer.compress(self.payload) + packer.flush()
        return self._gzip_body

    @property
    def wire(self) -> bytes:
        """The whole message, for a connection that stays open."""
        wire = self.made
        if wire is None:
            pieces = self.pieces
            head = self._head(sum(map(len, pieces)), gzip=False)
            wire = b"".join((head, *pieces))
            self._head_size = len(head)
            self.made = wire
            self._body = self._pieces = None
        return wire

    @property
    def wire_gzip(self) -> bytes:
        """The same for a client that takes gzip; the plain one where that is of no use."""
        wire = self._wire_gzip
        if wire is None:
            body = self.gzip_body
            if body is None:
                return self.wire
            wire = self._wire_gzip = self._head(len(body), gzip=True) + body
        return wire

    def header_items(self, *, gzip: bool) -> tuple[tuple[str, str], ...]:
        """Every header but Content-Length, for servers that write their own heads."""
        ok = self.status == HTTPStatus.OK
        fixed = _fixed_items(
            ok, self.content_type, self.cache_control, self.compress, gzip and self.compress
        )
        return fixed + self.headers

    def _head(self, size: int, *, gzip: bool) -> bytes:
        lines = _head_lines(self.status, self.header_items(gzip=gzip))
        return b"%sContent-Length: %d\r\n\r\n" % (lines, size)


@lru_cache(maxsize=64)
def _fixed_items(
    ok: bool, content_type: str, cache_control: str, varies: bool, gzip: bool
) -> tuple[tuple[str, str], ...]:
    """A pure function with few answers, asked once per part of every stream."""
    items = [("Content-Type", content_type), ("Cache-Control", cache_control), *_MEDIA_HEADERS]
    if ok:
        items.append(("Accept-Ranges", "bytes"))
    if varies:
        items.append(("Vary", "Accept-Encoding"))
    if gzip:
        items.append(("Content-Encoding", "gzip"))
    return tuple(items)


@lru_cache(maxsize=64)
def _head_lines(status: int, items: tuple[tuple[str, str], ...]) -> bytes:
    """Likewise: all of a head that does not depend on the body."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in items]
    return "".join(lines).encode("latin-1")


def problem(
    status: int,
    detail: str,
    *,
    cache_control: str = NO_STORE,
    retry_after_s: int | None = None,
) -> Reply:
    """A problem document (RFC 9457) with a sentence for people."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    retry = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
    return Reply(status, _PROBLEM, cache_control, json.dumps(document).encode(), headers=retry)


def refusal(error: RefusedError) -> Reply:
    """The problem document of an error."""
    retry_after_s = 1 if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(error.http_status, str(error), retry_after_s=retry_after_s)
