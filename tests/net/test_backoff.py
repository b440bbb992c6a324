import random

from hypothesis import given
from hypothesis import strategies as st

from streamserver.net.backoff import Backoff


def test_the_ceiling_doubles_up_to_a_minute():
    backoff = Backoff(lambda low, high: high)
    assert [backoff.next_ms() for _ in range(8)] == [
        2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000,
    ]  # fmt: skip


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_every_delay_is_between_one_second_and_a_minute_for_ever(seed, failures):
    backoff = Backoff(random.Random(seed).randint)
    assert all(1_000 <= backoff.next_ms() <= 60_000 for _ in range(failures))


def test_a_reset_begins_with_the_shortest():
    backoff = Backoff(lambda low, high: high)
    for _ in range(5):
        backoff.next_ms()
    backoff.reset()
    assert backoff.next_ms() == 2_000


def test_a_thousand_senders_do_not_return_together():
    draw = random.Random(1).randint
    delays = set()
    for _ in range(1000):
        backoff = Backoff(draw)
        for _ in range(5):
            backoff.next_ms()
        delays.add(backoff.next_ms() // 100)
    assert len(delays) > 400
