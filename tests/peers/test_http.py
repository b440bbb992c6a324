"""HTTP as clients and caches expect it, asked with curl."""

import gzip
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.ffmpeg import require
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl was told."""

    status: int
    headers: dict[str, str]
    body: bytes


def curl(url: str, *options: str) -> Answer:
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "20", *options, url], capture_output=True, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    require("curl")
    with RunningServer(tmp_path_factory.mktemp("http"), command="demo") as server:
        server.wait_live("live/demo")
        yield server


@pytest.fixture(scope="module")
def playlist(demo: RunningServer) -> str:
    base = demo.hls_url("live/demo", "")
    return base + curl(base + "index.m3u8").body.decode().splitlines()[-1]


@pytest.fixture(scope="module")
def segment(demo: RunningServer, playlist: str) -> str:
    lines = curl(playlist).body.decode().splitlines()
    uri = next(line for line in lines if line.endswith(".m4s"))
    return demo.hls_url("live/demo", uri.replace("../", ""))


def test_head_tells_what_get_would_and_sends_no_body(
    demo: RunningServer, playlist: str, segment: str
) -> None:
    for url in (f"{demo.base_url}/", f"{demo.base_url}/play/live/demo", playlist, segment):
        whole, head = curl(url), curl(url, "-I")
        assert head.status == whole.status == 200
        assert head.body == b""
        assert head.headers["content-type"] == whole.headers["content-type"]
        if url != playlist:  # which has grown meanwhile
            assert int(head.headers["content-length"]) == len(whole.body)


def test_a_range_of_a_segment_is_that_part_of_it(segment: str) -> None:
    whole = curl(segment)
    assert whole.headers["accept-ranges"] == "bytes"
    part = curl(segment, "-r", "100-199")
    assert part.status == 206
    assert part.body == whole.body[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.body)}"
    assert curl(segment, "-r", "-10").body == whole.body[-10:]
    beyond = curl(segment, "-r", f"{len(whole.body)}-")
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{len(whole.body)}"


def test_pages_of_any_origin_may_read_media(playlist: str, segment: str) -> None:
    for url in (playlist, segment):
        answer = curl(url, "-H", "Origin: https://example.org")
        assert answer.headers["access-control-allow-origin"] == "*"
        preflight = curl(
            url,
            *("-X", "OPTIONS", "-H", "Origin: https://example.org"),
            *("-H", "Access-Control-Request-Method: GET"),
            *("-H", "Access-Control-Request-Headers: range"),
        )
        assert preflight.status == 204
        assert "GET" in preflight.headers["access-control-allow-methods"]
        assert "Range" in preflight.headers["access-control-allow-headers"]


def test_the_api_is_closed_to_pages_of_other_origins(demo: RunningServer) -> None:
    answer = curl(f"{demo.base_url}/api/v1/streams", "-H", "Origin: https://example.org")
    assert answer.status == 401
    assert "access-control-allow-origin" not in answer.headers


def test_text_is_compressed_for_who_takes_it_and_media_never(
    demo: RunningServer, playlist: str, segment: str
) -> None:
    for url in (f"{demo.base_url}/", playlist):
        squeezed = curl(url, "-H", "Accept-Encoding: gzip")
        assert squeezed.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in squeezed.headers["vary"]
        assert gzip.decompress(squeezed.body)[:1] in b"<#"
        assert "content-encoding" not in curl(url).headers
    assert "content-encoding" not in curl(segment, "-H", "Accept-Encoding: gzip").headers


def test_a_page_that_has_not_changed_is_not_sent_again(demo: RunningServer) -> None:
    for encoding in ("identity", "gzip"):
        accept = ("-H", f"Accept-Encoding: {encoding}")
        tag = curl(f"{demo.base_url}/", *accept).headers["etag"]
        again = curl(f"{demo.base_url}/", *accept, "-H", f"If-None-Match: {tag}")
        assert again.status == 304
        assert again.body == b""
        assert again.headers["etag"] == tag
    assert curl(f"{demo.base_url}/", "-H", 'If-None-Match: "another"').status == 200


def test_what_may_be_kept_says_so(demo: RunningServer, playlist: str, segment: str) -> None:
    index = curl(demo.hls_url("live/demo"))
    assert index.headers["cache-control"] == "no-store"
    assert curl(playlist).headers["cache-control"] == "no-cache"
    assert "immutable" in curl(segment).headers["cache-control"]


def test_what_is_not_there_is_a_problem_document(demo: RunningServer) -> None:
    for path in ("/hls/live/nobody/index.m3u8", "/api/v1/streams/live/nobody", "/nowhere"):
        answer = curl(demo.base_url + path)
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_one_connection_takes_one_request_after_the_other(
    playlist: str, segment: str, demo: RunningServer, tmp_path: Path
) -> None:
    urls = [playlist, f"{demo.base_url}/", segment, f"{demo.base_url}/api/v1/server", playlist]
    outputs = [word for index in range(len(urls)) for word in ("-o", str(tmp_path / f"{index}"))]
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code} %{num_connects}\n", *outputs, *urls],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines() == ["200 1", *["200 0"] * 4]
