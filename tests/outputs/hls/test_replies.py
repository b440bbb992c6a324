import gzip
import json

import pytest

from streamserver.endpoints.http.media import render
from streamserver.errors import LimitError, NotFoundError
from streamserver.outputs.hls.replies import (
    IMMUTABLE,
    MP4,
    NO_CACHE,
    PLAYLIST,
    Reply,
    problem,
    refusal,
)


def split(wire: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("gzip_accepted", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, MP4, IMMUTABLE, b"media"),
        Reply(200, PLAYLIST, NO_CACHE, b"#EXTM3U\n" * 50, compress=True),
        problem(404, "nothing there"),
    ],
)
def test_the_ready_message_says_what_the_application_would_say(reply, gzip_accepted):
    """The front sends the one, aiohttp the other, for the same URL."""
    ours = split(reply.wire_gzip if gzip_accepted else reply.wire)
    assert ours == split(render(reply, gzip=gzip_accepted))


def test_media_is_a_complete_immutable_message():
    first, headers, body = split(Reply(200, MP4, IMMUTABLE, b"media").wire)
    assert first == "HTTP/1.1 200 OK"
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Cache-Control"] == "public, max-age=3600, immutable"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Length"] == "5"
    assert "Vary" not in headers
    assert body == b"media"


def test_media_is_not_compressed():
    reply = Reply(200, MP4, IMMUTABLE, b"media")
    assert reply.gzip_body is None
    assert reply.wire_gzip is reply.wire


def test_a_playlist_comes_plain_and_compressed():
    reply = Reply(200, PLAYLIST, NO_CACHE, b"#EXTM3U\n" * 50, compress=True)
    _, headers, body = split(reply.wire)
    assert headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in headers
    _, headers, packed = split(reply.wire_gzip)
    assert headers["Vary"] == "Accept-Encoding"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(packed))
    assert gzip.decompress(packed) == body == reply.body


def test_a_body_made_on_demand_is_made_once():
    made = []

    def make() -> bytes:
        made.append(1)
        return b"joined"

    reply = Reply(200, MP4, IMMUTABLE, make)
    assert not reply.is_built
    assert reply.wire.endswith(b"\r\n\r\njoined")
    assert reply.body == b"joined"
    assert bytes(reply.payload) == b"joined"
    assert made == [1]
    assert reply.is_built


def test_a_body_in_pieces_is_joined_once_and_straight_into_the_message():
    pieces = (b"moof", b"frame", b"", b"sound")
    reply = Reply(200, MP4, IMMUTABLE, pieces)
    assert reply.is_built
    assert reply.pieces is pieces
    assert reply.wire == Reply(200, MP4, IMMUTABLE, b"".join(pieces)).wire
    assert reply.body == b"moofframesound"
    assert b"".join(reply.pieces) == b"moofframesound"
    assert reply.wire is reply.wire


def test_a_body_in_pieces_can_be_read_before_the_message_is_built():
    reply = Reply(200, MP4, IMMUTABLE, (b"a", b"b"))
    assert reply.payload == b"ab"
    assert reply.pieces == (b"ab",)
    assert reply.wire.endswith(b"\r\n\r\nab")


def test_the_body_stays_the_same_before_and_after_the_message_is_built():
    reply = Reply(200, PLAYLIST, NO_CACHE, b"text", compress=True)
    before = reply.body
    assert reply.wire
    assert reply.body == before
    assert gzip.decompress(reply.gzip_body or b"") == before


def test_a_problem_says_what_is_wrong_and_is_not_cached():
    first, headers, body = split(problem(404, "no such thing").wire)
    assert first == "HTTP/1.1 404 Not Found"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(body)["detail"] == "no such thing"


def test_a_refusal_has_the_status_of_its_error_and_asks_to_come_back():
    assert refusal(NotFoundError("gone")).status == 404
    full = refusal(LimitError("full"))
    assert full.status == 503
    assert ("Retry-After", "1") in full.header_items(gzip=False)
