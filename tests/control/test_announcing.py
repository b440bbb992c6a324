"""Events out of a small world, in simulated time: what is said, when, and with which figures."""

import asyncio
import json
from typing import Any

import pytest

from streamserver.control.announcing import Announcer
from streamserver.control.attempt import Attempt
from streamserver.control.live_record import LiveBroadcast
from streamserver.control.ration import Ration
from streamserver.errors import AccessDeniedError, StreamBusyError
from streamserver.events import EventLog
from streamserver.hub.sessions import Protocol
from streamserver.names import StreamKey
from streamserver.outputs.destinations.states import DestinationState
from tests.control.helpers_world import (
    DEMO,
    SECOND_NS,
    World,
    audio_track,
    call_at_once,
    video_track,
)


class Site(World):
    """A world whose events are written down."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log = EventLog(boot=3, wall_ns=self.clock.wall_ns, schedule=call_at_once)
        self.announcer = Announcer(
            log=self.log,
            registry=self.registry,
            sessions=self.sessions,
            facts=self.facts,
            clock=self.clock,
        )

    def told(self, kind: str = "") -> list[dict[str, Any]]:
        """The events of a type, as readers get them."""
        events = [json.loads(event.wire) for event in self.log.since(0)]
        return [event for event in events if kind in ("", event["type"])]

    def types(self) -> list[str]:
        return [event["type"] for event in self.told()]

    def tick(self, seconds: int) -> None:
        for _ in range(seconds * 4):
            self.clock.now_ns += SECOND_NS // 4
            self.announcer.tick(self.clock.now_ns)

    def leave(self, session_id: str) -> None:
        session = self.sessions.get(session_id)
        assert session is not None
        self.sessions.remove(session)


async def test_a_broadcast_is_told_from_its_start_to_its_end_with_its_summary() -> None:
    site = Site()
    publication = await site.publish()
    publication.run(10)
    publication.lease.release("the publisher closed its connection", final=True)
    assert site.types() == ["stream.started", "stream.ended"]
    started, ended = site.told()
    assert started["stream"] == "live/demo"
    assert started["data"]["publisher"]["protocol"] == "rtmp"
    assert [track["codec"] for track in started["data"]["tracks"]] == ["h264", "aac"]
    assert started["data"]["urls"]["hls"] == "hls/live/demo/index.m3u8"
    assert ended["data"] == {
        "session_id": started["data"]["session_id"],
        "reason": "the publisher closed its connection",
        "crashed": False,
        "started_at": started["at"],
        "duration_ms": 10_000,
        "bytes_received": 100_000,
        "bytes_sent": 0,
        "viewers": {
            "peak": 0,
            "watch_time_ms": 0,
            "joins": {"total": 0, "by_protocol": {"hls": 0, "whep": 0, "rtmp": 0, "flv": 0}},
            "leaves": {"total": 0, "by_protocol": {"hls": 0, "whep": 0, "rtmp": 0, "flv": 0}},
        },
    }


async def test_the_summary_counts_joins_leaves_peak_and_time_of_all_protocols() -> None:
    site = Site()
    publication = await site.publish()
    first = site.join("a", protocol=Protocol.HLS)
    site.clock.now_ns += 5 * SECOND_NS
    site.join("b", protocol=Protocol.RTMP).bytes_sent = 70
    site.join("c", protocol=Protocol.FLV)
    site.clock.now_ns += 5 * SECOND_NS
    first.bytes_sent = 1000
    site.leave("a")
    site.leave("c")
    site.join("d", protocol=Protocol.WHEP)
    site.clock.now_ns += 10 * SECOND_NS
    publication.lease.release("over", final=True)
    site.clock.now_ns += 3 * SECOND_NS
    site.leave("b")
    site.leave("d")
    [ended] = site.told("stream.ended")
    viewers = ended["data"]["viewers"]
    assert viewers["peak"] == 3
    # a: 10 s, b: 15 s, c: 5 s, d: 10 s.
    assert viewers["watch_time_ms"] == 40_000
    assert viewers["joins"]["by_protocol"] == {"hls": 1, "whep": 1, "rtmp": 1, "flv": 1}
    assert viewers["leaves"] == {
        "total": 2, "by_protocol": {"hls": 1, "whep": 0, "rtmp": 0, "flv": 1}
    }  # fmt: skip
    assert ended["data"]["bytes_sent"] == 1070
    left = {event["data"]["id"]: event["data"] for event in site.told("viewer.left")}
    assert {ident: data["watched_ms"] for ident, data in left.items()} == {
        "a": 10_000, "b": 18_000, "c": 5_000, "d": 13_000
    }  # fmt: skip
    assert {data["session_id"] for data in left.values()} == {ended["data"]["session_id"]}


async def test_each_broadcast_of_a_name_has_an_audience_of_its_own() -> None:
    site = Site()
    one = await site.publish()
    site.join("hls", protocol=Protocol.HLS)
    site.join("rtmp", protocol=Protocol.RTMP)
    site.clock.now_ns += SECOND_NS
    one.lease.release("over", final=True)
    site.leave("publisher-demo")
    two = await site.publish()
    # A player of HLS goes on with the new broadcast; others hold on to the one that ended.
    site.leave("rtmp")
    site.clock.now_ns += 2 * SECOND_NS
    site.leave("hls")
    two.lease.release("over", final=True)
    first, second = (event["data"] for event in site.told("stream.ended"))
    assert first["session_id"] != second["session_id"]
    assert (first["viewers"]["joins"]["total"], second["viewers"]["joins"]["total"]) == (2, 1)
    assert (first["viewers"]["watch_time_ms"], second["viewers"]["watch_time_ms"]) == (2000, 2000)
    assert second["viewers"]["leaves"]["total"] == 1


async def test_the_peak_of_a_broadcast_is_its_own_in_its_summary_and_in_the_api() -> None:
    site = Site()
    site.control._peak = site.announcer.audiences.peak
    one = await site.publish()
    for ident in ("a", "b", "c"):
        site.join(ident, protocol=Protocol.HLS)
    site.leave("b")
    site.leave("c")
    assert (await site.control.stream(DEMO)).viewers.peak == 3
    one.lease.release("over", final=True)
    site.leave("publisher-demo")
    two = await site.publish()
    two.run(1)
    # One was there all the time, so that the stream never was without anybody.
    assert (await site.control.stream(DEMO)).viewers.peak == 1
    site.join("d", protocol=Protocol.RTMP)
    assert (await site.control.stream(DEMO)).viewers.peak == 2
    two.lease.release("over", final=True)
    assert [one["data"]["viewers"]["peak"] for one in site.told("stream.ended")] == [3, 2]


async def test_an_interruption_and_a_return_are_told() -> None:
    site = Site()
    publication = await site.publish()
    publication.lease.release("gone")
    site.leave("publisher-demo")
    session = site.join("again", DEMO)
    lease = await site.registry.claim(DEMO, session)
    epoch = publication.lease.stream.epoch + 1
    lease.begin_epoch((video_track(epoch), audio_track(epoch)))
    kinds = [kind for kind in site.types() if kind.startswith("stream.")]
    assert kinds == ["stream.started", "stream.interrupted", "stream.resumed"]
    ids = {event["data"]["session_id"] for event in site.told() if "stream." in event["type"]}
    assert len(ids) == 1


async def test_counts_come_while_they_change_and_not_else() -> None:
    site = Site()
    await site.publish()
    site.tick(10)
    assert [event["data"]["total"] for event in site.told("viewers.count")] == [0]
    for number in range(50):
        site.join(f"v{number}")
    site.tick(10)
    assert [event["data"]["total"] for event in site.told("viewers.count")] == [0, 50]
    assert site.told("viewers.count")[-1]["data"]["by_protocol"]["hls"] == 50


async def test_stats_come_every_few_seconds_while_media_comes() -> None:
    site = Site()
    publication = await site.publish()
    for _ in range(20):
        publication.run(1)
        site.announcer.tick(site.clock.now_ns)
    stats = site.told("stream.stats")
    assert len(stats) == 4
    assert stats[-1]["data"]["tracks"]["video"]["packets"] == 160
    assert stats[-1]["data"]["bit_rate"] > 0
    site.tick(60)
    silent = len(site.told("stream.stats"))
    site.tick(60)
    assert len(site.told("stream.stats")) == silent


async def test_health_is_told_when_it_changes() -> None:
    site = Site()
    publication = await site.publish()
    publication.run(2)
    site.tick(6)
    [silent] = site.told("health.changed")
    assert (silent["data"]["appeared"], silent["data"]["gone"]) == (["no_media"], [])
    assert silent["data"]["health"][0]["severity"] == "error"
    for _ in range(3):
        publication.run(1)
        site.announcer.tick(site.clock.now_ns)
    assert site.told("health.changed")[-1]["data"]["gone"] == ["no_media"]


async def test_a_destination_is_told_with_its_key_masked() -> None:
    site = Site()
    site.destinations.on_state = site.announcer.destination_changed
    publication = await site.publish()
    await site.destinations.add(DEMO, "rtmp://far.test/live/very-secret-key")
    async with asyncio.timeout(60):
        while len(site.told("destination.state")) < 2:
            await asyncio.sleep(0.005)
    states = [event["data"] for event in site.told("destination.state")]
    assert [(one["before"], one["destination"]["state"]) for one in states] == [
        ("idle", DestinationState.CONNECTING),
        ("connecting", DestinationState.LIVE),
    ]
    assert "very-secret-key" not in json.dumps(states)
    publication.lease.release("over", final=True)
    await site.destinations.close()


def attempt(name: str = "demo", ip: str = "192.0.2.9") -> Attempt:
    return Attempt(
        protocol=Protocol.RTMP,
        app="live",
        name=name,
        remote_ip=ip,
        local=False,
        user_agent="en\ncoder",
        params={"key": "a-secret"},
        close=lambda reason: None,
    )


def test_a_refused_publisher_is_told_without_its_credential() -> None:
    site = Site()
    site.announcer.publish_refused(attempt(), AccessDeniedError("the key is wrong"))
    site.announcer.publish_refused(attempt("../x"), StreamBusyError("busy"))
    first, second = site.told()
    assert first["stream"] == "live/demo"
    assert first["data"] == {
        "protocol": "rtmp",
        "remote_ip": "192.0.2.9",
        "user_agent": "en?coder",
        "error": "access_denied",
        "reason": "the key is wrong",
        "held_back": 0,
    }
    assert (second["stream"], second["data"]["error"]) == (None, "stream_busy")
    assert "a-secret" not in json.dumps(site.told())


def test_ten_thousand_refusals_a_minute_do_not_fill_the_log() -> None:
    site = Site()
    for _ in range(10_000):
        site.clock.now_ns += 6_000_000
        site.announcer.publish_refused(attempt(), AccessDeniedError("no"))
    told = len(site.told())
    assert 5 <= told <= 11
    assert site.announcer.refusals_held_back == 10_000 - told
    assert sum(event["data"]["held_back"] for event in site.told()) > 7_000


def test_refusals_of_many_addresses_are_bounded_together() -> None:
    ration, now = Ration(), 0
    passed = 0
    for number in range(10_000):
        now += 1_000_000
        passed += ration.take(f"2001:db8::{number:x}", now) is not None
    assert 50 <= passed <= 160
    assert len(ration._buckets) <= 4096


def test_what_was_live_when_the_server_died_has_ended() -> None:
    site = Site()
    site.announcer.left_over(
        [
            LiveBroadcast(app="live", name="demo", summary={"session_id": "s", "duration_ms": 7}),
            LiveBroadcast(app="..", name="demo", summary={}),
        ]
    )
    [ended] = site.told()
    assert (ended["type"], ended["stream"]) == ("stream.ended", "live/demo")
    assert ended["data"] == {
        "session_id": "s",
        "duration_ms": 7,
        "reason": "the server stopped without ending it",
        "crashed": True,
    }


async def test_the_record_of_what_is_live_holds_the_figures_until_now() -> None:
    site = Site()
    written: list[list[LiveBroadcast]] = []
    site.announcer.on_live_changed = lambda: written.append(site.announcer.live())
    publication = await site.publish()
    site.join("v")
    publication.run(5)
    [one] = site.announcer.live()
    assert (one.app, one.name) == ("live", "demo")
    assert one.summary["duration_ms"] == 5000
    assert one.summary["viewers"]["watch_time_ms"] == 5000
    publication.lease.release("over", final=True)
    assert [len(entry) for entry in written] == [1, 0]


def test_the_server_itself_is_told() -> None:
    site = Site()
    site.announcer.server_started()
    site.announcer.server_draining()
    started, draining = site.told()
    assert (started["type"], started["data"]["boot"]) == ("server.started", 3)
    assert [one["name"] for one in started["data"]["listeners"]] == ["http", "https"]
    assert (draining["type"], draining["stream"]) == ("server.draining", None)


@pytest.mark.parametrize("key", [DEMO, StreamKey("tv", "other")])
async def test_a_viewer_without_a_broadcast_is_told_too(key: StreamKey) -> None:
    site = Site()
    site.join("early", key)
    site.clock.now_ns += SECOND_NS
    site.leave("early")
    joined, left = site.told()
    assert joined["data"]["session_id"] is None
    assert left["data"]["watched_ms"] == 1000
