import asyncio
import contextlib
import socket
import ssl

import pytest

from streamserver.errors import UnavailableError
from streamserver.sink import Sink, SinkEvent, SinkSettings
from tests.endpoints.rtmp_client import RtmpClient
from tests.sink.helpers_sink import client_of, send_clip, sink_that, trusting, vanish


async def test_a_publisher_is_accepted_and_counted_to_the_last_frame() -> None:
    async with sink_that(keep_messages=5) as sink, client_of(sink) as client:
        await client.publish("live", "cam?s_bl=1&s_ps=1")
        got = await sink.published()
        await sink.received(send_clip(client))
        assert (got.app, got.key) == ("live", "cam?s_bl=1&s_ps=1")
        assert got.encoder == "test/1.0"
        assert got.begins_with_keyframe is True
        assert got.video.frames == 60
        assert len(got.messages) == 5
        await client.until(b"NetStream.Publish.Start")
        client.close()
        await sink.emptied()
        assert got.ended == "the publisher closed the connection"


async def test_several_publishers_are_several_publications() -> None:
    async with sink_that() as sink, client_of(sink) as one, client_of(sink) as two:
        for client, key in ((one, "one"), (two, "two")):
            await client.publish("live", key)
            await client.until(b"NetStream.Publish.Start")
        frames = send_clip(one) + send_clip(two)
        await sink.received(frames)
        assert [got.key for got in sink.publications] == ["one", "two"]
        assert [got.frames for got in sink.publications] == [frames // 2] * 2
        assert (sink.connections, sink.open_connections) == (2, 2)


async def test_what_is_waited_for_in_vain_is_a_timeout() -> None:
    async with sink_that() as sink:
        with pytest.raises(TimeoutError):
            await sink.published(within_s=0.01)


async def test_closing_cuts_the_publishers_and_frees_the_port() -> None:
    events: list[SinkEvent] = []
    sink = Sink(tell=events.append)
    await sink.start()
    client = await RtmpClient.connect(sink.port)
    await client.publish("live", "cam")
    got = await sink.published()
    await sink.close()
    await sink.close()
    await client.until_closed()
    assert got.ended == events[-1].facts["reason"] == "the sink was closed"
    with pytest.raises(ConnectionRefusedError):
        await RtmpClient.connect(sink.port)
    client.close()


async def test_a_taken_port_says_which_flag_chooses_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"sink port {port} is taken.*--port"):
            await Sink(SinkSettings(host="127.0.0.1", port=port)).start()


async def test_a_player_is_told_that_there_is_nothing_to_play() -> None:
    async with sink_that() as sink, client_of(sink) as client:
        await client.play("live", "cam")
        await client.until_closed()
        assert b"plays nothing" in client.seen


async def test_a_broken_publisher_ends_only_itself() -> None:
    events: list[SinkEvent] = []
    async with (
        Sink(SinkSettings(), tell=events.append) as sink,
        client_of(sink) as good,
        client_of(sink) as bad,
    ):
        await good.publish("live", "cam")
        await sink.published()
        bad.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await bad.until_closed()
        await sink.received(send_clip(good))
    reasons = [str(event.facts["reason"]) for event in events if event.name == "ended"]
    assert any("broke the protocol" in reason for reason in reasons)


async def test_connections_beyond_the_bound_are_closed() -> None:
    async with sink_that(max_connections=1) as sink, client_of(sink) as first:
        await first.publish("live", "cam")
        await sink.published()
        async with client_of(sink) as second:
            await second.until_closed()
        assert sink.connections == 1


async def test_everything_that_happens_is_told_in_its_order() -> None:
    events: list[SinkEvent] = []
    grown = asyncio.Event()

    def tell(event: SinkEvent) -> None:
        events.append(event)
        if event.name == "progress":
            grown.set()

    async with Sink(SinkSettings(report_s=0.01), tell=tell) as sink, client_of(sink) as client:
        await client.publish("live", "camera")
        frames = send_clip(client)
        await sink.received(frames)
        await grown.wait()
        client.close()
        await sink.emptied()
    names = list(dict.fromkeys(event.name for event in events))
    assert names == ["listening", "connected", "published", "progress", "ended"]
    assert events[0].facts["url"] == f"rtmp://localhost:{sink.port}/live"
    facts = events[-1].facts
    assert (facts["stream"], facts["video_frames"]) == ("live/came…", 60)
    assert facts["audio_frames"] == frames - 60


# ---- misbehaving ------------------------------------------------------------------------------


async def test_refuse_resets_at_once() -> None:
    async with sink_that("refuse") as sink, client_of(sink) as client:
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        await sink.emptied()
        assert sink.connections == 1


async def test_refuse_resets_also_where_tls_was_asked_for() -> None:
    async with sink_that("refuse", tls=True) as sink:
        with pytest.raises(ConnectionResetError):
            await RtmpClient.connect(sink.port, tls=trusting(sink))


