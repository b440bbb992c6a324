"""Writes the queues to the storage, behind the deliveries and never in their way."""

import asyncio
import logging
from collections.abc import Iterable

from streamserver.storage import Storage, StorageError, StoredDelivery
from streamserver.webhooks.outbox import Delivery, DeliveryState

__all__ = ["Spool", "restore"]


logger = logging.getLogger(__name__)


class Spool:
    """Remembers deliveries, newest self only, until one task has written them in one go.

    Bounded by the queues whose content it holds. A kill -9 loses what came in the last
    milliseconds; an event that was delivered in these is delivered again after the next start.
    """

    def __init__(self, storage: Storage, *, keep: int) -> None:
        """``keep``: how many finished deliveries of a webhook stay."""
        self.failures = 0
        """Writes that failed."""
        self._storage = storage
        self._keep = keep
        self._unwritten: dict[tuple[str, str], StoredDelivery] = {}
        self._forgotten: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def put(self, webhook: str, delivery: Delivery) -> None:
        """A delivery is new, or has changed."""
        self._unwritten[webhook, delivery.event_id] = _stored(webhook, delivery)
        self._begin()

    def forget(self, webhook: str) -> None:
        """A webhook is gone."""
        for key in [key for key in self._unwritten if key[0] == webhook]:
            del self._unwritten[key]
        self._forgotten.add(webhook)
        self._begin()

    async def flush(self) -> None:
        """Returns when everything is written, or could not be."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="webhook spool")

    async def _run(self) -> None:
        while self._unwritten or self._forgotten:
            batch, self._unwritten = list(self._unwritten.values()), {}
            forgotten, self._forgotten = self._forgotten, set()
            try:
                for webhook in forgotten:
                    await self._storage.forget_deliveries(webhook)
                if batch:
                    await self._storage.write_deliveries(batch, self._keep)
            except StorageError as error:
                self.failures += 1
                logger.error(
                    "%d deliveries of webhooks could not be kept; they go out, but a restart now "
                    "would lose them: %s", len(batch), error,
                )  # fmt: skip
                # What changes meanwhile begins the task anew.
                return


def _stored(webhook: str, delivery: Delivery) -> StoredDelivery:
    return StoredDelivery(
        webhook=webhook,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        stream=delivery.stream,
        body=delivery.body,
        state=delivery.state.value,
        created_ms=delivery.created_ns // 1_000_000,
        attempts=delivery.attempts,
        next_ms=delivery.next_ns // 1_000_000,
        finished_ms=delivery.finished_ns // 1_000_000,
        status=delivery.status,
        duration_ms=delivery.duration_ms,
        error=delivery.error,
    )


def restore(stored: Iterable[StoredDelivery]) -> dict[str, list[Delivery]]:
    """What was kept, by webhook, oldest first."""
    found: dict[str, list[Delivery]] = {}
    for one in stored:
        found.setdefault(one.webhook, []).append(
            Delivery(
                event_id=one.event_id,
                event_type=one.event_type,
                stream=one.stream,
                body=one.body,
                created_ns=one.created_ms * 1_000_000,
                state=DeliveryState(one.state),
                attempts=one.attempts,
                next_ns=one.next_ms * 1_000_000,
                finished_ns=one.finished_ms * 1_000_000,
                status=one.status,
                duration_ms=one.duration_ms,
                error=one.error,
            )
        )
    return found
