"""The life of broadcasts: they start, break, end, and are replaced."""

import asyncio
import logging

import pytest

from streamserver.hub.stream import StreamState
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.waiters import Waiter
from tests.fakes import FakeClock, packet
from tests.outputs.hls.helpers_hls import KEY, OutputRig, Read, tracks_of


async def read(rig: OutputRig, path: str) -> Read:
    reply = await rig.get(path)
    assert reply.status == 200, reply.body
    return Read(reply.body.decode())


async def test_the_first_number_is_the_unix_second_of_the_start():
    rig = OutputRig()
    rig.live()
    assert (await read(rig, await rig.session_path())).first_msn == 1_800_000_000


async def test_a_new_broadcast_replaces_the_old_one_under_the_same_url():
    rig = OutputRig()
    stream = rig.live()
    path = await rig.session_path()
    old = await read(rig, path)
    rig.end(stream)
    ended = await read(rig, path)
    assert ended.ended
    rig.clock.advance(s=5)
    rig.live(segments=1)
    new = await read(rig, path)
    assert not new.ended
    assert new.first_msn > ended.segments[-1].msn
    assert not set(new.uris) & set(old.uris)


async def test_numbers_grow_even_when_the_clock_does_not():
    rig = OutputRig()
    stream = rig.live(segments=40)
    last = (await read(rig, await rig.session_path())).segments[-1].msn
    rig.end(stream)
    rig.live(segments=1)
    assert (await read(rig, await rig.session_path())).first_msn > last


async def test_numbers_are_remembered_after_the_broadcast_is_forgotten():
    rig = OutputRig()
    rig.end(rig.live(segments=400))
    rig.later(s=60)
    assert not rig.output.entries
    rig.live(segments=1)
    assert (await read(rig, await rig.session_path())).first_msn == 1_800_000_400


async def test_the_media_of_an_ended_broadcast_can_be_fetched_for_a_while():
    rig = OutputRig()
    stream = rig.live()
    path = await rig.session_path()
    uris = [f"/hls/{KEY}/{uri.removeprefix('../../')}" for uri in (await read(rig, path)).uris]
    rig.end(stream)
    rig.later(s=3)
    replaced = rig.live(segments=1)
    rig.later(s=14)
    assert all([(await rig.get(uri)).status == 200 for uri in uris])
    rig.later(s=2)
    assert all([(await rig.get(uri)).status == 404 for uri in uris])
    assert (await read(rig, await rig.session_path())).segments
    rig.end(replaced)
    rig.later(s=40)
    assert (await rig.get(path)).status == 404
    assert not rig.output.entries
    assert rig.output.held_bytes == 0


async def test_an_interrupted_broadcast_goes_on_with_the_same_playlist():
    rig = OutputRig()
    stream = rig.live()
    path = await rig.session_path()
    before = await read(rig, path)
    stream.state = StreamState.INTERRUPTED
    rig.output.stream_interrupted(stream)
    assert rig.feeds[0].flushes == 1
    rig.output.stream_resumed(stream)
    rig.make.new_epoch()
    rig.make.part()
    rig.run()
    after = await read(rig, path)
    assert after.first_msn == before.first_msn
    assert after.growing is not None
    assert after.growing.discontinuity


async def test_a_failing_feed_is_begun_anew_behind_what_made_it_fail(caplog):
    rig = OutputRig()
    rig.feeds_fail = 1
    stream = rig.start()
    path_task = asyncio.create_task(rig.get(f"/hls/{KEY}/index.m3u8"))
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        stream.append(packet(tracks_of(0)[0], 0))
        rig.run()
    assert (await path_task).status == 503
    assert "live/cam" in caplog.text
    assert len(rig.feeds) == 2
    assert rig.feeds[1].position == stream.packets.end
    assert stream.health_notes["hls failed"] == 1
    rig.make.target()
    rig.make.segment()
    rig.run()
    assert (await read(rig, await rig.session_path())).segments


