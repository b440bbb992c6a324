"""MPEG-TS on demand: the same numbers, only what is made, and only while somebody asks."""

import asyncio

import m3u8
import pytest

from streamserver.errors import LimitError
from streamserver.outputs.hls.replies import Reply
from tests.outputs.hls.helpers_hls import KEY, OutputRig, Read, fake_remux


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def get(rig: OutputRig, path: str) -> Reply:
    """Asks, and lets the remuxer and the loop's turns run until the answer is there."""
    task = asyncio.create_task(rig.get(path))
    for _ in range(50):
        await asyncio.sleep(0)
        rig.run()
        if task.done():
            return task.result()
    raise AssertionError("no answer")


async def ts_path(rig: OutputRig) -> str:
    return await rig.session_path("ts.m3u8")


async def listed(rig: OutputRig, path: str) -> Read:
    reply = await get(rig, path)
    assert reply.status == 200, reply.body
    return Read(reply.body.decode())


async def media(rig: OutputRig, read: Read) -> list[bytes]:
    answers = []
    for segment in read.segments:
        reply = await rig.get(f"/hls/{KEY}/{segment.uri.removeprefix('../../')}")
        assert reply.status == 200
        assert reply.content_type == "video/mp2t"
        answers.append(reply.body)
    return answers


async def test_the_playlist_is_version_three_and_lists_the_same_numbers():
    rig = OutputRig()
    rig.live(segments=3)
    path = await ts_path(rig)
    reply = await get(rig, path)
    text = reply.body.decode()
    read = Read(text)
    assert read.tags["#EXT-X-VERSION"] == "3"
    assert [segment.msn for segment in read.segments] == [1_800_000_000 + i for i in range(3)]
    for tag in ("PART", "MAP", "SERVER-CONTROL", "PRELOAD-HINT", "INDEPENDENT"):
        assert tag not in text
    other = m3u8.loads(text)
    assert other.target_duration == 2
    assert other.segments[0].program_date_time is not None
    assert await media(rig, read) == [
        b"ts%d:init0:%d.0" % (number + 1, 1_800_000_000 + number) for number in range(3)
    ]


async def test_the_multivariant_counts_the_overhead():
    rig = OutputRig()
    rig.live()
    text = (await rig.get(f"/hls/{KEY}/ts.m3u8")).body.decode()
    assert m3u8.loads(text).playlists[0].stream_info.bandwidth == 26_400
    assert "#EXT-X-VERSION:3" in text


async def test_each_finished_segment_is_made_with_the_counters_carried_on():
    rig = OutputRig()
    rig.live(segments=2)
    path = await ts_path(rig)
    await listed(rig, path)
    rig.make.segment()
    rig.run()
    await settle()
    assert (await media(rig, await listed(rig, path)))[-1].startswith(b"ts3:")


async def test_a_discontinuity_has_fresh_counters_and_says_so():
    rig = OutputRig()
    rig.live(segments=2)
    path = await ts_path(rig)
    await listed(rig, path)
    rig.make.new_epoch()
    rig.make.segment()
    rig.run()
    await settle()
    read = await listed(rig, path)
    assert [segment.discontinuity for segment in read.segments] == [False, False, True]
    assert (await media(rig, read))[-1].startswith(b"ts1:init1:")


async def test_segments_leave_with_those_of_the_window():
    rig = OutputRig()
    rig.live(segments=2)
    path = await ts_path(rig)
    first = (await listed(rig, path)).segments[0].uri
    for number in range(30):
        rig.make.segment()
        rig.run()
        await settle()
        rig.later(s=1)
        if number % 5 == 0:
            read = await listed(rig, path)
            assert len(read.segments) <= 7
            await media(rig, read)
    assert (await rig.get(f"/hls/{KEY}/{first.removeprefix('../../')}")).status == 404


