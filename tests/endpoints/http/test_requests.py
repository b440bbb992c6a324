from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.endpoints.http.requests import (
    CHUNKED,
    BadRequestError,
    HeadScanner,
    accepts_gzip,
    parse_request_head,
)
from tests.endpoints.http.helpers_http import BROWSER_HEADERS

GET = b"GET /hls/live/demo/index.m3u8?_HLS_msn=7 HTTP/1.1\r\n" + BROWSER_HEADERS + b"\r\n"
POST = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def head(*lines: str, request: str = "GET /x HTTP/1.1") -> bytes:
    return "\r\n".join([request, *lines, "", ""]).encode("latin-1")


@settings(max_examples=100)
@given(st.lists(st.integers(1, len(GET + POST + GET) - 1), max_size=12))
def test_heads_are_found_at_any_split(cuts):
    data = GET + POST + GET
    edges = [0, *sorted(set(cuts)), len(data)]
    scanner = HeadScanner()
    heads = []
    for start, stop in pairwise(edges):
        scanner.feed(data[start:stop])
        while (found := scanner.next_head()) is not None:
            heads.append(found)
    assert heads == [GET, POST, GET]
    assert len(scanner) == 0


def test_heads_are_found_one_byte_at_a_time():
    scanner = HeadScanner()
    for index in range(len(GET) - 1):
        scanner.feed(GET[index : index + 1])
        assert scanner.next_head() is None
    scanner.feed(GET[-1:])
    assert scanner.next_head() == GET


def test_empty_lines_before_a_request_are_ignored():
    scanner = HeadScanner()
    scanner.feed(b"\r\n\r\n\r\n" + POST + b"hello")
    assert scanner.next_head() == POST
    assert scanner.take_all() == b"hello"
    assert len(scanner) == 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_beyond_the_bound_is_refused(whole):
    scanner = HeadScanner(1024)
    scanner.feed(b"GET / HTTP/1.1\r\nX: " + b"y" * 1024 + b"\r\n\r\n" * whole)
    with pytest.raises(BadRequestError) as error:
        scanner.next_head()
    assert error.value.status == 431


def test_a_browsers_get_is_plain():
    request = parse_request_head(GET)
    assert (request.plain, request.gzip, request.keep_alive) == (True, True, True)
    assert request.target == b"/hls/live/demo/index.m3u8?_HLS_msn=7"
    assert (request.body_bytes, request.upgrade) == (0, False)


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "Range: bytes=0-",
        "rAnGe: bytes=0-",
        "If-None-Match: x",
        "If-Modified-Since: x",
        "If-Range: x",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Connection: close",
        "Connection: keep-alive, Close",
    ],
)
def test_a_get_with_more_to_it_is_not_plain(line):
    assert not parse_request_head(head("Host: x", line)).plain


def test_only_get_of_a_path_in_http_1_1_is_plain():
    for request in ("HEAD /x HTTP/1.1", "GET /x HTTP/1.0", "GET http://h/x HTTP/1.1"):
        assert not parse_request_head(head("Host: x", request=request)).plain


@pytest.mark.parametrize(
    ("version", "line", "keeps"),
    [
        ("1.1", "A: b", True),
        ("1.1", "Connection: close", False),
        ("1.0", "A: b", False),
        ("1.0", "Connection: Keep-Alive", True),
    ],
)
def test_versions_differ_in_what_keeps_a_connection(version, line, keeps):
    request = parse_request_head(head("Host: x", line, request=f"GET / HTTP/{version}"))
    assert request.keep_alive is keeps


def test_bodies_are_framed_by_length_or_in_chunks():
    assert parse_request_head(POST).body_bytes == 5
    chunked = head("Host: x", "Transfer-Encoding: Chunked", request="POST / HTTP/1.1")
    assert parse_request_head(chunked).body_bytes == CHUNKED


def test_an_upgrade_needs_both_headers():
    assert parse_request_head(head("Host: x", "Upgrade: websocket", "Connection: Upgrade")).upgrade
    assert not parse_request_head(head("Host: x", "Upgrade: websocket")).upgrade


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(), 400),
        (head("Host: a", "Host: b"), 400),
        (head("Host: x", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (head("Host: x", "Content-Length: 5", "Content-Length: 5"), 400),
        (head("Host: x", "Content-Length: +5"), 400),
        (head("Host: x", "Content-Length: 5, 5"), 400),
        (head("Host: x", "Content-Length: 9999999999999999"), 400),
        (head("Host: x", "Transfer-Encoding: gzip, chunked"), 501),
        (head("Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: x"), 501),
        (head("Host: x", "Transfer-Encoding: chunked", request="GET / HTTP/1.0"), 400),
        (head("Host: x", "Name : value"), 400),
        (head("Host: x", " continued"), 400),
        (head("Host: x", "No colon"), 400),
        (head("Host: x", "A: b\nTransfer-Encoding: chunked"), 400),
        (head("Host: x", "A: b\x00"), 400),
        (head("Host: x", "A: b\rC: d"), 400),
        (head("Host: x", request="GET /a\tb HTTP/1.1"), 400),
        (head("Host: x", request="GET /a b HTTP/1.1"), 400),
        (head("Host: x", request="GET /a"), 400),
        (head("Host: x", request="GET / HTTP/2.0"), 505),
        (head("Host: x", request="BREW / HTTP/1.1"), 501),
        (head("Host: x", *(f"H{n}: v" for n in range(200))), 431),
    ],
)
def test_unclear_heads_are_refused(raw, status):
    with pytest.raises(BadRequestError) as error:
        parse_request_head(raw)
    assert error.value.status == status


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_bad_request(data):
    scanner = HeadScanner()
    scanner.feed(data + b"\r\n\r\n")
    with suppress(BadRequestError):
        found = scanner.next_head()
        if found is not None:
            assert parse_request_head(found).target


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"gzip", True),
        (b"gzip, deflate, br", True),
        (b"br;q=1.0, GZIP;q=0.5", True),
        (b"x-gzip", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, br", False),
        (b"br, deflate", False),
        (b"notgzip", False),
        (b"", False),
    ],
)
def test_gzip_is_taken_where_it_is_offered(value, accepted):
    assert accepts_gzip(value) is accepted
