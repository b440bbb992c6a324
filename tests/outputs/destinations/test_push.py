"""Destinations over real sockets, to sinks that behave and misbehave."""

import asyncio

import pytest

from streamserver.outputs.destinations.destination import Destination
from streamserver.outputs.destinations.failures import ErrorClass
from streamserver.outputs.destinations.push import PushSettings
from streamserver.outputs.destinations.states import DestinationState
from tests.outputs.destinations.helpers_destinations import (
    HASTY,
    KEY,
    MS,
    clip,
    reaches,
    studio,
    until,
)
from tests.sink.helpers_sink import sink_that

LIVE, STALLED, BACKOFF = DestinationState.LIVE, DestinationState.STALLED, DestinationState.BACKOFF
IDLE, FAILED, DISABLED = DestinationState.IDLE, DestinationState.FAILED, DestinationState.DISABLED


def error_of(one: Destination) -> tuple[ErrorClass, str]:
    assert one.last_error is not None
    return one.last_error.error_class, one.last_error.message


async def test_a_stream_arrives_whole_from_a_keyframe_on_with_times_from_zero():
    async with studio() as hub, sink_that(keep_messages=1000) as sink:
        await hub.publish()
        hub.send(3)
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1?a=b&c=d")
        publication = await sink.published()
        await reaches(one, LIVE)
        expected = hub.send(2)
        await sink.received(expected)
        assert publication.key == "key-1?a=b&c=d"
        assert publication.video.first_ms == 0
        assert publication.video.damaged == publication.audio.damaged == 0
        assert publication.video.headers == publication.audio.headers == 1
        assert publication.video.backward_steps == publication.audio.backward_steps == 0
        assert publication.video.longest_gap_ms < 100
        assert one.stats.bytes_sent > 0
        assert one.stats.dropped_frames == 0


async def test_one_round_writes_more_than_the_transport_may_hold_while_the_kernel_takes_it():
    settings = PushSettings(max_join_ms=600_000)
    async with studio() as hub, sink_that() as sink:
        await hub.publish()
        hub.send(padding=20_000)
        await hub.destinations(settings).add(KEY, f"{sink.url}/key-1")
        publication = await sink.published()
        stream = hub.registry.get(KEY)
        assert stream is not None
        newest = stream.packets.newest_keyframe
        assert newest is not None
        assert (
            stream.packets.size_between(newest, stream.packets.end) > 3 * settings.max_unsent_bytes
        )
        await until(lambda: publication.video.frames >= 24)


async def test_it_wishes_keyframes_as_long_as_it_sends():
    async with studio() as hub, sink_that() as sink:
        await hub.publish()
        hub.send()
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await reaches(one, LIVE)
        stream = hub.registry.get(KEY)
        assert stream is not None
        assert stream.keyframes.every_ms == 2_000
        hub.registry.stop(KEY, "over")
        await reaches(one, IDLE)
        assert stream.keyframes.every_ms is None


async def test_it_is_live_only_when_the_far_kernel_has_media():
    async with studio() as hub, sink_that() as sink:
        await hub.publish()
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await sink.published()
        # Accepted; but there is no keyframe yet, and so nothing was sent.
        assert one.state is DestinationState.CONNECTING
        hub.send()
        await reaches(one, LIVE)
        assert one.stats.rtt_us > 0


async def test_a_stream_that_ends_takes_leave_and_is_idle():
    async with studio() as hub, sink_that() as sink:
        await hub.publish()
        sent = hub.send(2)
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await reaches(one, LIVE)
        hub.registry.stop(KEY, "over")
        await reaches(one, IDLE)
        await sink.emptied()
        assert one.last_error is None
        # From the newest keyframe on, nothing of the end is missing.
        assert 0 < sink.publications[-1].frames <= sent


async def test_a_break_of_the_publisher_keeps_the_connection():
    async with studio() as hub, sink_that() as sink:
        lease = await hub.publish()
        hub.send()
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await reaches(one, LIVE)
        lease.release("gone")
        await hub.publish()
        before = sink.publications[-1].frames
        hub.send()
        await sink.received(before + len(clip().packets))
        assert one.state is LIVE
        assert sink.connections == 1
        assert sink.publications[-1].video.backward_steps == 0


