"""Where bodies and answers end, without IO and without keeping any of them (RFC 9112 6 and 7)."""

import re
from typing import Final, Protocol

from streamserver.endpoints.http.requests import CHUNKED, BadRequestError
from streamserver.errors import LocalProtocolError

__all__ = ["AnswerScanner", "BodyScanner", "ChunkScanner", "LengthScanner", "body_scanner"]

_MAX_LINE: Final = 1024
_MAX_TRAILER_BYTES: Final = 8 * 1024
_MAX_ANSWER_HEAD: Final = 64 * 1024
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f]*)?\r\n")


class BodyScanner(Protocol):
    """Finds the end of one body."""

    ended: bool
    """Whether the whole body went by."""

    def feed(self, data: bytes, start: int = 0) -> int:
        """Answers the index in ``data`` at which the body stops; its length while it goes on.

        Raises `BadRequestError` where the framing is broken.
        """


class LengthScanner:
    """A body of known length."""

    __slots__ = ("_left", "ended")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = length == 0

    def feed(self, data: bytes, start: int = 0) -> int:
        """See `BodyScanner.feed`."""
        step = min(self._left, len(data) - start)
        self._left -= step
        self.ended = self._left == 0
        return start + step


class ChunkScanner:
    """A chunked body with its trailers (RFC 9112 7.1)."""

    __slots__ = ("_expect", "_line", "_skip", "_trailer_bytes", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._expect = self._on_size
        self._line = b""
        self._skip = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes, start: int = 0) -> int:
        """See `BodyScanner.feed`."""
        at, stop = start, len(data)
        while at < stop and not self.ended:
            if self._skip:
                step = min(self._skip, stop - at)
                self._skip -= step
                at += step
                continue
            newline = data.find(b"\n", at)
            line = self._line + data[at : stop if newline < 0 else newline + 1]
            if len(line) > _MAX_LINE:
                raise BadRequestError("A line of the chunked body is too long.")
            if newline < 0:
                self._line = line
                return stop
            self._line = b""
            at = newline + 1
            self._expect(line)
        return at

    def _on_size(self, line: bytes) -> None:
        found = _CHUNK_SIZE.fullmatch(line)
        if found is None:
            raise BadRequestError("The size of a chunk is not a hexadecimal number.")
        self._skip = int(found.group(1), 16)
        self._expect = self._on_data_end if self._skip else self._on_trailer

    def _on_data_end(self, line: bytes) -> None:
        if line != b"\r\n":
            raise BadRequestError("A chunk is longer than its size says.")
        self._expect = self._on_size

    def _on_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise BadRequestError("The trailers of the body are too long.")
        if line == b"\r\n":
            self.ended = True
        elif not line.endswith(b"\r\n"):
            raise BadRequestError("A trailer line is not one of HTTP.")


def body_scanner(body_bytes: int) -> BodyScanner:
    """The scanner for a request's body, by `RequestHead.body_bytes`."""
    return ChunkScanner() if body_bytes == CHUNKED else LengthScanner(body_bytes)


class AnswerScanner:
    """Watches an answer being written, and knows when its last byte went by (RFC 9112 6.3).

    Interim answers (1xx) are passed over. An answer without framing ends with its connection, and
    after 101 the bytes are no HTTP any more; neither ever becomes ``ended``.
    """

    __slots__ = ("_body", "_head", "_to_head", "endless", "keep_alive", "status", "tunnel")

    def __init__(self, *, to_head: bool) -> None:
        self._to_head = to_head
        self._head = b""
        self._body: BodyScanner | None = None
        self.status = 0
        """The status of the final answer; 0 before it began."""
        self.keep_alive = False
        """Whether the answer lets the connection be used again."""
        self.endless = False
        """Whether the answer goes on until the connection closes."""
        self.tunnel = False
        """Whether the answer switched to another protocol."""

    @property
    def ended(self) -> bool:
        """Whether the whole final answer went by."""
        return self._body is not None and self._body.ended

    def feed(self, data: bytes) -> None:
        """Looks at what is written. Raises `LocalProtocolError` when it goes beyond its framing."""
        if self.endless:
            return
        if self.status == 0:
            data = self._find_final_head(self._head + data)
        if self._body is not None and data and self._scan(self._body, data) < len(data):
            raise LocalProtocolError("an answer is longer than its head says")

    def _find_final_head(self, head: bytes) -> bytes:
        """Reads heads up to the final one, and answers what follows it."""
        while (end := head.find(b"\r\n\r\n") + 4) > 3:
            is_final = self._on_head(head[:end])
            head = head[end:]
            if is_final:
                self._head = b""
                return head
        if len(head) > _MAX_ANSWER_HEAD:
            raise LocalProtocolError("the head of an answer has no end")
        self._head = head
        return b""

    @staticmethod
    def _scan(body: BodyScanner, data: bytes) -> int:
        try:
            return body.feed(data)
        except BadRequestError as error:
            # The scanner speaks of requests; these bytes are ours.
            raise LocalProtocolError(f"an answer breaks its chunked framing: {error}") from error

    def _on_head(self, head: bytes) -> bool:
        try:
            status = int(head[9:12])
        except ValueError:
            raise LocalProtocolError("an answer does not begin with a status line") from None
        if 100 <= status < 200 and status != 101:
            return False
        self.status = status
        fields = head.lower()
        connection = _value(fields, b"connection")
        self.keep_alive = b"close" not in connection and (
            fields.startswith(b"http/1.1") or b"keep-alive" in connection
        )
        length = _value(fields, b"content-length")
        if status == 101:
            self.endless = self.tunnel = True
        elif self._to_head or status in (204, 304):
            self._body = LengthScanner(0)
        elif b"chunked" in _value(fields, b"transfer-encoding"):
            self._body = ChunkScanner()
        elif length.isdigit():
            self._body = LengthScanner(int(length))
        else:
            self.endless = True
            self.keep_alive = False
        return True


def _value(fields: bytes, name: bytes) -> bytes:
    label = b"\r\n" + name + b":"
    at = fields.find(label)
    if at < 0:
        return b""
    at += len(label)
    return fields[at : fields.index(b"\r\n", at)].strip()
