"""Answers that the front gives itself, and the one line about peers that it logs."""

import json
import logging
from email.utils import formatdate
from http import HTTPStatus

__all__ = ["PeerLog", "describe_bytes", "problem_body", "problem_wire"]

_LOG_EVERY_MS = 10_000


def problem_body(status: int, detail: str | None) -> bytes:
    """A problem document (RFC 9457)."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
    }
    if detail:
        document["detail"] = detail
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def problem_wire(status: int, detail: str) -> bytes:
    """A complete answer that carries a problem document and ends its connection."""
    body = problem_body(status, detail)
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        "Server: streamserver\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def describe_bytes(data: bytes, *, port: int) -> str | None:
    """What the first bytes of a connection look like when they are not HTTP; None when they are."""
    first = data[0]
    if first == 0x16:
        return f"TLS came to port {port}, which speaks plain HTTP: use http:// or the TLS port"
    if first == 0x03:
        return f"RTMP came to port {port}, which speaks HTTP: encoders publish to the RTMP port"
    if data.startswith(b"PRI * HTTP/2"):
        return f"HTTP/2 without negotiation came to port {port}, which speaks HTTP/1.1"
    if data.startswith(b"SSH-"):
        return f"SSH came to port {port}, which speaks HTTP"
    # Methods are upper case; an empty line before the request is allowed.
    if 0x41 <= first <= 0x5A or first in b"\r\n":
        return None
    return f"bytes that are not HTTP came to port {port}: {data[:12]!r}"


class PeerLog:
    """One line per kind of misbehaviour in ten seconds, however many peers misbehave."""

    __slots__ = ("_logger", "_said")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: dict[str, list[int]] = {}

    def say(self, kind: str, peer: str, text: str, *, now_ms: int) -> None:
        """Logs a line, or counts it. ``kind`` is one of a few words of ours, never the peer's."""
        last = self._said.get(kind)
        if last is not None and now_ms - last[0] < _LOG_EVERY_MS:
            last[1] += 1
            return
        unsaid = last[1] if last is not None else 0
        self._said[kind] = [now_ms, 0]
        more = f" ({unsaid} more like it since the last line)" if unsaid else ""
        self._logger.info("http %s: %s%s", peer or "peer", text, more)
