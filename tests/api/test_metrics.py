import re
from dataclasses import dataclass, replace

import pytest

from streamserver.api import MetricsSources, ServerMetrics
from streamserver.api.metrics import METRICS
from streamserver.api.metrics_doors import DoorCounts, SlateCounts
from streamserver.control import LoopLag
from streamserver.hub.sessions import Protocol
from streamserver.hub.stream import LogBounds
from streamserver.metrics import MetricType
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld
from tests.control.helpers_world import DEMO

NAMES = re.findall(
    r"\w+",
    """
    streamserver_info streamserver_start_time_seconds
    streamserver_streams streamserver_streams_started_total streamserver_streams_ended_total
    streamserver_publishers streamserver_viewers streamserver_sessions_total
    streamserver_received_bytes_total streamserver_sent_bytes_total
    streamserver_dropped_frames_total streamserver_packets_total streamserver_media_notes_total
    streamserver_log_bytes streamserver_log_evicted_total
    streamserver_reader_jumps_total streamserver_reader_failures_total
    streamserver_slicer_turn_seconds streamserver_loop_lag_seconds
    streamserver_http_requests_total streamserver_http_parked_total
    streamserver_http_aborted_total
    streamserver_hls_requests_total streamserver_rtmp_connections_total
    streamserver_limit_refusals_total
    streamserver_strangers_total streamserver_strangers_held_bytes
    streamserver_tls_handshakes_total streamserver_slates_total
    streamserver_audio_renditions streamserver_audio_rendition_packets_total
    streamserver_audio_rendition_cpu_seconds_total
    streamserver_video_renditions streamserver_video_rendition_frames_total
    streamserver_video_rendition_restarts_total streamserver_video_rendition_cpu_seconds_total
    streamserver_webrtc_peers streamserver_webrtc_packets_total
    streamserver_webrtc_lost_packets_total streamserver_webrtc_recovered_packets_total
    streamserver_webrtc_nacks_total streamserver_webrtc_plis_total
    streamserver_webrtc_transport_total
    streamserver_destinations streamserver_destination_sent_bytes_total
    streamserver_destination_dropped_frames_total streamserver_destination_reconnects_total
    streamserver_destination_failures_total
    streamserver_access_decisions_total streamserver_access_failures_total
    streamserver_access_banned streamserver_access_bans_total
    streamserver_access_ban_refusals_total streamserver_access_hook_calls_total
    streamserver_events_total streamserver_event_clients streamserver_event_resets_total
    streamserver_refusals_held_back_total streamserver_webhooks streamserver_webhook_queued
    streamserver_webhook_deliveries_total streamserver_webhook_failed_attempts_total
    streamserver_webhook_spool_failures_total
    process_cpu_seconds_total process_resident_memory_bytes process_open_fds process_max_fds
    streamserver_tasks
    """,
)
"""Dashboards and alerts are built on these: a name is never changed, only added."""


@dataclass
class Front:
    fast: int
    foreign: int
    parked: int
    aborted: int


def sources(world, **more):
    return replace(
        MetricsSources(
            facts=world.facts,
            registry=world.registry,
            sessions=world.sessions,
            totals=world.totals,
            slicer=world.slicer,
            driver=world.driver,
            loop_lag=LoopLag(),
        ),
        **more,
    )


async def scrape(world, **more):
    """Values by sample, as they stand on the page."""
    page = (await ServerMetrics(sources(world, **more)).scrape()).decode()
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in samples)}


def test_the_names_are_those_that_dashboards_know():
    assert [metric.name for metric in METRICS] == NAMES


def test_no_label_is_an_id_or_the_name_of_a_stream():
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels == {
        "version", "state", "protocol", "action", "kind", "note", "log", "way", "outcome",
        # A hook by its number in the configuration.
        "decider", "hook",
        "type", "transport",
        # A key of [limits].
        "limit",
    }  # fmt: skip


def test_names_are_in_base_units():
    for metric in METRICS:
        assert not re.search(r"_(ms|us|ns|kb|mb|bits)(_|$)", metric.name)
        assert metric.help.endswith(".")
        assert (metric.type is MetricType.COUNTER) == metric.name.endswith("_total")