async def test_a_feed_that_keeps_failing_is_given_up_and_the_stream_goes_on():
    rig = OutputRig()
    rig.feeds_fail = 99
    stream = rig.start()
    for ms in range(10):
        stream.append(packet(tracks_of(0)[0], ms))
        rig.run()
    assert len(rig.feeds) == 3
    assert rig.output.stats.failures == 3
    assert stream.packets.end == 10
    assert (await rig.get(f"/hls/{KEY}/index.m3u8")).status == 404


async def test_a_failure_in_the_middle_keeps_viewers_and_moves_them_to_the_new_list():
    rig = OutputRig()
    stream = rig.live()
    path = await rig.session_path()
    old = await read(rig, path)
    waiter = rig.fast(f"{path}?_HLS_msn={rig.make.msn}")
    assert isinstance(waiter, Waiter)
    answers: list[bytes] = []
    waiter.park(answers.append)
    rig.make.index += 5
    rig.make.part()
    rig.run()
    assert answers[0].startswith(b"HTTP/1.1 503 ")
    assert stream.health_notes["hls failed"] == 1
    rig.make.target()
    rig.make.segment()
    rig.run()
    new = await read(rig, path)
    assert new.first_msn > old.segments[-1].msn
    assert len(rig.sessions.viewers(KEY)) == 1


async def test_an_error_at_the_start_does_not_reach_the_publisher(monkeypatch):
    rig = OutputRig()
    monkeypatch.setattr(rig.output, "_make_feed", None)
    stream = rig.start()
    assert stream.health_notes["hls failed"] == 1
    assert (await rig.get(f"/hls/{KEY}/index.m3u8")).status == 404


async def test_a_broadcast_that_ended_at_once_is_not_found():
    rig = OutputRig()
    rig.end(rig.start())
    assert (await rig.get(f"/hls/{KEY}/index.m3u8")).status == 404


async def test_after_a_restart_players_go_on_and_no_old_name_means_new_media():
    clock = FakeClock()
    before = OutputRig(clock=clock)
    before.live()
    path = await before.session_path()
    old = await read(before, path)
    clock.advance(s=9)
    after = OutputRig(clock=clock)
    after.live()
    new = await read(after, path)
    assert not set(new.uris) & set(old.uris)
    assert new.first_msn > old.segments[-1].msn
    for uri in old.uris:
        assert (await after.get(f"/hls/{KEY}/{uri.removeprefix('../../')}")).status == 404


async def test_closing_answers_everybody_and_leaves_nothing():
    rig = OutputRig(HlsSettings(sessions=False))
    rig.live()
    waiter = rig.fast(f"/hls/{KEY}/video.m3u8?_HLS_msn={rig.make.msn}")
    assert isinstance(waiter, Waiter)
    answers: list[bytes] = []
    waiter.park(answers.append)
    rig.output.close()
    rig.run()
    assert len(answers) == 1
    assert rig.output.held_bytes == 0


@pytest.mark.parametrize("viewers", [0, 3])
async def test_a_channel_is_kept_while_somebody_uses_it(viewers):
    rig = OutputRig()
    stream = rig.live()
    paths = [await rig.session_path() for _ in range(viewers)]
    for path in paths:
        await rig.get(path)
    rig.end(stream)
    for _ in range(40):
        for path in paths:
            rig.fast(path)
        rig.later(s=1)
    rig.live(segments=1)
    for path in paths:
        assert isinstance(rig.fast(path), bytes)


async def test_a_publisher_that_comes_and_goes_does_not_fill_the_memory():
    rig = OutputRig()
    for _ in range(10):
        rig.end(rig.live(segments=1))
    assert rig.output.held_bytes == 3 * 6_000


async def test_a_broadcast_wishes_keyframes_while_it_is_on_air():
    rig = OutputRig()
    stream = rig.live()
    assert stream.keyframes.every_ms == 2_000
    rig.end(stream)
    assert stream.keyframes.every_ms is None
