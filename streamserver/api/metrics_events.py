"""What ``/metrics`` shows of events and webhooks."""

from collections.abc import Callable, Mapping
from typing import Final

from streamserver.api.event_streams import EventStreams
from streamserver.control.announcing import Announcer
from streamserver.events import EventLog
from streamserver.metrics import Metric, MetricType, Reading
from streamserver.webhooks.manager import Webhooks, WebhookTotals

__all__ = ["EVENT_METRICS", "event_readers"]

_COUNTER, _GAUGE = MetricType.COUNTER, MetricType.GAUGE

EVENT_METRICS: Final = (
    Metric("streamserver_events_total", _COUNTER, "Events that happened.", ("type",)),
    Metric(
        "streamserver_event_clients",
        _GAUGE,
        "Clients that read the stream of events.",
        ("transport",),
    ),
    Metric(
        "streamserver_event_resets_total",
        _COUNTER,
        "Clients that got the present state in the place of events that were gone.",
    ),
    Metric(
        "streamserver_refusals_held_back_total",
        _COUNTER,
        "Refused publishers that were counted and not told one by one.",
    ),
    Metric("streamserver_webhooks", _GAUGE, "Webhooks.", ("state",)),
    Metric("streamserver_webhook_queued", _GAUGE, "Events that wait for webhooks."),
    Metric(
        "streamserver_webhook_deliveries_total",
        _COUNTER,
        "Events that arrived, were given up, or were left out of a full queue.",
        ("outcome",),
    ),
    Metric(
        "streamserver_webhook_failed_attempts_total",
        _COUNTER,
        "Requests to webhooks that were not answered with 2xx.",
    ),
    Metric(
        "streamserver_webhook_spool_failures_total",
        _COUNTER,
        "Times that the queues of webhooks could not be written to the storage.",
    ),
)
"""In the order of the page."""


def event_readers(
    log: EventLog | None,
    announcer: Announcer | None,
    streams: EventStreams | None,
    webhooks: Webhooks | None,
) -> dict[str, Callable[[], Reading]]:
    """Where each is read; what is not there reads as nothing."""

    def totals() -> WebhookTotals:
        return WebhookTotals() if webhooks is None else webhooks.totals()

    def outcomes() -> Mapping[str, int]:
        sums = totals()
        return {"delivered": sums.delivered, "failed": sums.failed, "dropped": sums.dropped}

    return {
        "streamserver_events_total": lambda: {} if log is None else dict(log.emitted),
        "streamserver_event_clients": lambda: {} if streams is None else dict(streams.clients),
        "streamserver_event_resets_total": lambda: 0 if streams is None else streams.resets,
        "streamserver_refusals_held_back_total": lambda: (
            0 if announcer is None else announcer.refusals_held_back
        ),
        "streamserver_webhooks": lambda: {} if webhooks is None else webhooks.states(),
        "streamserver_webhook_queued": lambda: 0 if webhooks is None else webhooks.queued,
        "streamserver_webhook_deliveries_total": outcomes,
        "streamserver_webhook_failed_attempts_total": lambda: totals().failed_attempts,
        "streamserver_webhook_spool_failures_total": lambda: (
            0 if webhooks is None else webhooks.spool_failures
        ),
    }
