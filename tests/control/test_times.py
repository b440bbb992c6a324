from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streamserver.control.times import decimal, rfc3339, unix_ns_to_rfc3339


def test_a_time_is_utc_with_milliseconds_and_z():
    moment = datetime(2026, 11, 20, 12, 0, 0, 7_999, timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-11-20T11:00:00.007Z"


def test_whole_seconds_keep_their_milliseconds():
    assert unix_ns_to_rfc3339(0) == "1970-01-01T00:00:00.000Z"


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_nanoseconds_survive_to_the_millisecond(unix_ns):
    moment = datetime.fromisoformat(unix_ns_to_rfc3339(unix_ns))
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert since // timedelta(milliseconds=1) == unix_ns // 1_000_000


def test_fractions_are_shown_to_three_decimals():
    assert decimal(Fraction(30_000, 1001)) == 29.97
    assert decimal(Fraction(8333, 1000)) == 8.333
