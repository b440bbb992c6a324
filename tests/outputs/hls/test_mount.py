"""URLs: what they answer, and that no URL makes the server stumble."""

import asyncio
import gzip
from dataclasses import replace

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.errors import AccessDeniedError
from streamserver.names import StreamKey
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.viewers import ClientInfo
from streamserver.outputs.hls.waiters import Waiter
from tests.outputs.hls.helpers_hls import CLIENT, KEY, OutputRig, Read


def resolve(playlist_path: str, uri: str) -> str:
    """What a player makes of a relative URI."""
    folders = playlist_path.split("/")[:-1]
    for part in uri.split("/"):
        if part == "..":
            folders.pop()
        else:
            folders.append(part)
    return "/".join(folders)


async def test_a_player_finds_its_way_from_the_multivariant_to_the_media():
    rig = OutputRig()
    rig.live()
    master = await rig.get("/hls/live/cam/index.m3u8")
    assert master.cache_control == "no-store"
    assert master.content_type == "application/vnd.apple.mpegurl"
    variant = m3u8.loads(master.body.decode()).playlists[0]
    assert variant.stream_info.codecs == "avc1.64001F,mp4a.40.2"
    assert variant.stream_info.bandwidth == 24_000
    path = resolve("/hls/live/cam/index.m3u8", variant.uri)
    media = await rig.get(path)
    assert media.cache_control == "no-cache"
    for uri in Read(media.body.decode()).uris:
        reply = await rig.get(resolve(path, uri))
        assert reply.status == 200
        assert reply.content_type == "video/mp4"
        assert reply.cache_control == "public, max-age=3600, immutable"
        assert rig.fast(resolve(path, uri)) == reply.wire


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("GStreamer souphttpsrc 1.22.0 libsoup/3.2.2", "near.m3u8"),
        ("GStreamer souphttpsrc 1.24.1 libsoup/3.4.4", "video.m3u8"),
        ("VLC/3.0.24 LibVLC/3.0.24", "video.m3u8"),
    ],
)
async def test_a_player_that_begins_four_segments_back_is_shown_the_newest_only(agent, name):
    rig = OutputRig()
    rig.live()
    master = await rig.get("/hls/live/cam/index.m3u8", client=replace(CLIENT, user_agent=agent))
    path = resolve("/hls/live/cam/index.m3u8", master.body.decode().splitlines()[-1])
    assert path.endswith("/" + name)
    media = await rig.get(path)
    assert media.status == 200
    for uri in Read(media.body.decode()).uris:
        assert (await rig.get(resolve(path, uri))).status == 200
    assert rig.fast(path) == media.wire


async def test_one_segment_means_the_default_stream_and_its_urls_still_resolve():
    rig = OutputRig()
    rig.live(key=StreamKey("live", "default"))
    master = await rig.get("/hls/live/index.m3u8")
    uri = master.body.decode().splitlines()[-1]
    assert uri.startswith("default/s/")
    path = resolve("/hls/live/index.m3u8", uri)
    media = await rig.get(path)
    assert media.status == 200
    first = Read(media.body.decode()).segments[0].uri
    assert (await rig.get(resolve(path, first))).status == 200


async def test_two_mounts_with_different_bases_serve_the_same_stream():
    rig = OutputRig()
    rig.live()
    other = HlsMount(rig.output, base=b"/compat/v1/streams")
    path = await rig.session_path()
    here = await rig.get(path)
    there_path = path.replace("/hls/", "/compat/v1/streams/", 1)
    there = await other.answer(there_path, "", CLIENT)
    assert here.body == there.body
    assert len(rig.sessions.viewers(KEY)) == 1
    assert other.fast(there_path.encode()) == rig.fast(path)
    uri = resolve(there_path, Read(there.body.decode()).segments[0].uri)
    assert other.fast(uri.encode()) is not None
    assert (await other.answer(path, "", CLIENT)).status == 404


async def test_an_empty_base_serves_at_the_root():
    rig = OutputRig()
    rig.live()
    mount = HlsMount(rig.output, base=b"")
    assert (await mount.answer("/live/cam/index.m3u8", "", CLIENT)).status == 200


async def test_the_first_request_of_a_session_is_slow_and_the_next_ones_are_fast():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    assert rig.fast(path) is None
    reply = await rig.get(path)
    assert rig.fast(path) == reply.wire
    packed = rig.fast(path, gzip=True)
    assert isinstance(packed, bytes)
    assert gzip.decompress(packed.partition(b"\r\n\r\n")[2]) == reply.body
    assert rig.output.stats.playlists == 3


async def test_a_blocking_reload_is_parked_by_the_fast_path():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    await rig.get(path)
    waiter = rig.fast(f"{path}?_HLS_msn={rig.make.msn}&_HLS_part=0", gzip=True)
    assert isinstance(waiter, Waiter)
    answers: list[bytes] = []
    waiter.park(answers.append)
    rig.make.part()
    rig.run()
    assert b"Content-Encoding: gzip" in answers[0]
    assert rig.output.stats.parked == 0


async def test_a_blocking_reload_through_the_slow_path_waits_too():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    task = asyncio.create_task(rig.get(path, f"_HLS_msn={rig.make.msn}&_HLS_part=0"))
    await asyncio.sleep(0)
    assert rig.output.stats.parked == 1
    rig.make.part()
    rig.run()
    assert (await task).body == rig.output.delivery(KEY).playlist().body  # type: ignore[union-attr]