async def test_an_idle_server_has_every_metric_and_zeros():
    world = ApiWorld()
    page = (await world.metrics.scrape()).decode()
    for name in NAMES:
        assert f"# TYPE {name} " in page
    values = await scrape(world)
    assert values['streamserver_streams{state="live"}'] == 0
    assert values['streamserver_viewers{protocol="hls"}'] == 0
    assert values['streamserver_info{version="1.2.3"}'] == 1
    assert values["streamserver_start_time_seconds"] == 1_700_000_000.123


async def test_a_stream_and_its_viewers_are_counted():
    world = ApiWorld(bounds=LogBounds(max_ms=2000))
    publication = await world.publish()
    publication.run(5)
    publication.lease.stream.note("timestamp_jump")
    viewer = world.join("v1")
    viewer.bytes_sent, viewer.dropped_frames = 900, 4
    world.join("v2", protocol=Protocol.WHEP)
    values = await scrape(world)
    assert values['streamserver_streams{state="live"}'] == 1
    assert values['streamserver_publishers{protocol="rtmp"}'] == 1
    assert values['streamserver_viewers{protocol="hls"}'] == 1
    assert values['streamserver_viewers{protocol="whep"}'] == 1
    assert values['streamserver_sessions_total{action="play",protocol="hls"}'] == 1
    assert values['streamserver_received_bytes_total{protocol="rtmp"}'] == 50_000
    assert values['streamserver_sent_bytes_total{protocol="hls"}'] == 900
    assert values['streamserver_dropped_frames_total{protocol="hls"}'] == 4
    assert values['streamserver_packets_total{kind="video"}'] == 50
    assert values['streamserver_media_notes_total{note="timestamp_jump"}'] == 1
    assert values['streamserver_log_bytes{log="packets"}'] == 21_000
    assert values["streamserver_log_evicted_total"] == 29
    assert values["streamserver_streams_started_total"] == 1


async def test_destinations_are_counted_and_sums_do_not_fall():
    world = ApiWorld()
    one = await world.destinations.add(DEMO, "rtmp://far.test/live/key")
    await world.destinations.add(DEMO, "rtmp://far.test/live/key-2", enabled=False)
    one.stats.bytes_sent, one.stats.dropped_frames, one.stats.reconnects = 1000, 5, 2
    world.destinations.failures["tls"] = 3
    for idle in (1, 0):
        values = await scrape(world, destinations=world.destinations)
        assert values['streamserver_destinations{state="idle"}'] == idle
        assert values['streamserver_destinations{state="live"}'] == 0
        assert values['streamserver_destinations{state="disabled"}'] == 1
        assert values["streamserver_destination_sent_bytes_total"] == 1000
        assert values["streamserver_destination_dropped_frames_total"] == 5
        assert values["streamserver_destination_reconnects_total"] == 2
        assert values['streamserver_destination_failures_total{kind="tls"}'] == 3
        if idle:
            await world.destinations.remove(DEMO, one.spec.id)


async def test_those_who_were_not_let_in_and_slates_are_counted():
    doors = DoorCounts(
        deferred=3, turned_away=1, held_bytes=500, handshakes={"failed": 2, "refused": 4}
    )
    world = ApiWorld()
    values = await scrape(world, doors=lambda: doors, slates=lambda: SlateCounts(shown=5, failed=6))
    assert values['streamserver_strangers_total{outcome="deferred"}'] == 3
    assert values['streamserver_strangers_total{outcome="turned_away"}'] == 1
    assert values["streamserver_strangers_held_bytes"] == 500
    assert values['streamserver_tls_handshakes_total{outcome="failed"}'] == 2
    assert values['streamserver_tls_handshakes_total{outcome="refused"}'] == 4
    assert values['streamserver_slates_total{outcome="shown"}'] == 5
    assert values['streamserver_slates_total{outcome="failed"}'] == 6


