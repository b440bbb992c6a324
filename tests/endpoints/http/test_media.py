import gzip
from dataclasses import dataclass

import pytest
from aiohttp import web

from streamserver.endpoints.http.listener import Mount
from streamserver.endpoints.http.media import media_response, render
from tests.endpoints.http.helpers_http import Answer, site


@dataclass(frozen=True)
class Made:
    status: int = 200
    content_type: str = "video/mp4"
    cache_control: str = "public, max-age=3600, immutable"
    body: bytes = bytes(range(100))
    gzip_body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


PART = Made()
TEXT = b"#EXTM3U\n" * 40
PLAYLIST = Made(200, "application/vnd.apple.mpegurl", "no-cache", TEXT, gzip.compress(TEXT))
GONE = Made(404, "text/plain", "max-age=1", b"gone\n", headers=(("Retry-After", "1"),))
REPLIES = {"part": PART, "playlist": PLAYLIST, "gone": GONE}


def media_mount(*, fast: bool) -> Mount:
    def answer_fast(target: bytes, gzip: bool) -> bytes | None:
        reply = REPLIES[target.rpartition(b"/")[2].decode()]
        return render(reply, gzip=gzip)

    async def answer(request: web.Request) -> web.Response:
        return media_response(request, REPLIES[request.match_info["name"]])

    def routes(app: web.Application) -> None:
        app.router.add_route("GET", "/hls/{name}", answer)

    return Mount("/hls/", routes, fast=answer_fast if fast else None, media=True)


def comparable(answer: Answer) -> tuple[int, set[tuple[str, str]], bytes]:
    # Date is when the object was made on one side, and when it was sent on the other.
    headers = {pair for pair in answer.headers.items() if pair[0] != "date"}
    return answer.status, headers, answer.body


@pytest.mark.parametrize("name", sorted(REPLIES))
@pytest.mark.parametrize("encoding", ["gzip, br", "identity"])
async def test_the_front_and_the_application_answer_the_same(name, encoding):
    answers = []
    for fast in (True, False):
        async with site(mounts=(media_mount(fast=fast),)) as it:
            client = await it.connect()
            answers.append(await client.ask(f"/hls/{name}", f"Accept-Encoding: {encoding}"))
            assert it.stats.fast == int(fast)
    assert comparable(answers[0]) == comparable(answers[1])
    assert ("retry-after" in answers[0].headers) is (name == "gone")
    compressed = encoding != "identity" and name == "playlist"
    assert (answers[0].headers.get("content-encoding") == "gzip") is compressed


async def test_head_has_the_headers_of_get_and_no_body():
    async with site(mounts=(media_mount(fast=True),)) as it:
        client = await it.connect()
        got = await client.ask("/hls/part")
        headed = await client.ask("/hls/part", method="HEAD")
        assert headed.body == b""
        assert comparable(got)[1] == comparable(headed)[1]


async def test_a_date_is_written_where_it_is_known():
    wire = render(PART, date="Mon, 01 Jan 2024 00:00:00 GMT")
    assert b"\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n" in wire


@pytest.mark.parametrize(
    ("value", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 9)),
        ("bytes=90-", 206, (90, 99)),
        ("bytes=90-1000", 206, (90, 99)),
        ("bytes=-10", 206, (90, 99)),
        ("bytes=-1000", 206, (0, 99)),
        ("bytes=0-0", 206, (0, 0)),
        ("bytes=100-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-0", 200, None),
        ("bytes=-", 200, None),
        ("bytes=0-1,5-6", 200, None),
        ("items=0-1", 200, None),
        ("bytes=x-y", 200, None),
    ],
)
async def test_ranges(value, status, span):
    async with site(mounts=(media_mount(fast=True),)) as it:
        client = await it.connect()
        answer = await client.ask("/hls/part", f"Range: {value}")
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "*"
        if span is not None:
            first, last = span
            assert answer.body == PART.body[first : last + 1]
            assert answer.headers["content-range"] == f"bytes {first}-{last}/100"
        elif status == 416:
            assert answer.body == b""
            assert answer.headers["content-range"] == "bytes */100"
        else:
            assert answer.body == PART.body
        assert (await client.ask("/hls/part")).body == PART.body


async def test_a_condition_on_a_range_never_holds():
    async with site(mounts=(media_mount(fast=True),)) as it:
        client = await it.connect()
        answer = await client.ask("/hls/part", "Range: bytes=0-1", 'If-Range: "x"')
        assert (answer.status, answer.body) == (200, PART.body)


async def test_a_range_of_a_playlist_is_of_its_plain_text():
    async with site(mounts=(media_mount(fast=True),)) as it:
        client = await it.connect()
        answer = await client.ask("/hls/playlist", "Range: bytes=0-6", "Accept-Encoding: gzip")
        assert (answer.status, answer.body) == (206, b"#EXTM3U")
        assert "content-encoding" not in answer.headers
