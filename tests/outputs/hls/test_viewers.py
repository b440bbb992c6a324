"""Who counts as a viewer, and for how long."""

import asyncio

import pytest

from streamserver.hub.sessions import Protocol
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.viewers import ClientInfo, presence_ns
from streamserver.outputs.hls.waiters import Waiter
from tests.outputs.hls.helpers_hls import KEY, OutputRig, Read


def count(rig: OutputRig) -> int:
    return rig.sessions.count(KEY)[Protocol.HLS]


def poll(rig: OutputRig, paths: list[str]) -> None:
    """A second of players that reload every second."""
    for path in paths:
        assert isinstance(rig.fast(path), bytes)
    rig.make.part()
    rig.later(s=1)


async def test_ten_viewers_then_five_then_none():
    rig = OutputRig()
    rig.live()
    paths = [await rig.session_path() for _ in range(10)]
    assert count(rig) == 0, "a multivariant playlist makes no viewer"
    for path in paths:
        assert (await rig.get(path)).status == 200
    assert count(rig) == 10
    for _ in range(20):
        poll(rig, paths)
        assert count(rig) == 10
    for second in range(12):
        poll(rig, paths[:5])
        assert count(rig) == (10 if second < 9 else count(rig))
    assert count(rig) == 5
    rig.later(s=12)
    assert count(rig) == 0
    assert len(rig.output.viewers) == 0
    assert not [path for path in rig.output.entries if b"/s/" in path]


async def test_media_requests_make_nobody_present():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    read = Read((await rig.get(path)).body.decode())
    uri = read.segments[0].uri.removeprefix("../../")
    for _ in range(12):
        assert isinstance(rig.fast(f"/hls/{KEY}/{uri}"), bytes)
        rig.later(s=1)
    assert count(rig) == 0


async def test_a_parked_request_keeps_its_viewer_present():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    await rig.get(path)
    await rig.get(path)
    waiter = rig.fast(f"{path}?_HLS_msn={rig.make.msn}")
    assert isinstance(waiter, Waiter)
    waiter.deadline_ns = 1 << 62
    waiter.park(lambda wire: None)
    rig.later(s=60)
    assert count(rig) == 1
    waiter.cancel()
    rig.later(s=2)
    assert count(rig) == 0


@pytest.mark.parametrize(("target_s", "window_s"), [(2, 10), (5, 10), (6, 11), (10, 17)])
def test_presence_lasts_ten_seconds_or_one_and_a_half_target_durations_and_two(target_s, window_s):
    assert presence_ns(target_s) == window_s * 1_000_000_000


async def test_a_viewer_is_the_same_before_and_after_the_publisher_returned():
    rig = OutputRig()
    stream = rig.live()
    path = await rig.session_path()
    await rig.get(path)
    session = rig.sessions.viewers(KEY)[0]
    rig.end(stream)
    rig.clock.advance(s=20)
    rig.live()
    assert (await rig.get(path)).status == 200
    assert rig.sessions.viewers(KEY) == [session]


async def test_a_session_says_who_watches():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    client = ClientInfo("2001:db8::7", "Player\r\n/1.0\x00" + "x" * 500)
    await rig.get(path, client=client)
    session = rig.sessions.viewers(KEY)[0]
    assert session.remote_ip == "2001:db8::7"
    assert session.user_agent.startswith("Player/1.0xxx")
    assert len(session.user_agent) == 256
    assert session.protocol is Protocol.HLS
    assert session.id not in ("", path)
    assert rig.sessions.get(session.id) is session


async def test_bytes_sent_are_what_the_stream_made_meanwhile():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    await rig.get(path)
    rig.make.segment()
    rig.run()
    rig.later(s=3)
    session = rig.sessions.viewers(KEY)[0]
    assert session.bytes_sent == 6_000
    assert session.bit_rate == 24_000


async def test_a_kicked_viewer_is_refused_and_may_come_back_as_a_new_one():
    rig = OutputRig()
    rig.live()
    path, other = await rig.session_path(), await rig.session_path()
    await rig.get(path)
    await rig.get(other)
    session = rig.sessions.viewers(KEY)[0]
    waiter = rig.fast(f"{path}?_HLS_msn={rig.make.msn}")
    assert isinstance(waiter, Waiter)
    answers: list[bytes] = []
    waiter.park(answers.append)
    token = rig.output.delivery(KEY).window.token  # type: ignore[union-attr]  # it is live
    session.close("bye")
    session.close("bye again")
    rig.run()
    assert answers[0].startswith(b"HTTP/1.1 403 ")
    assert b"bye" in answers[0]
    assert count(rig) == 1
    assert rig.fast(path) is None
    assert (await rig.get(path)).status == 403
    assert isinstance(rig.fast(other), bytes)
    assert rig.output.delivery(KEY).window.token != token  # type: ignore[union-attr]
    assert (await rig.get(await rig.session_path())).status == 200


async def test_a_kick_is_forgotten_only_when_the_session_would_have_expired():
    rig = OutputRig(HlsSettings(session_lifetime_s=60))
    rig.live()
    path = await rig.session_path()
    await rig.get(path)
    rig.sessions.viewers(KEY)[0].close("bye")
    for _ in range(6):
        assert (await rig.get(path)).status == 403
        rig.later(s=12)
        rig.make.part()


async def test_a_session_expires_for_who_left_and_not_for_who_stayed():
    rig = OutputRig(HlsSettings(session_lifetime_s=20))
    rig.live()
    stays, left = await rig.session_path(), await rig.session_path()
    await rig.get(stays)
    await rig.get(left)
    for _ in range(30):
        poll(rig, [stays])
    assert count(rig) == 1
    assert (await rig.get(stays)).status == 200
    assert (await rig.get(left)).status == 403


async def test_viewers_are_bounded_in_all_and_per_address():
    rig = OutputRig(HlsSettings(max_sessions=3, max_sessions_per_address=2))
    rig.live()
    statuses = []
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
        reply = await rig.get(await rig.session_path(), client=ClientInfo(address))
        statuses.append(reply.status)
    assert statuses == [200, 200, 503, 200, 503]
    assert count(rig) == 3
    assert rig.output.stats.refused == 2
    rig.later(s=13)
    reply = await rig.get(await rig.session_path(), client=ClientInfo("192.0.2.1"))
    assert reply.status == 200


async def test_both_forms_of_a_stream_are_one_viewer():
    rig = OutputRig()
    rig.live()
    path = await rig.session_path()
    await rig.get(path)
    task = asyncio.create_task(rig.get(path.replace("video.m3u8", "ts.m3u8")))
    await asyncio.sleep(0)
    assert rig.output.stats.parked == 1
    assert count(rig) == 1
    rig.output.close()
    rig.run()
    await task
