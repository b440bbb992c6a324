"""One destination: its state, its numbers, and the task that keeps it connected."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from streamserver.clock import Clock
from streamserver.errors import PeerError
from streamserver.hub.rates import RateMeter
from streamserver.hub.stream import Stream, StreamState
from streamserver.names import StreamKey
from streamserver.net.backoff import Backoff
from streamserver.net.guard import ForbiddenAddressError
from streamserver.net.resolver import ResolveError
from streamserver.outputs.destinations.failures import (
    ConflictError,
    ErrorClass,
    Failure,
    FarSideError,
    classify,
    clean,
)
from streamserver.outputs.destinations.states import DestinationState, check_step
from streamserver.outputs.destinations.stats import DestinationStats
from streamserver.rtmp.target import PublishTarget

__all__ = ["Delivery", "Destination", "DestinationSpec", "Push"]

_SETTLED_NS: Final = 30_000_000_000
"""A connection that was live for this long was a success: the next delay is the shortest."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSpec:
    """What its owner says about a destination."""

    id: str
    """Opaque; the same after a restart."""

    stream: StreamKey
    """The stream that is sent."""

    url: str = field(repr=False)
    """Where to, as it was given; holds the key."""

    name: str = ""
    """For people."""

    enabled: bool = True
    """False: paused."""

    configured: bool = False
    """Whether it stands in the configuration; otherwise it was made through the API."""

    passing: bool = False
    """Whether it is for this broadcast only, as an access hook said; it is kept nowhere."""


class Delivery(Protocol):
    """What an attempt tells while it runs."""

    @property
    def key(self) -> StreamKey:
        """The stream that is sent."""

    @property
    def stats(self) -> DestinationStats:
        """To be counted in."""

    def check_path(self, local_ip: str, peer_ip: str) -> None:
        """A connection was made between two addresses. Raises `FarSideError` for a loop."""

    def is_connecting(self) -> None:
        """The far side sends us on to another connection."""

    def is_live(self) -> None:
        """Media arrives. May be said again."""

    def is_stalled(self) -> None:
        """Media no longer arrives. May be said again."""


class Push(Protocol):
    """Makes one attempt: connects, publishes, and sends until the broadcast is over."""

    async def __call__(self, stream: Stream, target: PublishTarget, delivery: Delivery) -> None:
        """Returns when the stream ended and all was sent; raises what `classify` knows.

        When it is cancelled it says goodbye and lets go, without waiting.
        """