async def test_silent_takes_everything_and_answers_nothing() -> None:
    async with sink_that("silent") as sink, client_of(sink) as client:
        client.writer.write(b"\x03" + bytes(1536))
        client.writer.write_eof()
        assert await client.reader.read() == b""
        await sink.emptied()


async def test_garbage_is_no_handshake() -> None:
    async with sink_that("garbage") as sink, client_of(sink) as client:
        client.writer.write(b"\x03" + bytes(1536))
        answer = await client.reader.readexactly(3073)
        assert answer[0] != 3


async def test_web_answers_as_a_web_server() -> None:
    async with sink_that("web") as sink, client_of(sink) as client:
        client.writer.write(b"\x03" + bytes(1536))
        await client.until_closed()
        head, _, body = client.seen.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert f"Content-Length: {len(body)}".encode() in head


async def test_reject_tells_the_publisher_why() -> None:
    async with sink_that("reject:your key is stale") as sink, client_of(sink) as client:
        await client.publish("live", "cam")
        await client.until_closed()
        assert b"your key is stale" in client.seen
        assert b"NetStream.Publish.Denied" in client.seen
        assert not sink.publications


async def test_stall_accepts_and_then_reads_nothing() -> None:
    async with sink_that("stall") as sink, client_of(sink) as client:
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        got = await sink.published()
        # More than both kernels hold: what the client cannot send stays with it.
        client.writer.write(bytes(16 * 2**20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.writer.drain()
        assert (got.bytes, got.ended) == (0, None)
        vanish(client)
        await sink.emptied()
        assert got.ended == "the publisher left while it was not read"


async def test_drop_closes_some_time_after_it_accepted() -> None:
    async with sink_that("drop:100ms") as sink, client_of(sink) as client:
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        send_clip(client)
        await client.until_closed()
        await sink.emptied()
        assert sink.publications[0].ended == "dropped after 0.1 s, as it was told to"


async def test_slow_reads_at_its_rate() -> None:
    async with sink_that("slow:400k") as sink, client_of(sink) as client:
        await client.publish("live", "cam")
        got = await sink.published()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        frames = send_clip(client)
        await sink.received(frames)
        # No faster than it may; how much slower is the machine's affair.
        assert loop.time() - begun >= (got.bytes - 20_000) * 8 / 400_000


async def test_close_each_cuts_each_connection_one_message_later() -> None:
    async with sink_that("close-each") as sink:
        for _ in range(2):
            async with client_of(sink) as client:
                with contextlib.suppress(EOFError, ConnectionError):
                    await client.publish("live", "cam")
                    await client.until_closed()
                assert b"NetStream.Publish.Start" not in client.seen
            await sink.emptied()
        assert not sink.publications
        async with client_of(sink) as client:
            await client.publish("live", "cam")
            send_clip(client)
            await client.until_closed()
        await sink.emptied()
        (got,) = sink.publications
        assert (got.frames, got.video.headers + got.audio.headers) == (0, 0)


async def test_close_each_with_a_number_cuts_all_at_the_same() -> None:
    async with sink_that("close-each:5") as sink:
        for _ in range(2):
            async with client_of(sink) as client:
                await client.publish("live", "cam")
                await client.until(b"NetStream.Publish.Start")
                send_clip(client)
                await client.until_closed()
        headers = [got.video.headers + got.audio.headers for got in sink.publications]
        assert headers == [2, 2]
        assert [got.frames for got in sink.publications] == [0, 0]


# ---- TLS --------------------------------------------------------------------------------------


async def test_with_tls_a_client_that_trusts_the_certificate_publishes() -> None:
    async with sink_that(tls=True) as sink, client_of(sink, tls=trusting(sink)) as client:
        assert sink.url.startswith("rtmps://")
        await client.publish("live", "cam")
        await sink.received(send_clip(client))
        client.close()
        await sink.emptied()


async def test_others_do_not_trust_it() -> None:
    async with sink_that(tls=True) as sink:
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            await RtmpClient.connect(sink.port, tls=ssl.create_default_context())


@pytest.mark.parametrize(
    ("how", "said"), [("tls-bad", "Hostname mismatch"), ("tls-bad:expired", "expired")]
)
async def test_tls_bad_fails_also_for_those_who_trust_it(how: str, said: str) -> None:
    async with sink_that(how) as sink:
        with pytest.raises(ssl.SSLCertVerificationError, match=said):
            await RtmpClient.connect(sink.port, tls=trusting(sink))
        assert sink.connections == 0


async def test_stall_works_under_tls() -> None:
    async with sink_that("stall", tls=True) as sink, client_of(sink, tls=trusting(sink)) as client:
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        send_clip(client)
        got = await sink.published()
        vanish(client)
        await sink.emptied()
        assert got.frames == 0
