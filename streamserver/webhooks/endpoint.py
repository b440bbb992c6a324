"""One webhook: what its owner says about it, and the task that sends its queue."""

import asyncio
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from streamserver.clock import Clock
from streamserver.events import Event, EventFilter, expand_types
from streamserver.net.http_client import HttpAnswer, HttpClientError
from streamserver.webhooks import signing
from streamserver.webhooks.outbox import Delivery, Outbox, Reply

__all__ = ["Endpoint", "HttpPost", "WebhookSpec", "WebhookState", "masked_url"]

_MASK: Final = "****"
_LONG_SEGMENT: Final = 16
"""A path segment of this many characters may be a secret, as in the URLs of chat services."""

_SHOWN: Final = 4
_HUGE_WAIT_S: Final = 3600.0

logger = logging.getLogger(__name__)


class WebhookState(StrEnum):
    """What a webhook does now."""

    IDLE = "idle"
    """Nothing waits."""

    DELIVERING = "delivering"
    """Events are being sent."""

    BACKOFF = "backoff"
    """The last attempt failed; the next one waits for its time."""

    DISABLED = "disabled"
    """Paused: nothing is sent, and what happens meanwhile is not kept for it."""


class HttpPost(Protocol):
    """`streamserver.net.http_client.HttpClient`."""

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float
    ) -> HttpAnswer:
        """Raises `HttpClientError` for no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSpec:
    """What its owner says about a webhook."""

    id: str
    """Opaque; the same after a restart."""

    url: str = field(repr=False)
    """Where to, as it was given; may hold secrets."""

    name: str = ""
    """For people."""

    events: tuple[str, ...] = ("*",)
    """Types of events, groups (``viewer.*``), or all (``*``); see `expand_types`."""

    streams: tuple[str, ...] = ("*",)
    """``app/name``, ``app/*`` or ``*``."""

    secret: str = field(default="", repr=False)
    """Signs; empty: not signed."""

    enabled: bool = True
    """False: paused."""

    timeout_s: float = 10
    """The deadline of one attempt."""

    configured: bool = False
    """Whether it stands in the configuration; otherwise it was made through the API."""


def masked_url(url: str) -> str:
    """A URL that may be shown: without user, password, query and long parts of the path."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{_MASK}@{host}" if "@" in parts.netloc else host
    path = "/".join(
        segment[:_SHOWN] + _MASK if len(segment) >= _LONG_SEGMENT else segment
        for segment in parts.path.split("/")
    )
    return urlunsplit((parts.scheme, netloc, path, _MASK if parts.query else "", ""))


class Endpoint:
    """Sends the events that its owner wants, one after the other, in a task of its own."""

    def __init__(self, spec: WebhookSpec, outbox: Outbox, http: HttpPost, clock: Clock) -> None:
        self.outbox = outbox
        self._spec = spec
        self._filter = _filter(spec)
        self._http = http
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._wish = asyncio.Event()
        self._in_flight = False
        self._empty = asyncio.Event()

    @property
    def spec(self) -> WebhookSpec:
        """What its owner says about it."""
        return self._spec

    @property
    def state(self) -> WebhookState:
        """What it does now."""
        if not self._spec.enabled:
            return WebhookState.DISABLED
        if not self._in_flight and self.outbox.is_failing and len(self.outbox):
            return WebhookState.BACKOFF
        return WebhookState.DELIVERING if len(self.outbox) else WebhookState.IDLE

    def offer(self, event: Event) -> None:
        """Queues an event, if it is wanted."""
        if not self._spec.enabled or not self._filter.matches(event):
            return
        delivery = Delivery(
            event_id=event.id,
            event_type=event.type.value,
            stream="" if event.stream is None else str(event.stream),
            body=event.wire,
            created_ns=event.at_ns,
        )
        self._empty.clear()
        self.outbox.offer(delivery, self._clock.wall_ns())
        self._wish.set()

    def change(self, spec: WebhookSpec) -> None:
        """Other wishes; the id stays. What waits is tried at once."""
        # Raises before anything has changed.
        self._filter = _filter(spec)
        self._spec = spec
        self.outbox.retry()
        if spec.enabled:
            self.start()
            self._wish.set()
        else:
            self._cancel()

    def start(self) -> None:
        """Begins to send, unless it is paused."""
        if self._spec.enabled and (self._task is None or self._task.done()):
            name = f"webhook {self._spec.id}"
            self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    async def settle(self) -> None:
        """Returns when everything has arrived, or does not arrive now."""
        while len(self.outbox) and self.state is WebhookState.DELIVERING:
            self._empty.clear()
            await self._empty.wait()

    async def close(self) -> None:
        """Stops; what waits stays in the queue."""
        task = self._task
        self._cancel()
        if task is not None:
            await asyncio.wait([task])

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._in_flight = False
        self.outbox.interrupt()
        self._empty.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._next()
            except Exception:  # A bug of ours must not look like a receiver that is away.
                logger.exception("webhook %s failed", self._spec.id)
                await asyncio.sleep(1)

    async def _next(self) -> None:
        self._wish.clear()
        wait_ns = self.outbox.wait_ns(self._clock.wall_ns())
        if wait_ns != 0:
            wait_s = _HUGE_WAIT_S if wait_ns is None else wait_ns / 1e9
            # New events do not cut a wait short: `retry` does.
            await self._wait(wait_s, for_work=wait_ns is None)
            return
        delivery = self.outbox.take(self._clock.wall_ns())
        if delivery is None:
            return
        self._in_flight = True
        try:
            reply = await self._attempt(delivery)
        finally:
            self._in_flight = False
        was_failing = self.outbox.is_failing
        self.outbox.settle(delivery, reply, self._clock.wall_ns())
        self._empty.set()
        self._tell(delivery, was_failing)

    async def _wait(self, seconds: float, *, for_work: bool) -> None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._wish.wait()
                    self._wish.clear()
                    if for_work or self.outbox.wait_ns(self._clock.wall_ns()) == 0:
                        return
        except TimeoutError:
            pass  # that time has come

    async def _attempt(self, delivery: Delivery) -> Reply:
        spec = self._spec
        fields = signing.headers(
            spec.secret,
            delivery.event_id,
            delivery.event_type,
            # Of the attempt: receivers refuse old ones.
            self._clock.wall_ns() // 1_000_000_000,
            delivery.body,
        )
        began_ns = self._clock.monotonic_ns()
        try:
            answer = await self._http.request(
                "POST", spec.url, headers=fields, body=delivery.body, timeout_s=spec.timeout_s
            )
        except HttpClientError as error:
            return Reply(error=str(error)[:200], duration_ms=self._since(began_ns))
        asked = answer.headers.get("retry-after", "")
        return Reply(
            status=answer.status,
            duration_ms=self._since(began_ns),
            retry_after_s=int(asked) if asked.isascii() and asked.isdecimal() else 0,
        )

    def _since(self, began_ns: int) -> int:
        return (self._clock.monotonic_ns() - began_ns) // 1_000_000

    def _tell(self, delivery: Delivery, was_failing: bool) -> None:
        """Logs the first failure of a row, and its end."""
        failing = self.outbox.is_failing
        if failing != was_failing:
            logger.log(
                logging.WARNING if failing else logging.INFO,
                "webhook %s to %s: %s", self._spec.id, masked_url(self._spec.url),
                delivery.error if failing else "it takes events again",
            )  # fmt: skip


def _filter(spec: WebhookSpec) -> EventFilter:
    return EventFilter(spec.streams, expand_types(spec.events, figures=False))
