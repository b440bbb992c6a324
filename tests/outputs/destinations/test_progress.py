from hypothesis import given
from hypothesis import strategies as st

from streamserver.outputs.destinations.progress import Progress

S = 1_000_000_000


def begun() -> Progress:
    progress = Progress(stall_after_ns=5 * S)
    progress.begin(3000, 10 * S)
    return progress


def look(progress: Progress, *, acked: int, pending: int, total: int, s: int) -> None:
    progress.look(acked_bytes=acked, pending_bytes=pending, total_bytes=total, now_ns=s * S)


def test_nothing_is_confirmed_before_the_far_kernel_took_a_byte():
    progress = begun()
    look(progress, acked=3000, pending=900, total=3900, s=11)
    assert not progress.confirmed
    look(progress, acked=3001, pending=899, total=3900, s=12)
    assert progress.confirmed


def test_it_stalls_when_something_waits_and_nothing_moves():
    progress = begun()
    look(progress, acked=3500, pending=500, total=4000, s=11)
    for second in range(12, 16):
        look(progress, acked=3500, pending=500, total=4000, s=second)
        assert progress.stalled_ns(second * S) == 0
    assert progress.stalled_ns(16 * S) == 5 * S
    look(progress, acked=3501, pending=499, total=4000, s=17)
    assert progress.stalled_ns(17 * S) == 0


def test_a_publisher_that_pauses_is_no_stall():
    progress = begun()
    for second in range(11, 60):
        look(progress, acked=4000, pending=0, total=4000, s=second)
    assert progress.stalled_ns(59 * S) == 0


def test_nothing_stalls_before_the_far_side_accepted():
    progress = Progress(stall_after_ns=5 * S)
    look(progress, acked=0, pending=100, total=100, s=100)
    assert progress.stalled_ns(200 * S) == 0


def test_what_waits_is_told_in_milliseconds():
    progress = begun()
    for index in range(1, 11):
        progress.wrote(3000 + index * 1000, index * 100)
    # Of 10,000 bytes, the first 4,000 arrived: those up to 400 ms.
    look(progress, acked=7000, pending=6000, total=13_000, s=11)
    assert progress.queued_ms(13_000, 6000, newest_ms=1000) == 500
    look(progress, acked=13_000, pending=0, total=13_000, s=12)
    assert progress.queued_ms(13_000, 0, newest_ms=1000) == 0
    assert progress.queued_ms(13_000, 0, newest_ms=1900) == 900


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 5000)), max_size=50))
def test_what_waits_is_never_negative_nor_more_than_there_is(steps):
    progress = begun()
    total = arrived = 3000
    for index, (wrote, took) in enumerate(steps):
        total += wrote
        arrived = min(total, arrived + took)
        progress.wrote(total, index * 40)
        look(progress, acked=arrived, pending=total - arrived, total=total, s=10 + index)
        assert 0 <= progress.queued_ms(total, total - arrived, index * 40) <= index * 40
