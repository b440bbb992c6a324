"""Who keeps up, and who asks for too much."""

from streamserver.outputs.webrtc.allowance import Allowance
from streamserver.outputs.webrtc.congestion import Congestion

SECOND = 1_000_000_000


def test_losses_must_last_before_pictures_are_dropped() -> None:
    judge = Congestion()
    assert not judge.report(200, None, 0)
    assert not judge.report(10, None, SECOND)
    assert not judge.report(200, None, 2 * SECOND)
    assert not judge.report(200, None, 4 * SECOND)
    assert judge.report(200, None, 5 * SECOND)
    assert judge.rests_until_ns == 6 * SECOND
    assert not judge.report(200, None, 6 * SECOND), "after a drop it begins anew"


def test_a_queue_that_grows_is_noticed_by_the_round_trip() -> None:
    judge = Congestion()
    assert not judge.report(0, 20, 0)
    assert not judge.report(0, 600, SECOND)
    assert not judge.report(0, 800, 3 * SECOND)
    assert judge.report(0, 900, 4 * SECOND)


def test_a_long_way_is_no_queue() -> None:
    judge = Congestion()
    assert not any(judge.report(0, 900, second * SECOND) for second in range(10))


def test_a_few_full_buffers_are_losses_and_many_are_too_much() -> None:
    judge = Congestion()
    assert not any(judge.overflow(second * SECOND) for second in range(20))
    assert [judge.overflow(100 * SECOND + at) for at in range(8)] == [False] * 7 + [True]


def test_an_allowance_fills_with_time_and_not_beyond_its_bound() -> None:
    allowance = Allowance(1_000, 500, 0)
    assert allowance.take(500, 0)
    assert not allowance.take(1, 0)
    assert allowance.take(100, SECOND // 10)
    assert not allowance.take(501, 100 * SECOND)
    assert allowance.take(500, 100 * SECOND)
