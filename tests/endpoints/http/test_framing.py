from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.endpoints.http.framing import (
    AnswerScanner,
    ChunkScanner,
    LengthScanner,
    body_scanner,
)
from streamserver.endpoints.http.requests import BadRequestError
from streamserver.errors import LocalProtocolError

CHUNKS = b"5\r\nhello\r\n1;a=b\r\n!\r\n1F\r\n" + bytes(31) + b"\r\n0\r\nTrailer: x\r\n\r\n"


def feed_in_pieces(scanner, data, cuts):
    """Feeds until the scanner has enough, and answers how many bytes it took."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    for start, stop in pairwise(edges):
        used = scanner.feed(data[start:stop])
        if scanner.ended:
            return start + used
        assert used == stop - start
    return len(data)


@settings(max_examples=100)
@given(st.lists(st.integers(1, len(CHUNKS) + 10), max_size=10))
def test_the_end_of_chunks_is_found_at_any_split(cuts):
    scanner = ChunkScanner()
    assert feed_in_pieces(scanner, CHUNKS + b"GET / HTTP/1.1", cuts) == len(CHUNKS)
    assert scanner.ended


@settings(max_examples=50)
@given(st.integers(0, 50), st.lists(st.integers(1, 60), max_size=5))
def test_the_end_of_a_length_is_found_at_any_split(length, cuts):
    scanner = LengthScanner(length)
    if length == 0:
        assert scanner.ended
    else:
        assert feed_in_pieces(scanner, bytes(length) + b"next", cuts) == length
        assert scanner.ended


def test_a_request_without_a_body_has_ended():
    assert body_scanner(0).ended


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"e" * 2000,
        b"0\r\n" + b"T: " + b"v" * 2000,
        b"0\r\n" + (b"T: " + b"v" * 900 + b"\r\n") * 20,
        b"0\r\nT: v\n",
    ],
)
def test_broken_chunks_are_refused(data):
    scanner = ChunkScanner()
    with pytest.raises(BadRequestError):
        scanner.feed(data)


def scan(data, *, to_head=False, step=None):
    scanner = AnswerScanner(to_head=to_head)
    step = step or len(data)
    for start in range(0, len(data), step):
        scanner.feed(data[start : start + step])
    return scanner


@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize(
    ("data", "to_head"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_the_end_of_an_answer_is_known_by_its_framing(data, to_head, step):
    scanner = scan(data, to_head=to_head, step=step)
    assert scanner.ended
    assert scanner.keep_alive
    assert not scan(data[:-1], to_head=to_head, step=step).ended


def test_an_answer_without_framing_has_no_end():
    scanner = scan(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\nFLV", step=5)
    assert scanner.endless
    assert not scanner.tunnel
    assert not scanner.ended
    assert not scanner.keep_alive


def test_after_101_the_bytes_are_no_http():
    scanner = scan(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert scanner.tunnel
    assert not scanner.ended


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_an_answer_says_whether_the_connection_stays(head, keeps):
    assert scan(head + b"Content-Length: 0\r\n\r\n").keep_alive is keeps


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n",
        b"not an answer\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
    ],
)
def test_an_answer_that_breaks_its_framing_is_a_fault_of_ours(data):
    with pytest.raises(LocalProtocolError):
        scan(data)