async def test_nothing_is_made_before_somebody_asks_and_after_nobody_did_for_long():
    made = []

    async def remux(init: bytes, data: bytes, counters: dict[int, int]) -> bytes:
        made.append(1)
        return b"ts"

    rig = OutputRig(remux=remux)
    rig.live(segments=3)
    await settle()
    assert not made
    path = await ts_path(rig)
    await listed(rig, path)
    assert len(made) == 3
    rig.later(s=31)
    rig.make.segment()
    rig.run()
    await settle()
    assert len(made) == 3
    assert not [name for name in rig.output.entries if name.endswith(b".ts")]
    assert len((await listed(rig, await ts_path(rig))).segments) == 4


async def test_codecs_that_ts_cannot_carry_are_refused_with_the_reason():
    rig = OutputRig(supports=lambda tracks: "AV1 has no place in MPEG-TS")
    rig.live()
    for path in (f"/hls/{KEY}/ts.m3u8", (await rig.session_path()).replace("video", "ts")):
        reply = await get(rig, path)
        assert reply.status == 406
        assert b"AV1 has no place" in reply.body


async def test_a_segment_that_cannot_be_made_leaves_a_gapless_list():
    async def remux(init: bytes, data: bytes, counters: dict[int, int]) -> bytes:
        if data.startswith(b"1800000001."):
            raise ValueError("FFmpeg does not like it")
        return await fake_remux(init, data, counters)

    rig = OutputRig(remux=remux)
    rig.live(segments=4)
    read = await listed(rig, await ts_path(rig))
    assert [segment.msn for segment in read.segments] == [1_800_000_002, 1_800_000_003]
    assert rig.output.stats.ts_failures == 1


async def test_a_busy_executor_is_tried_again_with_the_next_segment():
    busy = True

    async def remux(init: bytes, data: bytes, counters: dict[int, int]) -> bytes:
        if busy:
            raise LimitError("too much to do")
        return await fake_remux(init, data, counters)

    rig = OutputRig(remux=remux)
    rig.live(segments=2)
    path = await ts_path(rig)
    task = asyncio.create_task(rig.get(path))
    await settle()
    assert not task.done()
    busy = False
    rig.make.segment()
    rig.run()
    await settle()
    rig.run()
    assert len(Read((await task).body.decode()).segments) == 3


async def test_a_request_waits_for_the_first_list_but_not_for_ever():
    async def remux(init: bytes, data: bytes, counters: dict[int, int]) -> bytes:
        raise LimitError("too much to do")

    rig = OutputRig(remux=remux)
    rig.live(segments=1)
    task = asyncio.create_task(rig.get(await ts_path(rig)))
    await settle()
    rig.later(s=15)
    assert (await task).status == 503
    assert rig.output.stats.parked == 0


async def test_a_stream_that_is_starting_holds_the_ts_playlist():
    rig = OutputRig()
    stream = rig.live()
    path = await ts_path(rig)
    await listed(rig, path)
    rig.end(stream)
    rig.start()
    task = asyncio.create_task(rig.get(path))
    await settle()
    rig.make.target()
    rig.make.part()
    rig.run()
    await settle()
    assert not task.done()
    rig.make.end()
    rig.run()
    await settle()
    rig.run()
    assert len(Read((await task).body.decode()).segments) == 1


@pytest.mark.parametrize("asked_before", [True, False])
async def test_the_end_is_said_once_all_is_made(asked_before):
    rig = OutputRig()
    stream = rig.live(segments=2)
    path = await ts_path(rig)
    if asked_before:
        await listed(rig, path)
    rig.make.part()
    rig.end(stream)
    await settle()
    read = await listed(rig, path)
    assert read.ended
    assert len(read.segments) == 3


async def test_closing_stops_the_work_and_answers_who_waits():
    async def remux(init: bytes, data: bytes, counters: dict[int, int]) -> bytes:
        await asyncio.Event().wait()
        return b""

    rig = OutputRig(remux=remux)
    rig.live(segments=1)
    task = asyncio.create_task(rig.get(await ts_path(rig)))
    await settle()
    rig.output.close()
    rig.run()
    assert (await task).status == 404
    assert not [name for name in rig.output.entries if name.endswith(b".ts")]
