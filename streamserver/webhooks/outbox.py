"""The queue of one webhook: what is sent next, when, and what became of it. Time is an argument."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streamserver.net.backoff import Backoff

__all__ = ["Delivery", "DeliveryState", "Outbox", "OutboxSettings", "Reply"]

_TRY_LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that say nothing about the event: the server, or one in front of it, is not there now."""

_MAX_RETRY_AFTER_NS: Final = 300_000_000_000


class DeliveryState(StrEnum):
    """What became of an event on its way to a webhook."""

    PENDING = "pending"
    """It waits, or waits for another attempt."""

    DELIVERED = "delivered"
    """It was answered with 2xx."""

    FAILED = "failed"
    """It was given up: refused too often, or too old."""

    DROPPED = "dropped"
    """It was left out because the queue was full."""


@dataclass(slots=True, eq=False, kw_only=True)
class Delivery:
    """One event on its way to one webhook."""

    event_id: str
    """The event's id, which is the delivery's, too."""

    event_type: str
    """The event's type."""

    stream: str
    """``app/name``, or empty."""

    body: bytes = field(repr=False)
    """What is sent; empty once nothing will be sent any more."""

    created_ns: int
    """When it was put into the queue, Unix time."""

    state: DeliveryState = DeliveryState.PENDING
    """What became of it."""

    attempts: int = 0
    """Requests made."""

    next_ns: int = 0
    """When the next is due, Unix time; 0: at once, or none."""

    finished_ns: int = 0
    """When it was delivered or given up, Unix time."""

    status: int = 0
    """The status that the last request was answered with; 0: none."""

    duration_ms: int = 0
    """How long the last request took."""

    error: str = ""
    """Why the last request failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one attempt."""

    status: int = 0
    """The HTTP status; 0 without an answer."""

    error: str = ""
    """Why there was no answer."""

    duration_ms: int
    """How long it took."""

    retry_after_s: int = 0
    """What the far side asked for (RFC 9110, section 10.2.3); 0: nothing."""

    @property
    def is_success(self) -> bool:
        """Whether the event has arrived."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """Bounds of a queue."""

    max_pending: int = 1_000
    """Events that wait; beyond it the oldest is left out."""

    max_bytes: int = 4 * 1024 * 1024
    """The same in bytes of their bodies."""

    max_age_s: int = 24 * 3600
    """An event that could not be delivered for so long is given up."""

    max_refusals: int = 15
    """So does one that was answered this often with a status that speaks against it: a receiver
    that stumbles over one event must not wait a day for the next. It takes some ten minutes."""

    log_size: int = 100
    """Deliveries that are over and still shown."""


class Outbox:
    """Events for one webhook, in order: the first is sent until it arrives or is given up."""

    def __init__(self, backoff: Backoff, settings: OutboxSettings = OutboxSettings()) -> None:
        self.delivered = 0
        """Deliveries that arrived."""
        self.failed = 0
        """Deliveries that were given up."""
        self.dropped = 0
        """Deliveries that were left out because the queue was full."""
        self.failed_attempts = 0
        """Requests that were not answered with 2xx."""
        self.last_error: tuple[str, int] | None = None
        """Why an attempt failed last, and when (Unix time)."""
        self._backoff = backoff
        self._settings = settings
        self._pending: deque[Delivery] = deque()
        self._done: deque[Delivery] = deque(maxlen=settings.log_size)
        self._bytes = 0
        self._in_flight: Delivery | None = None
        self._not_before_ns = 0
        self.on_change: Callable[[Delivery], None] = lambda delivery: None
        """Told of each delivery that is new or has changed."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._backoff.failures > 0

    @property
    def next_attempt_ns(self) -> int | None:
        """When the next attempt is due, Unix time, where one waits for that time."""
        return self._not_before_ns if self._pending and self._not_before_ns else None

    def newest_first(self) -> Iterator[Delivery]:
        """What waits and what is over, newest first."""
        yield from reversed(self._pending)
        yield from reversed(self._done)

    def restore(self, deliveries: Iterable[Delivery]) -> None:
        """Takes in what an earlier run of the server left, oldest first; due at once."""
        for one in deliveries:
            if one.state is DeliveryState.PENDING:
                one.next_ns = 0
                self._pending.append(one)
                self._bytes += len(one.body)
            else:
                self._done.append(one)

    def offer(self, delivery: Delivery, now_ns: int) -> None:
        """Puts an event at the end; at a bound the oldest make room."""
        settings = self._settings
        self._pending.append(delivery)
        self._bytes += len(delivery.body)
        self.on_change(delivery)
        while len(self._pending) > settings.max_pending or self._bytes > settings.max_bytes:
            # What is under way may have arrived already.
            index = 1 if self._pending[0] is self._in_flight else 0
            if index >= len(self._pending):
                return
            self.dropped += 1
            self._finish(self._pending[index], DeliveryState.DROPPED, now_ns)

    def wait_ns(self, now_ns: int) -> int | None:
        """How long to wait before `take`; None while there is nothing to send."""
        if not self._pending:
            return None
        return max(0, self._not_before_ns - now_ns)

    def take(self, now_ns: int) -> Delivery | None:
        """The event to send now; `settle` it. Gives up what is too old."""
        oldest_ns = now_ns - self._settings.max_age_s * 1_000_000_000
        while self._pending and self._pending[0].created_ns < oldest_ns:
            self.failed += 1
            one = self._pending[0]
            one.error = one.error or "it could not be sent in time"
            self._finish(one, DeliveryState.FAILED, now_ns)
        self._in_flight = self._pending[0] if self._pending else None
        return self._in_flight

    def settle(self, delivery: Delivery, reply: Reply, now_ns: int) -> None:
        """Notes what came of an attempt at a Unix time."""
        self._in_flight = None
        delivery.attempts += 1
        delivery.status, delivery.error = reply.status, reply.error
        delivery.duration_ms, delivery.next_ns = reply.duration_ms, 0
        if reply.is_success:
            self._backoff.reset()
            self._not_before_ns = 0
            self.delivered += 1
            self._finish(delivery, DeliveryState.DELIVERED, now_ns)
            return
        self.failed_attempts += 1
        if reply.status:
            delivery.error = f"answered with status {reply.status}"
        self.last_error = (delivery.error, now_ns)
        delay_ns = self._backoff.next_ms() * 1_000_000
        asked_ns = min(reply.retry_after_s * 1_000_000_000, _MAX_RETRY_AFTER_NS)
        self._not_before_ns = now_ns + max(delay_ns, asked_ns)
        final = reply.status and reply.status not in _TRY_LATER
        if final and delivery.attempts >= self._settings.max_refusals:
            self.failed += 1
            self._finish(delivery, DeliveryState.FAILED, now_ns)
        else:
            delivery.next_ns = self._not_before_ns
            self.on_change(delivery)

    def interrupt(self) -> None:
        """The attempt under way was broken off and counts for nothing."""
        self._in_flight = None

    def retry(self) -> None:
        """Its owner says that the receiver is there: the next attempt is due at once."""
        self._backoff.reset()
        self._not_before_ns = 0
        if self._pending:
            self._pending[0].next_ns = 0

    def _finish(self, delivery: Delivery, state: DeliveryState, now_ns: int) -> None:
        self._pending.remove(delivery)
        self._bytes -= len(delivery.body)
        delivery.state = state
        delivery.body = b""
        delivery.finished_ns = now_ns
        delivery.next_ns = 0
        self._done.append(delivery)
        self.on_change(delivery)