async def test_no_counter_shrinks_when_streams_and_viewers_leave():
    world = ApiWorld()
    (await world.publish()).run(15)
    world.join("v1").bytes_sent = 10
    before = await scrape(world)
    world.registry.stop(DEMO, "over")
    for session in world.sessions.all():
        world.sessions.remove(session)
    after = await scrape(world)
    counters = [name for name in before if "_total" in name]
    assert counters
    for name in counters:
        assert after[name] >= before[name]
    assert after["streamserver_streams_ended_total"] == 1
    assert after['streamserver_viewers{protocol="hls"}'] == 0


async def test_interrupted_streams_have_a_state_of_their_own():
    world = ApiWorld()
    (await world.publish()).lease.release("gone")
    values = await scrape(world)
    assert values['streamserver_streams{state="interrupted"}'] == 1
    assert values['streamserver_streams{state="live"}'] == 0


async def test_what_an_encoder_says_never_becomes_a_label():
    world = ApiWorld()
    publication = await world.publish(StreamKey("live", "very-secret-name"))
    publication.lease.stream.note("ignored: codec ac-3 is not supported")
    publication.lease.stream.note("anything else")
    page = (await world.metrics.scrape()).decode()
    assert 'streamserver_media_notes_total{note="ignored"} 1' in page
    assert 'streamserver_media_notes_total{note="other"} 1' in page
    for text in ("ac-3", "anything", "very-secret-name", "192.0.2.7"):
        assert text not in page


async def test_the_doors_are_counted_over_all_listeners():
    values = await scrape(
        ApiWorld(),
        fronts=[Front(1, 2, 3, 4), Front(10, 20, 30, 40)],
        hls_requests=lambda: {"part": 5},
        rtmp_connections=lambda: {"published": 6},
        feed_log_bytes=lambda: {"cmaf": 7},
        reader_jumps=lambda: 8,
    )
    assert values['streamserver_http_requests_total{way="fast"}'] == 11
    assert values['streamserver_http_requests_total{way="foreign"}'] == 22
    assert values["streamserver_http_parked_total"] == 33
    assert values["streamserver_http_aborted_total"] == 44
    assert values['streamserver_hls_requests_total{kind="part"}'] == 5
    assert values['streamserver_rtmp_connections_total{outcome="published"}'] == 6
    assert values['streamserver_log_bytes{log="cmaf"}'] == 7
    assert values["streamserver_reader_jumps_total"] == 8


async def test_a_listener_that_opens_later_is_counted():
    world = ApiWorld()
    fronts: list[Front] = []
    metrics = ServerMetrics(sources(world, fronts=fronts))
    fronts.append(Front(9, 0, 0, 0))
    assert b'streamserver_http_requests_total{way="fast"} 9' in await metrics.scrape()


async def test_turns_and_lags_are_histograms_in_seconds():
    world = ApiWorld()

    def job():
        world.clock.now_ns += 300_000
        yield

    world.slicer.submit(job())
    lag = LoopLag(250_000_000)
    lag.tick(0)
    lag.tick(260_000_000)
    world.driver.failures = 2
    values = await scrape(world, loop_lag=lag)
    assert values['streamserver_slicer_turn_seconds_bucket{le="0.00025"}'] == 0
    assert values['streamserver_slicer_turn_seconds_bucket{le="0.0005"}'] == 1
    assert values["streamserver_slicer_turn_seconds_sum"] == pytest.approx(0.0003)
    assert values['streamserver_loop_lag_seconds_bucket{le="0.01"}'] == 1
    assert values["streamserver_loop_lag_seconds_count"] == 1
    assert values["streamserver_reader_failures_total"] == 2


async def test_the_process_is_measured():
    values = await scrape(ApiWorld())
    assert values["process_cpu_seconds_total"] > 0
    assert values["process_resident_memory_bytes"] > 1_000_000
    assert values["process_open_fds"] > 2
    assert values["process_max_fds"] > 2


async def test_the_page_has_the_media_type_of_the_text_format():
    async with ApiWorld().ask("GET", "/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert (await response.text()).startswith("# HELP streamserver_info ")
