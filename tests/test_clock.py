import pytest

from streamserver.clock import next_beat


@pytest.mark.parametrize(
    ("now_s", "period_s", "due_s"),
    [(0.0, 0.25, 0.25), (7.3, 0.25, 7.5), (7.3, 1.0, 8.0), (7.5, 0.25, 7.75), (7.9, 0.25, 8.0)],
)
def test_timers_are_due_at_multiples_of_their_period(now_s, period_s, due_s):
    assert next_beat(now_s, period_s) == due_s


def test_a_timer_that_ran_a_little_early_does_not_come_twice():
    assert next_beat(7.4999, 0.25) == 7.75
