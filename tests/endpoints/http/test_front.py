"""The front over real sockets: fast and lent requests, mixed on one connection."""

import asyncio
import logging
import random
import ssl

import pytest
from aiohttp import ClientSession, web

from streamserver.endpoints.http.exchange import Exchange, take_transport
from streamserver.endpoints.http.listener import Mount
from streamserver.errors import LocalProtocolError
from tests.endpoints.http.helpers_http import BROWSER_HEADERS, site

FAST_GET = b"GET /hls/a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_known_object_is_answered_from_prebuilt_bytes():
    async with site() as it:
        client = await it.connect()
        for _ in range(3):
            answer = await client.ask("/hls/a")
            assert (answer.status, answer.body) == (200, b"playlist a")
        assert (it.stats.fast, it.stats.foreign) == (3, 0)


async def test_the_fast_side_sees_path_and_gzip():
    async with site() as it:
        client = await it.connect()
        for _ in range(2):
            client.send(b"GET /hls/a?x=1 HTTP/1.1\r\n" + BROWSER_HEADERS + b"\r\n")
            assert (await client.answer()).body == b"playlist a"
        await client.ask("/hls/b", "Cookie: a=b")
        assert it.fast.seen == [(b"/hls/a?x=1", True), (b"/hls/a?x=1", True), (b"/hls/b", False)]


async def test_a_browsers_requests_take_turns_on_one_connection():
    async with site() as it:
        client = await it.connect()
        for _ in range(2):
            assert (await client.ask("/plain")).body == b"plain"
            assert (await client.ask("/hls/a")).body == b"playlist a"
            client.get("/echo", "Content-Length: 5", method="POST")
            client.send(b"hello")
            assert (await client.answer()).body == b"hello"
            assert (await client.ask("/hls/b")).body == b"part b"
            assert (await client.ask("/chunks")).body == b"one two three"
            assert (await client.ask("/hls/a", method="HEAD")).body == b""
            assert (await client.ask("/empty")).status == 204
            assert (await client.ask("/hls/a")).body == b"playlist a"
            assert (await client.ask("/missing")).status == 404
            assert (await client.ask("/hls/b")).body == b"part b"
        assert (it.stats.fast, it.stats.foreign) == (8, 12)
        assert it.endpoint.open_connections == 1


async def test_a_request_that_the_fast_side_leaves_goes_to_aiohttp():
    async with site() as it:
        client = await it.connect()
        for _ in range(2):
            assert (await client.ask("/hls/unknown")).body == b"slow unknown"
        assert (await client.ask("/hls/a", "Range: bytes=0-1")).body == b"slow a"
        assert (it.stats.missed, it.stats.foreign, it.stats.fast) == (2, 3, 0)
        # Each was asked once, the second by the hot path.
        assert len(it.fast.seen) == 2


async def test_a_fault_of_the_fast_side_leaves_the_request_to_aiohttp(caplog):
    async with site() as it:
        client = await it.connect()
        assert (await client.ask("/hls/fault")).body == b"slow fault"
        assert "the fast path failed" in caplog.text


async def test_pipelined_requests_are_answered_in_order():
    async with site() as it:
        client = await it.connect()
        post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        plain = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(FAST_GET + plain + FAST_GET + post + FAST_GET + plain)
        bodies = [(await client.answer()).body for _ in range(6)]
        assert bodies == [b"playlist a", b"plain", b"playlist a", b"abc", b"playlist a", b"plain"]