async def test_it_goes_live_again_by_itself_at_a_keyframe():
    async with studio() as hub, sink_that("drop:0.1s") as sink:
        await hub.publish()
        hub.keep_sending()
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await sink.published(3)
        assert error_of(one)[0] is ErrorClass.PEER_CLOSED
        assert one.stats.reconnects >= 2
        await until(lambda: sink.publications[-1].video.frames > 0)
        assert all(each.video.first_ms == 0 for each in sink.publications if each.video.frames)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("refuse", {ErrorClass.REFUSED, ErrorClass.PEER_CLOSED}, ""),
        ("reject:key show-secret-1 is not known", {ErrorClass.REJECTED, ErrorClass.AUTH}, "key"),
        ("garbage", {ErrorClass.PEER_CLOSED}, "RTMP"),
        ("web", {ErrorClass.PEER_CLOSED}, "RTMP"),
        ("close-each:1", {ErrorClass.PEER_CLOSED}, "closed"),
    ],
)
async def test_a_sick_far_side_is_named_and_tried_again(how, kind, words):
    async with studio() as hub, sink_that(how) as sink:
        await hub.publish()
        hub.send()
        one = await hub.destinations().add(KEY, f"{sink.url}/show-secret-1")
        await sink.connected(2)
        found, message = error_of(one)
        assert found in kind
        assert words in message
        assert "secret-1" not in message


async def test_a_far_side_that_never_answers_is_a_timeout():
    async with studio() as hub, sink_that("silent") as sink:
        await hub.publish()
        hub.send()
        url = sink.url.replace("rtmp://", "rtmps://")
        one = await hub.destinations(tls_timeout_s=0.1).add(KEY, f"{url}/key-1")
        await reaches(one, BACKOFF)
        assert error_of(one)[0] is ErrorClass.TIMEOUT


async def test_a_far_side_that_stops_to_read_is_stalled_and_then_given_up():
    async with studio() as hub, sink_that("stall") as sink:
        await hub.publish()
        hub.keep_sending(padding=20_000)
        one = await hub.destinations().add(KEY, f"{sink.url}/key-1")
        await reaches(one, STALLED)
        assert one.stats.queued_ms > 0
        await reaches(one, BACKOFF)
        assert error_of(one)[0] is ErrorClass.STALLED


async def test_a_slow_far_side_gets_fresh_keyframes_and_its_losses_are_counted():
    patient = PushSettings(max_lag_ms=3_000)
    async with studio() as hub, sink_that("slow:4M") as sink:
        await hub.publish()
        hub.keep_sending(padding=10_000)
        one = await hub.destinations(patient).add(KEY, f"{sink.url}/key-1")
        async with asyncio.timeout(60):
            await until(lambda: one.stats.resets >= 2 and sink.publications[-1].video.keyframes > 2)
        assert one.stats.dropped_frames > 0
        assert one.state is LIVE
        assert sink.publications[-1].video.backward_steps == 0


async def test_one_sick_destination_costs_the_others_nothing():
    async with studio() as hub, sink_that("stall") as sick, sink_that() as well:
        await hub.publish()
        destinations = hub.destinations()
        await destinations.add(KEY, f"{sick.url}/key-1")
        good = await destinations.add(KEY, f"{well.url}/key-1")
        nowhere = await destinations.add(KEY, "rtmp://nowhere.invalid/live/key-1")
        hub.keep_sending(padding=10_000, every_s=0.4)
        await sick.published(2, within_s=60)
        assert good.state is LIVE
        assert good.stats.dropped_frames == good.stats.reconnects == 0
        assert well.publications[-1].video.longest_gap_ms < 100
        assert error_of(nowhere)[0] is ErrorClass.DNS