class Destination:
    """Keeps one stream connected to one far side, for as long as both want."""

    def __init__(
        self,
        spec: DestinationSpec,
        target: PublishTarget,
        *,
        push: Push,
        clock: Clock,
        between: Callable[[int, int], int],
        is_loop: Callable[["Destination", str, str], bool],
    ) -> None:
        """``between`` draws an integer between two; see `Backoff`. ``is_loop`` tells whether a
        connection between a local and a far address brings the stream back to itself."""
        self.spec = spec
        self.target = target
        self.state = DestinationState.IDLE if spec.enabled else DestinationState.DISABLED
        self.since_wall_ns = clock.wall_ns()
        self.stats = DestinationStats(RateMeter(clock.monotonic_ns()))
        self.last_error: Failure | None = None
        self.next_attempt_wall_ns: int | None = None
        self.on_change: Callable[[Destination, DestinationState], None] | None = None
        """Called with the state before, after each change."""
        self._push = push
        self._clock = clock
        self._backoff = Backoff(between)
        self._is_loop = is_loop
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._wish = asyncio.Event()
        self._live_ns: int | None = None

    @property
    def key(self) -> StreamKey:
        """The stream that is sent."""
        return self.spec.stream

    # ---- what its owner and its stream do ---------------------------------------------------

    def stream_started(self, stream: Stream) -> None:
        """Its stream is live: begins to connect, unless it is paused."""
        self._stream = stream
        if self.spec.enabled and (self._task is None or self._task.done()):
            self._begin()

    def stream_ended(self, stream: Stream) -> None:
        """Its stream is over. What is live sends the rest and takes leave by itself."""
        if self._stream is stream:
            self._stream = None
        if self.state not in (DestinationState.LIVE, DestinationState.STALLED):
            self._cancel()
            if self.state is not DestinationState.DISABLED:
                self._to(DestinationState.IDLE)

    def change(self, spec: DestinationSpec) -> None:
        """Another name, paused or resumed; the id and the URL stay."""
        before, self.spec = self.spec, spec
        if before.enabled and not spec.enabled:
            self._cancel()
            self._to(DestinationState.DISABLED)
        elif spec.enabled and not before.enabled:
            self._to(DestinationState.IDLE)
            if self._stream is not None:
                self._begin()

    def retry(self) -> None:
        """Tries now: a wait ends, and what is stalled connects anew.

        What is connecting or live goes on. Raises `ConflictError` for a paused one.
        """
        if self.state is DestinationState.DISABLED:
            raise ConflictError("the destination is paused; enable it first")
        self._backoff.reset()
        if self.state is DestinationState.STALLED and self._stream is not None:
            self._cancel()
            self._to(DestinationState.IDLE)
            self._begin()
        else:
            self._wish.set()

    async def close(self) -> None:
        """Lets go for good."""
        task = self._task
        self._cancel()
        self._stream = None
        if task is not None:
            await asyncio.wait([task])

    # ---- what an attempt tells --------------------------------------------------------------

    def check_path(self, local_ip: str, peer_ip: str) -> None:
        """See `Delivery`."""
        if self._is_loop(self, local_ip, peer_ip):
            raise FarSideError(
                ErrorClass.REJECTED, f"this URL leads back to {self.key} itself", final=True
            )

    def is_connecting(self) -> None:
        """See `Delivery`."""
        self._to(DestinationState.CONNECTING)

    def is_live(self) -> None:
        """See `Delivery`."""
        if self._live_ns is None:
            self._live_ns = self._clock.monotonic_ns()
        self._to(DestinationState.LIVE)

    def is_stalled(self) -> None:
        """See `Delivery`."""
        self._to(DestinationState.STALLED)

    # ---- the task ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self._backoff.reset()
        self._wish.clear()
        name = f"destination {self.spec.id}"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def _cancel(self) -> None:
        """Ends the task. It says goodbye by itself and touches nothing of ours any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._gone()

    async def _run(self) -> None:
        try:
            while (stream := self._stream) is not None:
                await self._keep_sending(stream)
                self._to(DestinationState.IDLE)
                if self._stream is stream:
                    self._stream = None
        except Exception:  # A bug of ours must not look like a destination that is connecting.
            logger.exception("destination %s of %s failed", self.spec.id, self.key)
            words = "an error of this server; its log tells more"
            self.last_error = Failure(ErrorClass.REJECTED, words, self._clock.wall_ns(), True)
            self._to(DestinationState.FAILED)

    async def _keep_sending(self, stream: Stream) -> None:
        """Attempts and waits, until the broadcast is over."""
        first = True
        while stream.state is not StreamState.ENDED:
            if not first:
                self.stats.reconnects += 1
            first = False
            self._to(DestinationState.CONNECTING)
            failure = await self._attempt(stream)
            if failure is None:
                return
            await self._wait(failure)

    async def _attempt(self, stream: Stream) -> Failure | None:
        """One attempt; None when it ended because the stream did."""
        self._live_ns = None
        try:
            await self._push(stream, self.target, self)
        except (PeerError, ResolveError, ForbiddenAddressError, OSError) as error:
            # TimeoutError and ssl.SSLError are OSErrors.
            if stream.state is StreamState.ENDED:
                return None
            kind, words, final = classify(error)
            return Failure(kind, clean(words, self.target), self._clock.wall_ns(), final)
        else:
            return None
        finally:
            if asyncio.current_task() is self._task:
                self._gone()

    async def _wait(self, failure: Failure) -> None:
        """Until the next attempt: some seconds, or for ever where none would help."""
        self.last_error = failure
        now_ns = self._clock.monotonic_ns()
        if self._live_ns is not None and now_ns - self._live_ns >= _SETTLED_NS:
            self._backoff.reset()
        self._wish.clear()
        if failure.final:
            self._to(DestinationState.FAILED)
            await self._wish.wait()
            return
        delay_ms = self._backoff.next_ms()
        self.next_attempt_wall_ns = self._clock.wall_ns() + delay_ms * 1_000_000
        self._to(DestinationState.BACKOFF)
        try:
            async with asyncio.timeout(delay_ms / 1000):
                await self._wish.wait()
        except TimeoutError:
            pass  # that time has come
        self.next_attempt_wall_ns = None

    def _gone(self) -> None:
        """There is no connection."""
        self.stats.disconnected()
        self.next_attempt_wall_ns = None

    def _to(self, state: DestinationState) -> None:
        before = self.state
        if before is state:
            return
        check_step(before, state)
        self.state = state
        self.since_wall_ns = self._clock.wall_ns()
        if self.on_change is not None:
            self.on_change(self, before)