@pytest.mark.parametrize("seed", range(6))
async def test_any_mix_of_requests_cut_anywhere_is_answered_in_order(seed):
    kinds = {
        b"playlist a": FAST_GET,
        b"part b": b"GET /hls/b HTTP/1.1\r\n" + BROWSER_HEADERS + b"\r\n",
        b"slow x": b"GET /hls/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"plain": b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        b"one two three": b"GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n",
        b"abc": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"defg": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\ndef\r\n1\r\ng\r\n0\r\n\r\n",
        b"ignored": b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345",
        b"": b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    chance = random.Random(seed)
    expected = chance.choices(list(kinds), k=60)
    data = b"".join(kinds[body] for body in expected)
    async with site() as it:
        client = await it.connect()
        while data:
            step = chance.choice((1, 7, 60, 500))
            client.send(data[:step])
            data = data[step:]
            await asyncio.sleep(0)
        assert [(await client.answer()).body for _ in expected] == expected
        assert it.stats.fast + it.stats.foreign == len(expected)


async def test_requests_arrive_one_byte_at_a_time():
    async with site() as it:
        client = await it.connect()
        post = (
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
        )
        for byte in FAST_GET + post + FAST_GET:
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        bodies = [(await client.answer()).body for _ in range(3)]
        assert bodies == [b"playlist a", b"abcde", b"playlist a"]


async def test_a_long_chunked_upload_passes_through():
    async with site() as it:
        client = await it.connect()
        client.get("/echo", "Transfer-Encoding: chunked", method="POST")
        piece = bytes(range(256)) * 40
        for _ in range(50):
            client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await client.writer.drain()
        client.send(b"0\r\n\r\n" + FAST_GET)
        assert (await client.answer()).body == piece * 50
        assert (await client.answer()).body == b"playlist a"


async def test_an_upload_waits_for_100_continue():
    async with site() as it:
        client = await it.connect()
        client.get("/echo", "Content-Length: 5", "Expect: 100-continue", method="POST")
        assert (await client.answer()).status == 100
        client.send(b"hello" + FAST_GET)
        assert (await client.answer()).body == b"hello"
        assert (await client.answer()).body == b"playlist a"


async def test_a_body_that_no_handler_reads_is_passed_over():
    async with site() as it:
        client = await it.connect()
        client.get("/ignore", "Content-Length: 200000", method="POST")
        client.send(bytes(100_000))
        assert (await client.answer()).body == b"ignored"
        client.send(bytes(100_000) + FAST_GET)
        assert (await client.answer()).body == b"playlist a"


async def test_an_answer_that_ends_early_while_its_body_never_comes_closes():
    async with site() as it:
        client = await it.connect()
        client.get("/ignore", "Content-Length: 5", method="POST")
        assert (await client.answer()).body == b"ignored"
        it.pass_time(76_000)
        assert await client.closed() == b""
        assert it.stats.aborted == 1


async def test_a_body_beyond_the_bound_gets_413_as_a_problem():
    async with site() as it:
        client = await it.connect()
        client.get("/echo", "Content-Length: 2000000", method="POST")
        client.send(bytes(2_000_000))
        answer = await client.answer()
        assert answer.status == 413
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_connection_close_is_answered_and_done(method):
    async with site() as it:
        for target in ("/hls/a", "/plain"):
            client = await it.connect()
            answer = await client.ask(target, "Connection: close", method=method)
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            assert await client.closed() == b""


async def test_http_1_0_is_answered_and_done():
    async with site() as it:
        for target, body in (("/hls/a", b"slow a"), ("/chunks", b"one two three")):
            client = await it.connect()
            client.get(target, version="1.0")
            answer = await client.answer()
            assert "transfer-encoding" not in answer.headers
            assert answer.body == body
            assert await client.closed() == b""


async def test_http_1_0_may_keep_the_connection():
    async with site() as it:
        client = await it.connect()
        for _ in range(2):
            client.get("/plain", "Connection: keep-alive", version="1.0")
            answer = await client.answer()
            assert (answer.body, answer.headers["connection"]) == (b"plain", "keep-alive")
        assert (await client.ask("/hls/a")).body == b"playlist a"


async def test_an_exception_of_a_handler_is_a_problem_and_the_connection_stays(caplog):
    async with site() as it:
        client = await it.connect()
        answer = await client.ask("/fails")
        assert answer.status == 500
        assert b"a fault" not in answer.body
        assert "a fault in a handler" in caplog.text
        assert (await client.ask("/hls/a")).body == b"playlist a"


async def test_an_exception_after_the_answer_began_ends_the_connection(caplog):
    async with site() as it:
        client = await it.connect()
        client.get("/fails-later")
        rest = await client.closed()
        assert b"begun" in rest
        assert not rest.endswith(b"0\r\n\r\n")


async def test_an_answer_longer_than_it_says_ends_the_connection(caplog):
    async with site() as it:
        client = await it.connect()
        client.get("/glued")
        assert await client.closed() == b""
        assert "longer than its head says" in caplog.text
        assert it.stats.aborted == 1


async def test_what_a_handler_writes_after_its_end_goes_nowhere():
    async with site() as it:
        client = await it.connect()
        assert (await client.ask("/late")).body == b"ok"
        assert (await client.ask("/hls/a")).body == b"playlist a"


async def test_events_stream_and_the_connection_comes_back_after_their_end():
    async with site() as it:
        client = await it.connect()
        client.get("/events")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"text/event-stream" in head
        assert await client.chunk() == b"data: first\n\n"
        client.send(FAST_GET)
        it.slow.go.set()
        assert await client.chunk() == b"data: second\n\n"
        assert await client.chunk() == b""
        assert (await client.answer()).body == b"playlist a"


async def test_a_handler_learns_that_its_client_has_gone():
    async with site() as it:
        client = await it.connect()
        client.get("/events")
        await it.slow.entered.wait()
        await client.close()
        await it.until(lambda: it.endpoint.open_connections == 0)
        it.slow.go.set()
        await it.slow.left.wait()


async def test_a_websocket_has_the_connection_for_itself():
    async with site() as it:
        url = f"http://127.0.0.1:{it.port}/ws"
        async with ClientSession() as session, session.ws_connect(url) as socket:
            for text in ("one", "two"):
                await socket.send_str(text)
                assert await socket.receive_str() == f"echo {text}"
        await it.until(lambda: it.endpoint.open_connections == 0)
        assert it.stats.foreign == 1


async def test_frames_right_behind_the_upgrade_are_not_lost():
    async with site() as it:
        client = await it.connect()
        client.get(
            "/ws",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        client.send(b"\x81\x82\x00\x00\x00\x00hi")
        assert (await client.answer()).status == 101
        assert await client.reader.readexactly(9) == b"\x81\x07echo hi"


async def test_a_declined_upgrade_leaves_the_connection_to_http():
    async with site() as it:
        client = await it.connect()
        client.get("/plain", "Upgrade: websocket", "Connection: Upgrade")
        client.send(FAST_GET)
        assert (await client.answer()).body == b"plain"
        assert (await client.answer()).body == b"playlist a"


async def test_a_reload_waits_and_is_answered():
    async with site() as it:
        client = await it.connect()
        client.get("/hls/park?_HLS_msn=3")
        await it.fast.parked.wait()
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/a"])
        assert (await client.answer()).body == b"playlist a"
        assert (await client.ask("/hls/b")).body == b"part b"
        assert (it.stats.fast, it.stats.parked) == (2, 1)
        # A second answer to the same request goes nowhere.
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/a"])
        assert (await client.ask("/hls/b")).body == b"part b"


async def test_requests_behind_a_parked_one_wait_for_it():
    async with site() as it:
        client = await it.connect()
        client.get("/hls/park")
        client.send(FAST_GET)
        client.get("/plain")
        client.get("/hls/park")
        await it.fast.parked.wait()
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/b"])
        bodies = [(await client.answer()).body for _ in range(3)]
        assert bodies == [b"part b", b"playlist a", b"plain"]
        await it.until(lambda: len(it.fast.reloads) == 2)
        it.fast.reloads[1].resume(it.fast.objects[b"/hls/a"])
        assert (await client.answer()).body == b"playlist a"


async def test_a_reload_is_cancelled_when_its_client_has_gone():
    async with site() as it:
        client = await it.connect()
        client.get("/hls/park")
        await it.fast.parked.wait()
        await client.close()
        await it.fast.reloads[0].cancelled.wait()
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/a"])


@pytest.mark.parametrize("target", ["/hls/park", "/slow"])
async def test_what_waits_behind_an_answer_is_bounded(target):
    async with site() as it:
        client = await it.connect()
        client.get(target)
        if target == "/slow":
            await it.slow.entered.wait()
        else:
            await it.fast.parked.wait()
        front = next(iter(it.connections._fronts))
        flood = FAST_GET * 1000
        client.send(flood * 10)
        await it.until(lambda: not front._transport.is_reading())
        assert len(front._pending) <= 16 * 1024 + 256 * 1024
        it.slow.go.set()
        for reload in it.fast.reloads:
            reload.resume(it.fast.objects[b"/hls/a"])
        await client.answer()
        for _ in range(600):
            assert (await client.answer()).body == b"playlist a"


async def test_a_reader_that_is_slow_gets_no_further_answer_begun():
    async with site() as it:
        it.fast.objects[b"/hls/huge"] = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000)
        )
        client = await it.connect(limit=4096)
        request = b"GET /hls/huge HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(request * 20)
        await it.until(lambda: bool(it.connections.stalled))
        assert len(it.fast.seen) < 5
        for _ in range(20):
            assert len((await client.answer()).body) == 3_000_000
        assert it.stats.fast == 20


