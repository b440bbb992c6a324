"""The operations on destinations."""

from collections.abc import Iterable

from streamserver.clock import Clock
from streamserver.control.models import (
    Destination,
    DestinationChange,
    DestinationError,
    DestinationPage,
    NewDestination,
)
from streamserver.control.times import unix_ns_to_rfc3339
from streamserver.names import StreamKey
from streamserver.outputs.destinations import destination as hub
from streamserver.outputs.destinations.failures import Failure
from streamserver.outputs.destinations.manager import Destinations

__all__ = ["DestinationControl"]


class DestinationControl:
    """What may be asked about where streams are sent on to, whether they are live or not.

    What does not exist raises `NotFoundError`, what cannot be another `RefusedError`.
    """

    def __init__(self, destinations: Destinations, clock: Clock) -> None:
        self._destinations = destinations
        self._clock = clock

    def of(self, key: StreamKey) -> list[Destination]:
        """Those of one stream, in the order of adding."""
        return [self._present(one) for one in self._destinations.of(key)]

    async def list(self, key: StreamKey) -> DestinationPage:
        """The same, as a page."""
        items = self.of(key)
        return DestinationPage(items=items, total=len(items))

    async def get(self, key: StreamKey, ident: str) -> Destination:
        """One of them."""
        return self._present(self._destinations.get(key, ident))

    async def add(self, key: StreamKey, new: NewDestination) -> Destination:
        """Adds one; it begins at once when the stream is live."""
        added = await self._destinations.add(key, new.url, name=new.name, enabled=new.enabled)
        return self._present(added)

    async def change(self, key: StreamKey, ident: str, change: DestinationChange) -> Destination:
        """Renames, pauses or resumes one."""
        changed = await self._destinations.change(
            key, ident, name=change.name, enabled=change.enabled
        )
        return self._present(changed)

    async def remove(self, key: StreamKey, ident: str) -> None:
        """Takes leave of the far side and forgets it."""
        await self._destinations.remove(key, ident)

    async def add_all(self, key: StreamKey, new: Iterable[NewDestination]) -> None:
        """Adds several, or none when one of them cannot be."""
        added: dict[str, Destination] = {}
        try:
            for one in new:
                made = await self.add(key, one)
                added[made.id] = made
        except BaseException:
            for ident in added:
                await self.remove(key, ident)
            raise

    async def remove_added(self, key: StreamKey) -> None:
        """Takes leave of all of a stream that the configuration does not name."""
        for one in self._destinations.of(key):
            if not one.spec.configured:
                await self._destinations.remove(key, one.spec.id)

    async def retry(self, key: StreamKey, ident: str) -> Destination:
        """Tries now and does not wait for the next attempt."""
        found = self._destinations.get(key, ident)
        found.retry()
        return self._present(found)

    def _present(self, one: hub.Destination) -> Destination:
        return self.present(one, self._clock.monotonic_ns())

    @staticmethod
    def present(one: hub.Destination, now_ns: int) -> Destination:
        """One of them as the API shows it, at a monotonic time."""
        stats = one.stats
        next_ns = one.next_attempt_wall_ns
        return Destination(
            id=one.spec.id,
            name=one.spec.name,
            url=one.target.masked(),
            enabled=one.spec.enabled,
            state=one.state,
            since=unix_ns_to_rfc3339(one.since_wall_ns),
            bytes_sent=stats.bytes_sent,
            bit_rate=stats.rate.bits_per_second(now_ns),
            queued_ms=stats.queued_ms,
            dropped_frames=stats.dropped_frames,
            reconnects=stats.reconnects,
            last_error=_error(one.last_error),
            next_attempt_at=None if next_ns is None else unix_ns_to_rfc3339(next_ns),
            rtt_ms=round(stats.rtt_us / 1000, 3) if stats.rtt_us else None,
        )


def _error(failure: Failure | None) -> DestinationError | None:
    if failure is None:
        return None
    return DestinationError(
        class_=failure.error_class,
        message=failure.message,
        at=unix_ns_to_rfc3339(failure.wall_ns),
    )
