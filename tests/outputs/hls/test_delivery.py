"""Who waits for what, and for how long (RFC 8216bis-22 section 6.2.5)."""

from itertools import count

import pytest

from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.waiters import Counted, Waiter
from tests.outputs.hls.helpers_hls import FIRST_MSN, DeliveryRig, Read, collect

M = FIRST_MSN
"""Segment M is complete (six parts), M + 1 grows and has two parts, in `rig`."""


@pytest.fixture
def rig() -> DeliveryRig:
    rig = DeliveryRig()
    rig.ready(segments=1, parts=2)
    return rig


def test_without_directives_the_playlist_comes_at_once(rig):
    assert rig.status("") == 200


def test_other_parameters_do_not_hold_the_request(rig):
    assert rig.status("token=abc&_=123") == 200


def test_a_segment_alone_waits_until_it_is_complete(rig):
    answers = rig.held(f"_HLS_msn={M + 1}")
    rig.make.part()
    rig.run()
    assert not answers
    rig.make.end()
    rig.run()
    assert Read(answers[0].body.decode()).segments[-1].msn == M + 1


def test_a_complete_segment_is_answered_at_once(rig):
    assert rig.status(f"_HLS_msn={M}") == 200
    assert rig.status(f"_HLS_msn={M - 100}") == 200
    assert rig.status("_HLS_msn=0&_HLS_part=0") == 200


def test_a_part_that_exists_is_answered_at_once(rig):
    assert rig.status(f"_HLS_msn={M + 1}&_HLS_part=1") == 200


def test_a_part_to_come_is_waited_for(rig):
    answers = rig.held(f"_HLS_msn={M + 1}&_HLS_part=2")
    later = rig.held(f"_HLS_msn={M + 1}&_HLS_part=3")
    rig.make.part()
    rig.run()
    growing = Read(answers[0].body.decode()).growing
    assert growing is not None
    assert len(growing.parts) == 3
    assert not later


def test_a_part_beyond_the_last_of_a_finished_segment_means_the_first_of_the_next():
    rig = DeliveryRig()
    rig.ready(segments=1)
    answers = rig.held(f"_HLS_msn={M}&_HLS_part=6")
    rig.make.part()
    rig.run()
    assert len(answers) == 1
    assert rig.status(f"_HLS_msn={M}&_HLS_part=6") == 200
    assert rig.status(f"_HLS_msn={M}&_HLS_part=60") == 200


def test_a_part_that_never_comes_because_the_segment_ended_waits_for_the_next(rig):
    answers = rig.held(f"_HLS_msn={M + 1}&_HLS_part=2")
    rig.make.end()
    rig.run()
    assert not answers
    rig.make.part()
    rig.run()
    growing = Read(answers[0].body.decode()).growing
    assert growing is not None
    assert growing.msn == M + 2


def test_the_first_part_of_the_next_segment_is_waited_for(rig):
    answers = rig.held(f"_HLS_msn={M + 2}&_HLS_part=0")
    rig.make.part()
    rig.make.end()
    rig.run()
    assert not answers
    rig.make.part()
    rig.run()
    assert len(answers) == 1


@pytest.mark.parametrize(
    "query",
    [
        "_HLS_part=1",
        "_HLS_msn=x",
        "_HLS_msn=-1",
        f"_HLS_msn={M + 3}",
        f"_HLS_msn={M + 3}&_HLS_part=0",
        "_HLS_msn=999999999999999999",
        f"_HLS_msn={M + 1}&_HLS_part=11",
        f"_HLS_msn={M + 2}&_HLS_part=9",
    ],
)
def test_nonsense_and_the_far_future_are_bad_requests(rig, query):
    assert rig.status(query) == 400
    assert rig.stats.bad_requests == 1


@pytest.mark.parametrize(
    "query",
    [f"_HLS_msn={M + 2}", f"_HLS_msn={M + 1}&_HLS_part=10", f"_HLS_msn={M + 2}&_HLS_part=8"],
)
def test_the_near_future_is_waited_for(rig, query):
    assert rig.held(query) == []