async def test_a_reader_that_takes_nothing_is_cut_off():
    async with site(max_unsent_bytes=1_000_000) as it:
        it.fast.objects[b"/hls/huge"] = bytes(30_000_000)
        client = await it.connect(limit=1024)
        client.get("/hls/huge")
        await it.until(lambda: bool(it.connections.stalled))
        it.pass_time(1_000)
        it.pass_time(18_000)
        assert it.stats.aborted == 0
        it.pass_time(2_000)
        await it.until(lambda: it.endpoint.open_connections == 0)
        assert it.stats.aborted == 1


async def test_a_handler_is_held_back_by_a_slow_reader():
    async with site() as it:
        client = await it.connect(limit=1024)
        client.get("/big?bytes=20000000")
        await it.until(lambda: bool(it.connections.stalled))
        front = next(iter(it.connections._fronts))
        assert front._transport.get_write_buffer_size() < 1_000_000
        client.send(FAST_GET)
        assert len((await client.answer()).body) == 20_000_000
        assert (await client.answer()).body == b"playlist a"


async def test_a_file_is_sent_through_the_exchange(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 2000)

    async def file(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    def routes(app: web.Application) -> None:
        app.router.add_get("/file", file)

    async with site(mounts=(Mount("/", routes),)) as it:
        client = await it.connect()
        assert (await client.ask("/file")).body == bytes(range(256)) * 2000
        assert (await client.ask("/file", "Range: bytes=0-255")).body == bytes(range(256))


async def test_an_endless_answer_can_take_the_transport():
    async def flv(request: web.Request) -> web.StreamResponse:
        with pytest.raises(LocalProtocolError):
            take_transport(request)
        assert isinstance(request.transport, Exchange)
        request.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        transport = take_transport(request)
        assert transport is not None
        transport.write(b"FLV")
        transport.write(b"...")
        transport.close()
        return web.Response()

    def routes(app: web.Application) -> None:
        app.router.add_get("/flv", flv)

    async with site(mounts=(Mount("/", routes),)) as it:
        client = await it.connect()
        assert (await client.ask("/flv")).body == b"FLV..."


async def test_nobody_takes_the_transport_of_a_client_that_has_gone_just_now():
    taken: list[object] = []

    async def flv(request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, Exchange)
        request.transport.abort()
        request.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        taken.append(take_transport(request))
        return web.Response()

    def routes(app: web.Application) -> None:
        app.router.add_get("/flv", flv)

    async with site(mounts=(Mount("/", routes),)) as it:
        client = await it.connect()
        client.send(b"GET /flv HTTP/1.1\r\nHost: x\r\n\r\n")
        await it.until(lambda: bool(taken))
        assert taken == [None]


async def test_a_slow_head_is_told_408():
    async with site() as it:
        client = await it.connect()
        client.send(b"GET / HTTP/1.1\r\n")
        await it.until(lambda: any(not f.idle for f in it.connections._fronts))
        it.pass_time(9_000)
        client.send(b"Host: x\r\n")
        it.pass_time(2_000)
        assert (await client.answer()).status == 408
        assert await client.closed() == b""


async def test_an_idle_connection_is_closed_without_a_word(caplog):
    caplog.set_level(logging.INFO)
    async with site() as it:
        client = await it.connect()
        await client.ask("/plain")
        await client.ask("/hls/a")
        it.pass_time(74_000)
        assert it.endpoint.open_connections == 1
        it.pass_time(2_000)
        assert await client.closed() == b""
        assert not [r for r in caplog.records if r.name.startswith("streamserver")]


async def test_parked_and_slow_requests_are_not_idle():
    async with site() as it:
        parked, slow = await it.connect(), await it.connect()
        parked.get("/hls/park")
        slow.get("/slow")
        await it.fast.parked.wait()
        await it.slow.entered.wait()
        it.pass_time(1_000_000)
        it.slow.go.set()
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/a"])
        assert (await parked.answer()).body == b"playlist a"
        assert (await slow.answer()).body == b"slow"


async def test_a_silent_connection_costs_one_line(caplog):
    caplog.set_level(logging.INFO)
    async with site() as it:
        clients = [await it.connect() for _ in range(5)]
        await it.until(lambda: it.endpoint.open_connections == 5)
        it.pass_time(76_000)
        for client in clients:
            assert await client.closed() == b""
        assert [record.message for record in caplog.records if "http" in record.name] == [
            "http 127.0.0.1: the connection never said anything"
        ]


async def test_a_probe_that_closes_costs_no_line(caplog):
    caplog.set_level(logging.DEBUG, "streamserver")
    async with site() as it:
        client = await it.connect()
        await client.close()
        await it.until(lambda: it.endpoint.open_connections == 0)
        assert not [r for r in caplog.records if r.name.startswith("streamserver")]
        assert it.stats.aborted == it.stats.refused == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS came to port"),
        (b"\x03" + bytes(1536), "RTMP came to port"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"\x00\xff\x00", "bytes that are not HTTP"),
    ],
)
async def test_another_protocol_is_named_in_one_line(caplog, data, said):
    caplog.set_level(logging.INFO)
    async with site() as it:
        for _ in range(3):
            client = await it.connect()
            client.send(data)
            assert await client.closed() == b""
        lines = [record.message for record in caplog.records if "http" in record.name]
        assert len(lines) == 1
        assert said in lines[0]
        assert str(it.port) in lines[0] or "HTTP/2" in lines[0]
        assert it.stats.refused == 3


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n", 400),
        (b"GET /hls/a?x=\r\nX: HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
async def test_bad_requests_get_a_problem_and_the_door(caplog, data, status):
    async with site() as it:
        client = await it.connect()
        client.send(data)
        answer = await client.answer()
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        assert await client.closed() == b""
        assert not [record for record in caplog.records if record.exc_info]


async def test_a_line_break_in_the_target_is_no_fast_request_even_after_known_headers():
    async with site() as it:
        client = await it.connect()
        assert (await client.ask("/hls/a")).body == b"playlist a"
        client.send(b"GET /hls/a?\r\nX: HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.answer()).status == 400
        assert it.stats.fast == 1


async def test_a_request_that_only_aiohttp_finds_bad_gets_our_page(caplog):
    async with site() as it:
        client = await it.connect()
        client.get("http://[::1")
        answer = await client.answer()
        assert answer.status == 400
        assert answer.headers["server"] == "streamserver"
        assert answer.headers["content-type"] == "application/problem+json"
        assert not [record for record in caplog.records if record.exc_info]


async def test_bytes_behind_a_refusal_do_not_take_it_along():
    async with site() as it:
        client = await it.connect()
        client.send(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 50_000)
        client.send(b"x" * 50_000)
        assert (await client.answer()).status == 400
        assert it.endpoint.open_connections == 1
        it.pass_time(3_000)
        await client.closed()
        assert it.stats.aborted == 0


async def test_too_many_connections_are_told_so():
    async with site(max_connections=2) as it:
        first, second = await it.connect(), await it.connect()
        await first.ask("/plain")
        await second.ask("/plain")
        third = await it.connect()
        answer = await third.answer()
        assert answer.status == 503
        assert b"no room" in answer.body
        assert await third.closed() == b""
        await third.close()
        await it.until(lambda: it.endpoint.open_connections == 2)
        await first.close()
        await it.until(lambda: it.endpoint.open_connections == 1)
        assert (await (await it.connect()).ask("/hls/a")).status == 200


async def test_one_address_has_a_bound_of_its_own():
    async with site(max_connections_per_address=1) as it:
        first = await it.connect()
        await first.ask("/plain")
        answer = await (await it.connect()).answer()
        assert answer.status == 503
        assert b"from this address" in answer.body


async def test_handshakes_of_tls_count_as_the_connections_that_they_will_be():
    async with site(max_connections_per_address=2) as it:
        may_come = it.connections.may_come
        assert may_come("192.0.2.1", here=2, total=2), "to be told that it is one too many"
        assert not may_come("192.0.2.1", here=3, total=3)
        assert it.stats.refused == 1
        assert not may_come("192.0.2.2", here=0, total=1_000_000)
        assert it.stats.refused == 2


async def test_draining_closes_idle_connections_and_lets_answers_end():
    async with site() as it:
        idle, slow, parked = [await it.connect() for _ in range(3)]
        await idle.ask("/hls/a")
        slow.get("/slow")
        parked.get("/hls/park")
        await it.slow.entered.wait()
        await it.fast.parked.wait()
        it.endpoint.stop_accepting()
        assert await idle.closed() == b""
        it.slow.go.set()
        assert (await slow.answer()).body == b"slow"
        assert await slow.closed() == b""
        it.fast.reloads[0].resume(it.fast.objects[b"/hls/a"])
        assert (await parked.answer()).body == b"playlist a"
        assert await parked.closed() == b""
        with pytest.raises(ConnectionError):
            await it.connect()


async def test_closing_ends_what_does_not_end_by_itself():
    async with site() as it:
        events, parked = await it.connect(), await it.connect()
        events.get("/events")
        parked.get("/hls/park")
        await it.slow.entered.wait()
        await it.fast.parked.wait()
        await it.endpoint.close(0)
        assert it.endpoint.open_connections == 0
        assert it.fast.reloads[0].cancelled.is_set()
        await it.slow.left.wait()


async def test_nothing_of_aiohttp_stays_with_an_idle_connection():
    async with site() as it:
        client = await it.connect()
        await client.ask("/plain")
        await client.ask("/chunks")
        await it.until(lambda: it.lent == 0)
        front = next(iter(it.connections._fronts))
        assert front._exchange is None
        assert front._pending is None


async def test_tls_goes_through_the_same_front(tls_server: ssl.SSLContext, tls_client):
    async with site(tls=tls_server) as it:
        client = await it.connect(ssl=tls_client, server_hostname="localhost")
        assert (await client.ask("/hls/a")).body == b"playlist a"
        client.get("/echo", "Content-Length: 5", method="POST")
        client.send(b"hello")
        assert (await client.answer()).body == b"hello"
        assert (await client.ask("/hls/b")).body == b"part b"
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.answer()).status == 400
        assert await client.closed() == b""


async def test_a_websocket_speaks_over_tls(tls_server: ssl.SSLContext, tls_client):
    async with site(tls=tls_server) as it:
        url = f"wss://127.0.0.1:{it.port}/ws"
        async with (
            ClientSession() as session,
            session.ws_connect(url, ssl=tls_client, server_hostname="localhost") as socket,
        ):
            await socket.send_str("one")
            assert await socket.receive_str() == "echo one"
