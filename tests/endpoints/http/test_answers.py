import json
import logging

import pytest

from streamserver.endpoints.http.answers import PeerLog, describe_bytes, problem_wire


def test_a_refusal_is_a_whole_answer_that_ends_its_connection():
    head, _, body = problem_wire(400, "Não.").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Connection: close" in head
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Não.",
    }


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"\r\nGET", b"P", b"OPTIONS *"])
def test_what_may_become_http_is_not_described(data):
    assert describe_bytes(data, port=8080) is None


def test_a_kind_of_fault_is_logged_once_in_ten_seconds_with_a_count(caplog):
    caplog.set_level(logging.INFO)
    peers = PeerLog(logging.getLogger("test.http"))
    for at_ms in (0, 1, 9_999):
        peers.say("silent", "192.0.2.1", "it said nothing", now_ms=at_ms)
    peers.say("not http", "192.0.2.1", "it spoke TLS", now_ms=5)
    peers.say("silent", "192.0.2.2", "it said nothing", now_ms=10_000)
    assert [record.message for record in caplog.records] == [
        "http 192.0.2.1: it said nothing",
        "http 192.0.2.1: it spoke TLS",
        "http 192.0.2.2: it said nothing (2 more like it since the last line)",
    ]