def test_parts_of_a_second_or_more_are_waited_for_three_ahead_at_most():
    rig = DeliveryRig()
    rig.make.target(4, 1_000)
    rig.make.segment(parts=4, ticks=90_000)
    rig.run()
    assert rig.held(f"_HLS_msn={M + 1}&_HLS_part=2") == []
    assert rig.status(f"_HLS_msn={M + 1}&_HLS_part=3") == 400


def test_a_request_is_held_for_three_target_durations_and_then_gets_503(rig):
    answers = rig.held(f"_HLS_msn={M + 1}")
    rig.later(ms=5_999)
    assert not answers
    rig.later(ms=1)
    assert [reply.status for reply in answers] == [503]
    assert ("Retry-After", "1") in answers[0].header_items(gzip=False)
    assert (rig.stats.parked, rig.stats.timeouts) == (0, 1)


def test_after_the_end_directives_are_ignored(rig):
    rig.delivery.end()
    for query in ("_HLS_msn=999999999999", "_HLS_part=3", "_HLS_msn=x"):
        assert rig.status(query) == 200


def test_the_end_answers_everybody(rig):
    playlist = rig.held(f"_HLS_msn={M + 2}")
    hint = collect(rig.delivery.ask_hinted_part(rig.clock.now_ns))
    rig.delivery.end()
    rig.run()
    assert Read(playlist[0].body.decode()).ended
    assert hint[0].status == 404
    assert rig.stats.parked == 0


def test_skip_is_answered_with_the_whole_playlist(rig):
    reply = rig.ask(f"_HLS_msn={M}&_HLS_skip=YES")
    assert isinstance(reply, Reply)
    assert reply.body.decode() == rig.text()


def test_many_parts_in_one_turn_are_answered_with_the_newest_playlist(rig):
    answers = rig.held(f"_HLS_msn={M + 1}&_HLS_part=2")
    for _ in range(3):
        rig.make.part()
    rig.run()
    assert answers[0].body.decode() == rig.text()


def hint_entry(rig: DeliveryRig) -> bytes:
    return f"/live/cam/{rig.delivery.window.hint_uri}".encode()


def test_the_hinted_part_is_held_until_it_is_whole(rig):
    entry = rig.entries[hint_entry(rig)]
    assert not isinstance(entry, Reply)
    answers = collect(entry.ask(b""))
    part = rig.make.part()
    rig.run()
    assert answers[0].body == part.data
    assert answers[0].status == 200


def test_a_hinted_part_that_never_comes_is_not_found(rig):
    path = hint_entry(rig)
    entry = rig.entries[path]
    assert not isinstance(entry, Reply)
    answers = collect(entry.ask(b""))
    rig.make.end()
    rig.run()
    assert answers[0].status == 404
    assert path not in rig.entries
    assert hint_entry(rig) in rig.entries


def test_a_hinted_part_is_not_held_for_ever(rig):
    answers = collect(rig.delivery.ask_hinted_part(rig.clock.now_ns))
    rig.later(ms=6_000)
    assert answers[0].status == 503


def test_only_the_next_part_can_be_asked_for_ahead(rig):
    uri = rig.delivery.window.hint_uri
    beyond = uri.replace(".2.m4s", ".3.m4s")
    assert beyond != uri
    assert f"/live/cam/{beyond}".encode() not in rig.entries


def test_a_stream_that_is_starting_holds_requests_until_its_first_segment():
    rig = DeliveryRig()
    playlist = rig.held("_HLS_msn=5&_HLS_part=1")
    master = collect(
        rig.delivery.when_ready(
            lambda: rig.delivery.multivariant("s/x/video.m3u8"), None, rig.clock.now_ns
        )
    )
    for _ in range(6):
        rig.make.part()
    rig.make.target()
    rig.run()
    assert not playlist
    rig.make.end()
    rig.run()
    assert Read(playlist[0].body.decode()).segments
    assert b"s/x/video.m3u8" in master[0].body
    assert rig.stats.parked == 0


def test_a_segment_without_a_target_is_no_playlist_yet():
    rig = DeliveryRig()
    playlist = rig.held()
    rig.make.segment()
    rig.run()
    assert not playlist
    rig.make.target()
    rig.run()
    assert playlist[0].status == 200


