from streamserver.rtp.nack import NEVER_NS, MissingPackets

MS = 1_000_000


def test_a_missing_packet_is_asked_for_after_a_guard_and_again_by_round_trips() -> None:
    missing = MissingPackets()
    assert missing.next_ns == NEVER_NS
    assert missing.add(10, 12, 0)
    assert missing.ask(4 * MS) == []
    assert missing.ask(5 * MS) == [10, 11]
    missing.came(10, 45 * MS, answer=True)
    assert missing.rtt_ns == 40 * MS
    assert missing.ask(100 * MS) == []
    # The first wait was for a round trip that nobody knew yet.
    assert missing.ask(130 * MS) == [11]
    assert missing.ask(179 * MS) == []
    assert missing.ask(180 * MS) == [11]
    assert (missing.asked, missing.found) == (4, 1)


def test_a_packet_that_was_only_late_is_not_asked_for() -> None:
    missing = MissingPackets()
    missing.add(10, 11, 0)
    missing.came(10, 2 * MS, answer=False)
    assert not missing
    assert missing.next_ns == NEVER_NS
    assert missing.ask(10 * MS) == []


def test_an_answer_to_a_second_request_measures_nothing() -> None:
    missing = MissingPackets()
    missing.add(10, 11, 0)
    missing.ask(5 * MS)
    missing.ask(200 * MS)
    missing.came(10, 201 * MS, answer=True)
    assert missing.rtt_ns is None
    assert missing.found == 1


def test_what_came_late_by_itself_is_no_answer() -> None:
    missing = MissingPackets()
    missing.add(10, 11, 0)
    missing.ask(5 * MS)
    missing.came(10, 6 * MS, answer=False)
    assert (missing.rtt_ns, missing.found, len(missing)) == (None, 0, 0)


def test_it_stops_to_ask_in_the_end() -> None:
    missing = MissingPackets()
    missing.add(10, 11, 0)
    asked = sum(len(missing.ask(now * MS)) for now in range(0, 5_000, 10))
    assert asked == 10
    assert missing.next_ns == NEVER_NS


def test_what_is_given_up_is_not_asked_for() -> None:
    missing = MissingPackets()
    missing.add(10, 20, 0)
    missing.forget_before(18)
    assert missing.ask(5 * MS) == [18, 19]
    missing.forget_before(30)
    assert missing.next_ns == NEVER_NS


def test_too_many_are_not_noted() -> None:
    missing = MissingPackets()
    assert missing.add(0, 500, 0)
    assert not missing.add(600, 700, 0)
    assert len(missing) == 500
    assert len(missing.ask(5 * MS)) == 200
    assert len(missing.ask(5 * MS)) == 200
    assert len(missing.ask(5 * MS)) == 100
