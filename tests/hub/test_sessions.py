from streamserver.hub.sessions import Tally
from tests.fakes import session


def test_a_session_counts_with_a_tally_from_when_it_begins_until_it_ends():
    one, two, tally = session(), session(), Tally()
    one.bytes_sent = 10
    tally.bytes = 1_000
    one.count_with(tally)
    assert one.bytes_sent == 10
    tally.bytes += 5
    two.count_with(tally)
    tally.bytes += 5
    two.bytes_sent += 1
    assert (one.bytes_sent, two.bytes_sent) == (20, 6)
    one.count_with(None)
    tally.bytes += 5
    assert (one.bytes_sent, two.bytes_sent) == (20, 11)
    other = Tally()
    two.count_with(other)
    other.bytes += 1
    assert two.bytes_sent == 12