async def test_rtmps_is_checked_against_the_name_and_works_with_a_good_certificate():
    async with studio() as hub, sink_that(tls=True) as sink:
        assert sink.certificate is not None
        hub.resolver.hosts["other.test"] = ("127.0.0.1",)
        await hub.publish()
        hub.send()
        trusting = hub.destinations(ca=sink.certificate.pem.decode())
        good = await trusting.add(KEY, f"{sink.url}/key-1")
        await reaches(good, LIVE)
        bad = await trusting.add(KEY, f"rtmps://other.test:{sink.port}/live/key-1")
        await reaches(bad, BACKOFF)
        kind, message = error_of(bad)
        assert kind is ErrorClass.TLS
        assert "certificate" in message
        stranger = await hub.destinations().add(KEY, f"{sink.url}/key-2")
        await reaches(stranger, BACKOFF)
        assert error_of(stranger)[0] is ErrorClass.TLS


@pytest.mark.parametrize("how", ["tls-bad:name", "tls-bad:expired"])
async def test_a_wrong_certificate_is_never_accepted(how):
    async with studio() as hub, sink_that(how) as sink:
        assert sink.certificate is not None
        await hub.publish()
        hub.send()
        trusting = hub.destinations(ca=sink.certificate.pem.decode())
        one = await trusting.add(KEY, f"{sink.url}/key-1")
        await reaches(one, BACKOFF)
        assert error_of(one)[0] is ErrorClass.TLS
        assert not sink.publications


async def test_rtmps_to_a_port_that_speaks_rtmp_says_so():
    async with studio() as hub, sink_that("garbage") as sink:
        await hub.publish()
        hub.send()
        url = sink.url.replace("rtmp://", "rtmps://")
        one = await hub.destinations().add(KEY, f"{url}/key-1")
        await reaches(one, BACKOFF)
        assert error_of(one)[0] is ErrorClass.TLS


async def test_every_address_of_a_name_is_tried_and_asked_for_anew():
    async with studio() as hub, sink_that("drop:0.05s") as sink:
        # Nobody listens on the first one.
        hub.resolver.hosts["far.test"] = ("127.0.0.77", "127.0.0.1")
        await hub.publish()
        hub.keep_sending()
        await hub.destinations().add(KEY, f"rtmp://far.test:{sink.port}/live/key-1")
        await sink.published(2)
        assert hub.resolver.asked.count("far.test") >= 2


async def test_a_private_address_is_refused_for_good_where_the_configuration_says_so():
    async with studio() as hub, sink_that() as sink:
        hub.resolver.hosts["inside.test"] = ("127.0.0.1",)
        await hub.publish()
        hub.send()
        guarded = hub.destinations(allow_private=False)
        one = await guarded.add(KEY, f"rtmp://inside.test:{sink.port}/live/key-1")
        await reaches(one, FAILED)
        assert error_of(one)[0] is ErrorClass.REFUSED
        assert not sink.connections


async def test_a_name_that_leads_back_is_found_out_when_it_is_connected():
    async with studio() as hub, sink_that() as sink:
        hub.resolver.hosts["alias.test"] = ("127.0.0.1",)
        await hub.publish()
        hub.send()
        destinations = hub.destinations(own_ports=frozenset({sink.port}))
        one = await destinations.add(KEY, f"rtmp://alias.test:{sink.port}/{KEY}")
        await reaches(one, FAILED)
        assert error_of(one)[0] is ErrorClass.REJECTED
        assert not sink.publications


async def test_pausing_says_goodbye_and_resuming_begins_anew():
    async with studio() as hub, sink_that() as sink:
        await hub.publish()
        hub.keep_sending()
        destinations = hub.destinations()
        one = await destinations.add(KEY, f"{sink.url}/key-1")
        await reaches(one, LIVE)
        await destinations.change(KEY, one.spec.id, enabled=False)
        assert one.state is DISABLED
        await sink.emptied()
        await destinations.change(KEY, one.spec.id, enabled=True)
        await sink.published(2)
        await reaches(one, LIVE)
        assert HASTY.stall_after_ns == 300 * MS