def test_a_stream_that_does_not_start_gets_503_and_one_that_ended_404():
    rig = DeliveryRig()
    answers = rig.held()
    rig.later(ms=15_000)
    assert answers[0].status == 503
    answers = rig.held()
    rig.delivery.end()
    rig.run()
    assert answers[0].status == 404
    assert rig.status("") == 404


def test_a_failed_output_asks_everybody_to_come_back_and_does_not_end(rig):
    answers = rig.held(f"_HLS_msn={M + 2}")
    hint = collect(rig.delivery.ask_hinted_part(rig.clock.now_ns))
    rig.delivery.abandon()
    rig.run()
    assert [reply.status for reply in (*answers, *hint)] == [503, 503]
    assert not Read(rig.text()).ended
    assert rig.stats.parked == 0


def test_a_client_that_went_away_is_not_answered_and_not_counted(rig):
    waiter = rig.ask(f"_HLS_msn={M + 1}")
    assert isinstance(waiter, Waiter)
    answers: list[bytes] = []
    waiter.park(answers.append)
    assert rig.stats.parked == 1
    waiter.cancel()
    waiter.cancel()
    assert rig.stats.parked == 0
    rig.make.end()
    rig.run()
    assert not answers


def test_the_waiter_gets_the_encoding_that_its_client_takes(rig):
    messages: list[bytes] = []
    for gzip in (False, True):
        waiter = rig.ask(f"_HLS_msn={M + 1}&_HLS_part=2")
        assert isinstance(waiter, Waiter)
        waiter.gzip = gzip
        waiter.park(messages.append)
    rig.make.part()
    rig.run()
    reply = rig.delivery.playlist()
    assert messages == [reply.wire, reply.wire_gzip]


def test_one_dead_connection_costs_the_others_nothing(rig):
    answers: list[bytes] = []

    def dead(wire: bytes) -> None:
        raise RuntimeError("the transport is closed")

    for resume in (dead, answers.append):
        waiter = rig.ask(f"_HLS_msn={M + 1}&_HLS_part=2")
        assert isinstance(waiter, Waiter)
        waiter.park(resume)
    rig.make.part()
    rig.run()
    assert len(answers) == 1
    assert rig.stats.lost_answers == 1


def test_a_thousand_waiters_are_resumed_in_steps_of_the_slicer():
    looks = count(step=1_000_000)
    rig = DeliveryRig(slicer_now_ns=lambda: next(looks))
    rig.ready(segments=1, parts=2)
    answers = [rig.held(f"_HLS_msn={M + 1}&_HLS_part=2") for _ in range(1_000)]
    rig.make.part()
    turns = 0
    while rig.turns.run():
        turns += 1
    assert turns > 10
    assert all(len(answer) == 1 for answer in answers)
    assert rig.stats.parked == 0


def test_requests_that_wait_are_bounded_in_all_and_for_each_viewer():
    rig = DeliveryRig(HlsSettings(max_parked=5, max_parked_per_session=2))
    rig.ready()
    owner = Counted()
    query = f"_HLS_msn={M + 1}".encode()
    outcomes = [rig.delivery.ask_playlist(query, owner, 0) for _ in range(3)]
    assert [isinstance(outcome, Waiter) for outcome in outcomes] == [True, True, False]
    outcomes = [rig.delivery.ask_playlist(query, None, 0) for _ in range(5)]
    assert sum(isinstance(outcome, Waiter) for outcome in outcomes) == 3
    refused = outcomes[-1]
    assert isinstance(refused, Reply)
    assert refused.status == 503
    assert (rig.stats.parked, rig.stats.refused) == (5, 3)


def test_waiting_requests_that_were_cancelled_are_forgotten_at_the_next_tick(rig):
    for _ in range(50):
        waiter = rig.ask(f"_HLS_msn={M + 1}")
        assert isinstance(waiter, Waiter)
        waiter.cancel()
    rig.later(ms=250)
    rig.make.end()
    assert rig.slicer.waiting == 0
    rig.run()
    assert rig.stats.lost_answers == 0
