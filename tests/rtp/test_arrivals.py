from hypothesis import given
from hypothesis import strategies as st

from streamserver.rtp.arrivals import Arrivals
from streamserver.rtp.rtcp import TransportFeedback, parse_rtcp

MS = 1_000_000


def read(arrivals: Arrivals) -> list[TransportFeedback]:
    """Reports as a sender reads them."""
    found = []
    for report in arrivals.report(1, 2):
        (packet,) = parse_rtcp(report.to_bytes())
        assert isinstance(packet, TransportFeedback)
        found.append(packet)
    return found


def test_nothing_came_nothing_is_told() -> None:
    assert Arrivals().report(1, 2) == []


def test_times_are_told_to_a_quarter_of_a_millisecond() -> None:
    arrivals = Arrivals()
    for number, at_ms in ((65_534, 1_000), (65_535, 1_001), (1, 1_040)):
        arrivals.note(number, at_ms * MS)
    (report,) = read(arrivals)
    assert report.base_sequence == 65_534
    assert report.count == 4
    assert report.sequences == {65_534: 1_000 * MS, 65_535: 1_001 * MS, 1: 1_040 * MS}


def test_a_loss_between_two_reports_is_told() -> None:
    arrivals = Arrivals()
    arrivals.note(5, MS)
    read(arrivals)
    arrivals.note(8, 2 * MS)
    (report,) = read(arrivals)
    assert (report.base_sequence, report.count) == (6, 3)
    assert list(report.sequences) == [8]
    assert report.feedback_count == 1


def test_what_comes_after_it_was_missed_is_told_on_its_own_and_once() -> None:
    arrivals = Arrivals()
    for number in (5, 7):
        arrivals.note(number, number * MS)
    read(arrivals)
    arrivals.note(6, 20 * MS)
    arrivals.note(7, 20 * MS)
    arrivals.note(8, 20 * MS)
    late, usual = read(arrivals)
    assert list(late.sequences) == [6]
    assert list(usual.sequences) == [8]
    arrivals.note(6, 30 * MS)
    assert read(arrivals) == []


def test_long_pauses_and_floods_are_told_in_several_reports() -> None:
    arrivals = Arrivals()
    for number in range(1_000):
        arrivals.note(number, number * MS)
    arrivals.note(1_000, 60_000 * MS)
    reports = read(arrivals)
    assert len(reports) == 4
    told: dict[int, int] = {}
    for report in reports:
        assert len(report.to_bytes()) < 1_200
        told |= report.sequences
    assert sorted(told) == list(range(1_001))
    assert told[1_000] == 60_000 * MS


def test_a_jump_of_numbers_is_not_told_as_losses() -> None:
    arrivals = Arrivals()
    arrivals.note(1, MS)
    read(arrivals)
    arrivals.note(30_000, 2 * MS)
    (report,) = read(arrivals)
    assert report.count <= 2_001


@given(st.lists(st.tuples(st.integers(0, 65_535) | st.integers(0, 50), st.integers(0, 2_000))))
def test_no_arrival_is_told_twice_whatever_comes(packets: list[tuple[int, int]]) -> None:
    arrivals = Arrivals()
    now_ns = 0
    told = 0
    for index, (number, pause_ms) in enumerate(packets):
        now_ns += pause_ms * MS
        arrivals.note(number, now_ns)
        if index % 3 == 0:
            told += sum(len(report.arrivals) for report in read(arrivals))
    told += sum(len(report.arrivals) for report in read(arrivals))
    assert told <= len(packets)
