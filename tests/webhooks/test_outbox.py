"""The queue of a webhook in simulated time."""

from streamserver.net.backoff import Backoff
from streamserver.webhooks.outbox import Delivery, DeliveryState, Outbox, OutboxSettings, Reply

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
OK = Reply(status=200, duration_ms=5)
BUSY = Reply(status=503, duration_ms=5)
WRONG = Reply(status=500, duration_ms=5)
AWAY = Reply(error="connection refused", duration_ms=5)


def event(number: int, *, at_ns: int = START, size: int = 2) -> Delivery:
    return Delivery(
        event_id=f"1-{number}",
        event_type="stream.started",
        stream="live/x",
        body=bytes(size),
        created_ns=at_ns,
    )


def outbox(settings: OutboxSettings | None = None) -> Outbox:
    """With delays at their ceilings."""
    return Outbox(Backoff(lambda low, high: high), settings or OutboxSettings())


def ids(box: Outbox) -> list[str]:
    return [f"{one.event_id} {one.state}" for one in box.newest_first()]


def test_events_go_out_one_after_the_other_in_order() -> None:
    box = outbox()
    for number in range(3):
        box.offer(event(number), START)
    sent = []
    while (one := box.take(START)) is not None:
        sent.append(one.event_id)
        box.settle(one, OK, START)
    assert sent == ["1-0", "1-1", "1-2"]
    assert (box.delivered, len(box), box.wait_ns(START)) == (3, 0, None)
    assert ids(box) == ["1-2 delivered", "1-1 delivered", "1-0 delivered"]


def test_a_failure_is_tried_again_with_growing_delays_and_nothing_overtakes_it() -> None:
    box, now = outbox(), START
    box.offer(event(1), now)
    box.offer(event(2), now)
    delays = []
    for _ in range(8):
        one = box.take(now)
        assert one is not None
        assert one.event_id == "1-1"
        box.settle(one, AWAY, now)
        wait_ns = box.wait_ns(now)
        assert wait_ns is not None
        assert one.next_ns == now + wait_ns
        delays.append(wait_ns // SECOND)
        now += wait_ns
    assert delays == [2, 4, 8, 16, 32, 60, 60, 60]
    assert box.is_failing
    assert box.last_error == ("connection refused", now - 60 * SECOND)
    one = box.take(now)
    assert one is not None
    box.settle(one, OK, now)
    assert (box.wait_ns(now), box.is_failing) == (0, False)


def test_new_events_do_not_shorten_the_wait_and_its_owner_does() -> None:
    box = outbox()
    box.offer(event(1), START)
    one = box.take(START)
    assert one is not None
    box.settle(one, AWAY, START)
    box.offer(event(2), START)
    assert box.wait_ns(START) == 2 * SECOND
    assert box.next_attempt_ns == START + 2 * SECOND
    box.retry()
    assert box.wait_ns(START) == 0


def test_the_far_sides_wish_is_kept_up_to_a_bound() -> None:
    box = outbox()
    box.offer(event(1), START)
    for asked, kept in ((30, 30), (10**9, 300)):
        one = box.take(START)
        assert one is not None
        box.settle(one, Reply(status=429, duration_ms=1, retry_after_s=asked), START)
        assert box.wait_ns(START) == kept * SECOND


def test_an_event_that_is_refused_again_and_again_makes_room_for_the_next() -> None:
    box, now = outbox(OutboxSettings(max_refusals=3)), START
    box.offer(event(1), now)
    box.offer(event(2), now)
    for _ in range(3):
        one = box.take(now)
        assert one is not None
        box.settle(one, WRONG, now)
        now += 60 * SECOND
    assert ids(box) == ["1-2 pending", "1-1 failed"]
    assert (box.failed, box.failed_attempts) == (1, 3)
    failed = list(box.newest_first())[1]
    assert (failed.status, failed.error, failed.body) == (500, "answered with status 500", b"")


def test_a_receiver_that_is_away_loses_nothing_for_a_day() -> None:
    box, now = outbox(OutboxSettings(max_refusals=3)), START
    box.offer(event(1), now)
    for reply in (AWAY, BUSY) * 20:
        one = box.take(now)
        assert one is not None
        box.settle(one, reply, now)
        now += 60 * SECOND
    assert ids(box) == ["1-1 pending"]
    now = START + 24 * 3600 * SECOND + 1
    box.offer(event(2, at_ns=now), now)
    one = box.take(now)
    assert one is not None
    assert one.event_id == "1-2"
    assert ids(box) == ["1-2 pending", "1-1 failed"]


def test_a_full_queue_drops_its_oldest_and_never_what_is_under_way() -> None:
    box = outbox(OutboxSettings(max_pending=2))
    box.offer(event(1), START)
    one = box.take(START)
    assert one is not None
    for number in (2, 3):
        box.offer(event(number), START)
    assert ids(box) == ["1-3 pending", "1-1 pending", "1-2 dropped"]
    box.settle(one, OK, START)
    for number in (4, 5):
        box.offer(event(number), START)
    assert [one.event_id for one in box.newest_first() if one.state == "pending"] == ["1-5", "1-4"]
    assert (box.dropped, len(box)) == (2, 2)


def test_a_queue_is_bounded_in_bytes() -> None:
    box = outbox(OutboxSettings(max_bytes=100))
    for number in range(5):
        box.offer(event(number, size=40), START)
    assert len(box) == 2
    box.offer(event(9, size=1000), START)
    assert len(box) == 0
    assert box.dropped == 6


def test_what_is_over_is_shown_up_to_a_bound() -> None:
    box = outbox(OutboxSettings(log_size=2))
    for number in range(5):
        box.offer(event(number), START)
        one = box.take(START)
        assert one is not None
        box.settle(one, OK, START)
    assert ids(box) == ["1-4 delivered", "1-3 delivered"]


def test_after_a_restart_what_waits_is_due_at_once() -> None:
    waiting, done = event(2), event(1)
    waiting.next_ns, waiting.attempts = START + 50 * SECOND, 4
    done.state = DeliveryState.DELIVERED
    box = outbox()
    box.restore([done, waiting])
    assert box.wait_ns(START) == 0
    assert ids(box) == ["1-2 pending", "1-1 delivered"]
    assert box.take(START) is waiting


def test_every_change_is_told() -> None:
    told: list[str] = []
    box = outbox()
    box.on_change = lambda one: told.append(f"{one.event_id} {one.state} {one.attempts}")
    box.offer(event(1), START)
    for reply in (AWAY, OK):
        one = box.take(START)
        assert one is not None
        box.settle(one, reply, START)
    assert told == ["1-1 pending 0", "1-1 pending 1", "1-1 delivered 2"]
