"""One media object, as a prebuilt answer for the front and as a response of aiohttp: the same.

Media is for every page of the web (CORS for all origins); what is secret is its URL.
"""

import re
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from streamserver.endpoints.http.requests import accepts_gzip

__all__ = ["EXPOSED_HEADERS", "MEDIA_HEADERS", "SERVER", "Reply", "media_response", "render"]

SERVER: Final = "streamserver"
"""The ``Server`` header: a name, no version."""

EXPOSED_HEADERS: Final = (
    "Accept-Patch, Accept-Post, Accept-Ranges, Allow, Content-Length, Content-Range, Date, ETag, "
    "Idempotent-Replayed, Link, Location, Retry-After, WWW-Authenticate"
)
"""What scripts of other origins may read of an answer."""

MEDIA_HEADERS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
    ("X-Content-Type-Options", "nosniff"),
)
"""What every answer under a media mount carries."""

_RANGE: Final = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*")


class Reply(Protocol):
    """A media object, whoever made it."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def content_type(self) -> str:
        """The media type."""

    @property
    def cache_control(self) -> str:
        """The value of ``Cache-Control``."""

    @property
    def body(self) -> bytes:
        """The bytes."""

    @property
    def gzip_body(self) -> bytes | None:
        """The bytes in gzip, or None where that gains nothing."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Further headers, such as ``Retry-After``."""


def render(reply: Reply, *, gzip: bool = False, date: str | None = None) -> bytes:
    """A complete keep-alive answer, to be made once and written many times.

    ``gzip`` chooses the compressed body where there is one. ``date`` is the time at which the
    object was made (an HTTP date); caches count its age from there.
    """
    body, headers = _choose(reply, gzip=gzip)
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *MEDIA_HEADERS)]
    lines += [f"Content-Length: {len(body)}", f"Server: {SERVER}"]
    if date is not None:
        lines.append(f"Date: {date}")
    return "\r\n".join((*lines, "", "")).encode() + body


def media_response(request: web.BaseRequest, reply: Reply) -> web.Response:
    """The same answer through aiohttp; it knows ranges as well (RFC 9110 14), and ``HEAD``.

    One range of the plain bytes is served; several ranges, or a unit that is not bytes, get the
    whole. ``If-Range`` never matches, since media carries no validator: the whole again.
    """
    ranged = request.headers.get("Range") if request.method == "GET" else None
    if reply.status != 200 or "If-Range" in request.headers:
        ranged = None
    span = None if ranged is None else _parse_range(ranged, len(reply.body))
    gzip = span is None and accepts_gzip(
        ",".join(request.headers.getall("Accept-Encoding", ())).encode("latin-1", "replace")
    )
    body, pairs = _choose(reply, gzip=gzip)
    headers = dict((*pairs, *MEDIA_HEADERS))
    status = reply.status
    if span is not None:
        first, last = span
        total = len(body)
        if first > last:
            status, body = 416, b""
            headers["Content-Range"] = f"bytes */{total}"
        else:
            status, body = 206, body[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
    return web.Response(status=status, body=body, headers=headers)


def _choose(reply: Reply, *, gzip: bool) -> tuple[bytes, list[tuple[str, str]]]:
    headers = [("Content-Type", reply.content_type), ("Cache-Control", reply.cache_control)]
    if reply.status == 200:
        headers.append(("Accept-Ranges", "bytes"))
    body = reply.body
    if reply.gzip_body is not None:
        headers.append(("Vary", "Accept-Encoding"))
        if gzip:
            headers.append(("Content-Encoding", "gzip"))
            body = reply.gzip_body
    return body, [*headers, *reply.headers]


def _parse_range(value: str, total: int) -> tuple[int, int] | None:
    """First and last index; first beyond last where nothing fits; None to ignore the header."""
    found = _RANGE.fullmatch(value.strip())
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        # The last so many bytes.
        return (max(total - int(last), 0), total - 1) if int(last) and total else (1, 0)
    if last and int(last) < int(first):
        return None
    if int(first) >= total:
        return (1, 0)
    return int(first), min(int(last), total - 1) if last else total - 1
