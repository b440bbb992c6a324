"""RTMP players before a whole server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamserver.endpoints.rtmp_watch import RtmpWatch
from streamserver.media import flv
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.rtmp.message import AUDIO, STREAM_EOF, USER_CONTROL, VIDEO
from tests import media_factory
from tests.endpoints.helpers_site import Site, running
from tests.endpoints.rtmp_player import NULL, boolean

CAM = StreamKey("live", "cam")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, "rtmp.wait_for_stream_s=5", "server.reconnect_window_s=5") as it:
        yield it


async def test_a_player_starts_with_headers_and_the_newest_group(site: Site):
    await site.publish()
    player = await site.play()
    video = await player.until_media(31)
    assert player.codes[:4] == [
        "NetConnection.Connect.Success", "", "NetStream.Play.Reset", "NetStream.Play.Start"
    ]  # fmt: skip
    assert isinstance(flv.parse_video(video[0].body)[0], flv.VideoConfig)
    first = flv.parse_video(video[1].body)[0]
    assert isinstance(first, flv.VideoFrame)
    assert first.frame_type is flv.FrameType.KEY
    # A clip of two seconds has a keyframe each second: the newest group is thirty frames.
    assert video[1].timestamp - site.hub.registry.streams()[0].packets.span_ms > 0
    assert len(player.of(AUDIO)) > 30
    session = site.hub.sessions.viewers(CAM)[0]
    assert session.protocol == "rtmp"
    assert session.bytes_sent > 1000
    player.close()
    await site.until_viewers(0)


async def test_what_comes_later_follows_and_new_headers_come_in_band(site: Site):
    publisher = await site.publish()
    player = await site.play()
    before = len(await player.until_media(31))
    other = media_factory.read_flv(media_factory.encode(size=(160, 90)))
    site.send(publisher, other, later_ms=2_100)
    video = await player.until_media(before + 61)
    configs = [m for m in video if isinstance(flv.parse_video(m.body)[0], flv.VideoConfig)]
    assert len(configs) == 2
    assert configs[0].body != configs[1].body
    times = [m.timestamp for m in video]
    assert times == sorted(times)


async def test_a_player_waits_for_a_stream_that_is_not_live(site: Site):
    player = await site.play()
    await site.publish()
    await player.until("NetStream.Play.Start")
    await player.until_media(31)


async def test_one_that_gives_up_waiting_is_forgotten(site: Site):
    player = await site.play()
    await player.until("NetConnection.Connect.Success")
    player.close()
    (endpoint,) = site.server.doors.rtmp
    async with asyncio.timeout(60):
        await endpoint._empty.wait()
    assert endpoint.play is not None
    await asyncio.sleep(0)
    assert endpoint.play.watching.waiting == 0


async def test_without_waiting_it_is_refused_with_a_sentence(tmp_path: Path):
    async with running(tmp_path, "rtmp.wait_for_stream_s=0") as site:
        player = await site.play("nobody")
        await player.until("NetStream.Play.StreamNotFound")
        assert player.description == "live/nobody is not live"
        await player.until_closed()


async def test_playing_needs_a_key_where_play_is_not_open(tmp_path: Path):
    keys = 'auth.keys=[{key = "watch-me-please", actions = ["play", "publish"]}]'
    async with running(tmp_path, "auth.open_play=false", keys) as site:
        await site.publish("cam?key=watch-me-please")
        refused = await site.play("cam?key=wrong")
        await refused.until("NetStream.Play.Failed")
        await refused.until_closed()
        player = await site.play("cam?key=watch-me-please")
        await player.until_media(2)


async def test_a_pause_stops_the_media_and_the_end_of_it_brings_a_keyframe(site: Site):
    publisher = await site.publish()
    player = await site.play()
    seen = len(await player.until_media(31))
    player.call(1, "pause", NULL, boolean(True))
    await player.until("NetStream.Pause.Notify")
    site.send(publisher, media_factory.h264_aac(), later_ms=2_100)
    await site.until_live("cam")
    player.call(1, "pause", NULL, boolean(False))
    await player.until("NetStream.Unpause.Notify")
    video = await player.until_media(seen + 1)
    first = flv.parse_video(video[seen].body)[0]
    assert isinstance(first, flv.VideoFrame)
    assert first.frame_type is flv.FrameType.KEY


async def test_sound_and_picture_can_be_turned_off(site: Site):
    player = await site.play()
    publisher = await site.publish()
    await player.until_media(31)
    player.call(1, "receiveVideo", NULL, boolean(False))
    player.call(1, "pause", NULL, boolean(True))
    await player.until("NetStream.Pause.Notify")
    player.call(1, "pause", NULL, boolean(False))
    await player.until("NetStream.Unpause.Notify")
    pictures, sounds = len(player.of(VIDEO)), len(player.of(AUDIO))
    site.send(publisher, media_factory.h264_aac(), later_ms=2_100)
    await player.until_media(sounds + 90, AUDIO)
    assert len(player.of(VIDEO)) == pictures


async def test_a_player_on_another_message_stream_gets_its_own_headers(site: Site):
    await site.publish()
    player = await site.play(stream_id=2)
    video = await player.until_media(31)
    assert {message.stream_id for message in video} == {2}


async def test_the_end_of_the_stream_is_told_and_the_player_may_play_again(site: Site):
    publisher = await site.publish()
    player = await site.play()
    await player.until_media(31)
    site.hub.registry.stop(CAM, "stopped by the test")
    await player.until("NetStream.Play.UnpublishNotify")
    assert player.description == "stopped by the test"
    ends = [m for m in player.of(USER_CONTROL) if m.body[:2] == STREAM_EOF.to_bytes(2, "big")]
    assert len(ends) == 1
    await site.until_viewers(0)
    publisher.close()
    await site.publish()
    count = len(player.of(VIDEO))
    player.call(1, "play", NULL, b"\x02\x00\x03cam")
    await player.until_media(count + 31)


async def test_a_player_has_no_deadline_until_its_stream_ends(site: Site):
    await site.publish()
    player = await site.play()
    await player.until_media(31)
    (endpoint,) = site.server.doors.rtmp
    now_ns = endpoint.now_ns()
    endpoint.tick(now_ns)
    assert endpoint.open_connections == 2
    assert len(endpoint._timed) == 1
    site.hub.registry.stop(CAM, "stopped by the test")
    await player.until("NetStream.Play.UnpublishNotify")
    # From here on it has to play again, or publish, or go.
    endpoint.tick(now_ns + 600_000_000_000)
    await player.until_closed()


async def test_a_publisher_that_comes_back_finds_its_viewers(site: Site):
    publisher = await site.publish()
    player = await site.play()
    count = len(await player.until_media(31))
    publisher.close()
    async with asyncio.timeout(60):
        while site.hub.registry.publishers:
            await asyncio.sleep(0.01)
    await site.publish()
    await player.until_media(count + 60)
    assert "NetStream.Play.UnpublishNotify" not in player.codes


async def test_a_kicked_player_is_told_why(site: Site):
    await site.publish()
    player = await site.play()
    await player.until_media(31)
    site.hub.sessions.viewers(CAM)[0].close("disconnected by the test")
    await player.until_closed()
    assert player.description == "disconnected by the test"
    await site.until_viewers(0)


async def test_enhanced_codecs_go_to_those_who_announce_them_or_say_nothing(site: Site):
    publisher = await site.publish(clip=media_factory.hevc_aac())
    for four_ccs in ((), ("hvc1",), ("*",)):
        player = await site.play(four_ccs=four_ccs)
        await player.until_media(20)
        player.close()
    # One that has others only gets the sound.
    player = await site.play(four_ccs=("av01",))
    await player.until("NetStream.Play.Start")
    site.send(publisher, media_factory.hevc_aac(), later_ms=2_100)
    await player.until_media(20, AUDIO)
    assert player.of(VIDEO) == []


async def test_a_player_that_can_play_nothing_is_told_so(tmp_path: Path):
    async with running(tmp_path, "server.opus=keep") as site:
        await site.publish(clip=media_factory.vp9_opus())
        player = await site.play(four_ccs=("av01", "hvc1"))
        await player.until("NetStream.Play.StreamNotFound")
        assert "the stream is vp09 and Opus" in player.description


async def test_one_that_has_no_picture_for_it_gets_the_sound_of_an_opus_stream(site: Site):
    publisher = await site.publish(clip=media_factory.vp9_opus())
    player = await site.play(four_ccs=("av01", "hvc1"))
    await player.until("NetStream.Play.Start")
    site.send(publisher, media_factory.vp9_opus(), later_ms=2_100)
    sound = await player.until_media(20, AUDIO)
    config = flv.parse_audio(sound[0].body)[0]
    assert isinstance(config, flv.AudioConfig)
    assert config.codec is Codec.AAC
    assert player.of(VIDEO) == []


async def test_answers_and_media_keep_their_order_for_a_player_that_reads_late(site: Site):
    publisher = await site.publish()
    player = await site.play()
    await player.until_media(31)
    picture = bytes.fromhex("2701000000") + (20_000).to_bytes(4, "big") + b"\x41" + bytes(19_999)
    last = picture[:5] + (2).to_bytes(4, "big") + b"\x41\x01"
    asked = 0
    for number in range(80):
        publisher.media(9, 2_100 + 20 * number, picture)
        if number % 4 == 0:
            # Nobody reads yet: some of the answers have to wait in the transport.
            player.ask()
            asked += 1
        await asyncio.sleep(0)
    publisher.media(9, 4_100, last)
    publisher.media(8, 4_500, b"\xaf\x01" + bytes(20))  # what comes before it waits for no sound
    async with asyncio.timeout(60):
        while player.of(VIDEO)[-1].body != last or player.answers < asked:
            await player._read()
    late = [m for m in player.of(VIDEO) if m.body == picture]
    assert len(late) == 80
    times = [m.timestamp for m in player.of(VIDEO)]
    assert times == sorted(times)


async def test_media_waits_for_an_answer_that_was_left_in_the_transport(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    await site.publish()
    player = await site.play()
    await player.until_media(31)
    waited: list[RtmpWatch] = []
    monkeypatch.setattr(RtmpWatch, "wait_for_transport", lambda watch: waited.append(watch))
    (endpoint,) = site.server.doors.rtmp
    (connection,) = (one for one in endpoint._connections if one._watch is not None)
    player.ask()
    while not player.answers:
        await player._read()
    assert waited == []
    connection._transport = Full(connection._transport)  # type: ignore[assignment]  # as good
    player.ask()
    while player.answers < 2:
        await player._read()
    assert waited == [connection._watch]


class Full:
    """A transport that says that it holds something."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport

    def get_write_buffer_size(self) -> int:
        return 1

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)
