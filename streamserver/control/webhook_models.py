"""What the operations on webhooks take and answer."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streamserver.control.models import Count, Time
from streamserver.events import FIGURES, EventType
from streamserver.webhooks.endpoint import WebhookState
from streamserver.webhooks.outbox import DeliveryState

__all__ = [
    "NewWebhook",
    "Webhook",
    "WebhookChange",
    "WebhookDelivery",
    "WebhookDeliveryPage",
    "WebhookError",
    "WebhookPage",
]


def _says(text: str) -> Meta:
    return Meta(description=text)


_EVENTS = _says(
    "Types, groups (viewer.*) or *; viewers.count and stream.stats come only where named in full."
)
_STREAMS = _says("app/name, app/* or *; events of the server itself always pass.")
_GROUPS: Final = sorted({f"{one.partition('.')[0]}.*" for one in EventType if one not in FIGURES})
_WORD: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"

# What is in extra_json_schema is for those who write clients: `streamserver.events` checks it.
Types = Annotated[
    tuple[
        Annotated[
            str,
            Meta(max_length=300, extra_json_schema={"enum": ["*", *_GROUPS, *EventType]}),
        ],
        ...,
    ],
    Meta(min_length=1, max_length=64),
]
"""Types and groups of events."""

Patterns = Annotated[
    tuple[
        Annotated[
            str,
            Meta(
                max_length=300,
                extra_json_schema={"pattern": rf"^(\*|{_WORD}/(\*|{_WORD}))$"},
            ),
        ],
        ...,
    ],
    Meta(min_length=1, max_length=64),
]
"""Patterns of streams."""

Url = Annotated[str, Meta(min_length=1, max_length=2048, extra_json_schema={"format": "http-url"})]
"""Where to."""

Secret = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=256,
        description="Signs (HMAC-SHA256): whsec_ and base64, or any other text as it is.",
    ),
]
"""The key of signatures."""

Deadline = Annotated[float, Meta(gt=0, le=60, description="Deadline of an attempt.")]
"""Seconds."""


class WebhookError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt failed last."""

    message: Annotated[str, _says("What went wrong.")]
    at: Annotated[Time, _says("When.")]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are sent to."""

    id: Annotated[str, _says("Opaque; the same after a restart.")]
    name: Annotated[str, _says("For people; empty without one.")]
    url: Annotated[str, _says("Where to; what may be secret is masked.")]
    events: Annotated[list[str], _EVENTS]
    streams: Annotated[list[str], _STREAMS]
    enabled: Annotated[bool, _says("Whether events are sent; false: paused.")]
    timeout_s: Annotated[float, _says("Deadline of an attempt.")]
    configured: Annotated[bool, _says("Whether it stands in the configuration.")]
    signed: Annotated[bool, _says("Whether what is sent is signed.")]
    secret: Annotated[str | None, _says("The key of the signatures: shown once, when it is new.")]
    state: Annotated[WebhookState, _says("What it does now.")]
    queued: Annotated[Count, _says("Events that wait.")]
    delivered: Annotated[Count, _says("Events that arrived, since the start.")]
    failed: Annotated[Count, _says("Events that were given up, since the start.")]
    dropped: Annotated[Count, _says("Events left out because the queue was full.")]
    last_error: Annotated[WebhookError | None, _says("The last failure; stays after success.")]
    next_attempt_at: Annotated[Time | None, _says("When it is tried again, in state backoff.")]


class WebhookPage(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks, in the order of adding."""

    items: list[Webhook]
    total: Annotated[Count, _says("How many there are.")]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook to add."""

    url: Annotated[Url, _says("http:// or https://.")]
    name: Annotated[str, Meta(max_length=128, description="For people.")] = ""
    events: Annotated[Types, _EVENTS] = ("*",)
    streams: Annotated[Patterns, _STREAMS] = ("*",)
    secret: Secret | None = None
    enabled: Annotated[bool, _says("Whether to begin at once.")] = True
    timeout_s: Deadline = 10


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a webhook; null, or nothing, leaves as it is.

    Any change, even none at all, tries at once what waits.
    """

    url: Annotated[Url, _says("http:// or https://.")] | None = None
    name: Annotated[str, Meta(max_length=128, description="For people.")] | None = None
    events: Annotated[Types, _EVENTS] | None = None
    streams: Annotated[Patterns, _STREAMS] | None = None
    secret: Secret | None = None
    enabled: Annotated[bool | None, _says("False pauses, true resumes.")] = None
    timeout_s: Deadline | None = None


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to a webhook, or what became of it."""

    event_id: Annotated[str, _says("The event's id: the Webhook-Id of the request.")]
    type: Annotated[str, _says("The event's type.")]
    stream: Annotated[str | None, _says("app/name.")]
    created_at: Annotated[Time, _says("When it happened.")]
    state: Annotated[DeliveryState, _says("What became of it.")]
    attempts: Annotated[Count, _says("Requests made.")]
    status: Annotated[int | None, _says("HTTP status of the last answer; null without one.")]
    duration_ms: Annotated[int | None, _says("How long the last request took.")]
    error: Annotated[str | None, _says("Why the last request failed.")]
    next_attempt_at: Annotated[Time | None, _says("When it is tried again.")]
    finished_at: Annotated[Time | None, _says("When it arrived or was given up.")]


class WebhookDeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries of one webhook, newest first: all that wait, and the last hundred others."""

    items: list[WebhookDelivery]
    total: Annotated[Count, _says("How many there are, on all pages.")]