async def test_a_client_that_leaves_the_slow_path_is_not_counted_as_waiting():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    task = asyncio.create_task(rig.get(path, f"_HLS_msn={rig.make.msn}"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.output.stats.parked == 0


async def test_a_stream_that_is_starting_holds_the_multivariant():
    rig = OutputRig()
    rig.start()
    task = asyncio.create_task(rig.get("/hls/live/cam/index.m3u8"))
    await asyncio.sleep(0)
    assert not task.done()
    rig.make.target()
    rig.make.segment()
    rig.run()
    assert (await task).status == 200


async def test_a_stream_that_is_not_live_is_not_found_and_not_cached():
    rig = OutputRig()
    for path in ("/hls/live/cam/index.m3u8", "/hls/live/cam/ts.m3u8", "/hls/live/cam/s/x/ts.m3u8"):
        reply = await rig.get(path)
        assert reply.status == 404
        assert reply.cache_control == "no-store"


async def test_a_forged_session_is_refused():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    assert (await rig.get(path.replace("/s/", "/s/A", 1))).status == 403
    assert (await rig.get(f"/hls/live/cam/s/{'A' * 32}/video.m3u8")).status == 403
    assert not rig.sessions.viewers(KEY)


async def test_who_may_not_play_gets_no_session():
    asked = []

    async def authorize(stream: StreamKey, client: ClientInfo, query: str) -> None:
        asked.append((stream, client.ip, query))
        raise AccessDeniedError("a token is needed")

    rig = OutputRig(authorize=authorize)
    rig.live()
    reply = await rig.get("/hls/live/cam/index.m3u8", "token=x")
    assert reply.status == 403
    assert b"a token is needed" in reply.body
    assert asked == [(KEY, CLIENT.ip, "token=x")]


async def test_without_sessions_everything_is_shared_cacheable_and_uncounted():
    rig = OutputRig(HlsSettings(sessions=False))
    stream = rig.live()
    master = await rig.get("/hls/live/cam/index.m3u8")
    assert master.cache_control == "public, max-age=1"
    assert master.body.decode().splitlines()[-1] == "video.m3u8"
    path = "/hls/live/cam/video.m3u8"
    reply = await rig.get(path)
    assert reply.cache_control == "public, max-age=1"
    assert rig.fast(path) == reply.wire
    for uri in Read(reply.body.decode()).uris:
        assert "/s/" not in uri
        assert rig.fast(resolve(path, uri)) is not None
    assert not rig.sessions.viewers(KEY)
    ts = await rig.get("/hls/live/cam/ts.m3u8")
    assert ts.body.decode().splitlines()[-1] == "video.ts.m3u8"
    assert (await rig.get(f"/hls/live/cam/s/{'A' * 32}/video.m3u8")).status == 403
    rig.end(stream)
    rig.later(s=60)
    assert rig.fast(path) is None
    assert not rig.output.entries


HOSTILE = st.sampled_from(
    ["live", "cam", "s", "..", ".", "", "index.m3u8", "ts.m3u8", "video.m3u8", "init0.mp4", "1.m4s",
     "1.1.m4s", "1.ts", "%2e%2e", "\x00", "é", "\ud800", "A" * 300, "A" * 32, "SID", "TOKEN"]
)  # fmt: skip
QUERIES = st.one_of(
    st.sampled_from(
        [
            "",
            "_HLS_msn=0",
            "_HLS_msn=99999999999999999999",
            "_HLS_part=1",
            "_HLS_msn=1&_HLS_part=x",
            "_HLS_msn=-1",
            "a=b",
            "%",
            "&&&",
            "_HLS_msn=1&_HLS_msn=1",
            "\ud800=\xff",
        ]
    ),
    st.text(max_size=20),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, max_size=6), QUERIES, st.text(max_size=10))
def test_any_url_is_answered_with_success_or_a_client_error(segments, query, agent):
    async def run() -> None:
        rig = OutputRig()
        rig.live()
        delivery = rig.output.delivery(KEY)
        assert delivery is not None
        words = {"SID": (await rig.session_path()).split("/")[5], "TOKEN": delivery.window.token}
        path = "/hls/" + "/".join(words.get(segment, segment) for segment in segments)
        try:
            reply = await asyncio.wait_for(
                rig.get(path, query, ClientInfo("192.0.2.9", agent)), timeout=0.05
            )
            assert 200 <= reply.status < 300 or 400 <= reply.status < 500
            assert reply.wire.startswith(b"HTTP/1.1 ")
        except TimeoutError:
            assert "_HLS_msn" in query or path.endswith("ts.m3u8")
        target = path.encode(errors="replace") + b"?" + query.encode(errors="replace")
        answer = rig.mount.fast(target)
        assert answer is None or isinstance(answer, bytes | Waiter)
        rig.output.close()
        await asyncio.sleep(0)

    asyncio.run(run())


async def test_a_head_of_a_hinted_part_waits_for_the_part():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    read = Read((await rig.get(path)).body.decode())
    task = asyncio.create_task(rig.get(resolve(path, read.hints[0])))
    await asyncio.sleep(0)
    part = rig.make.part()
    rig.run()
    reply = await task
    assert isinstance(reply, Reply)
    assert reply.body == part.data
