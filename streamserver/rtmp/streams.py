"""The message streams of one connection: which exist, what each does, which one is in use."""

from dataclasses import dataclass, field

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.events import (
    Event,
    MediaRun,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
)
from streamserver.rtmp.states import STREAM_TRANSITIONS, Step, StreamState, next_state

__all__ = ["HELD_ITEM_OVERHEAD", "MessageStream", "MessageStreams", "Request"]

Request = PublishRequested | PlayRequested

HELD_ITEM_OVERHEAD = 256
"""Bytes that a held message costs besides its body."""


@dataclass(slots=True, eq=False)
class MessageStream:
    """One message stream."""

    id: int
    """Its number on the wire."""

    state: StreamState = StreamState.CREATED
    """What it does; changed by `step` only."""

    request: Request | None = None
    """What was asked for, from the request to its end."""

    held: list[Event] = field(default_factory=list)
    """What came before the host decided."""

    held_bytes: int = 0
    """What that weighs."""

    @property
    def publishes(self) -> bool:
        """Whether it publishes or asks to."""
        return isinstance(self.request, PublishRequested)

    def step(self, step: Step) -> None:
        """Goes where the table says. Raises `RemoteProtocolError` when it says nothing."""
        self.state = next_state(STREAM_TRANSITIONS, self.state, step)

    def allows(self, step: Step) -> bool:
        """Whether the table has this step."""
        return (self.state, step) in STREAM_TRANSITIONS

    def hold(self, event: Event, size: int, limit: int) -> None:
        """Keeps an event for the time of the decision. Raises `RemoteProtocolError` when full."""
        self.held_bytes += size + HELD_ITEM_OVERHEAD
        if self.held_bytes > limit:
            raise RemoteProtocolError("too much media came before leave to publish")
        if not (isinstance(event, MediaRun) and event.continues(self.held)):
            self.held.append(event)

    def take_held(self) -> list[Event]:
        """What was kept, in order."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held


class MessageStreams:
    """All of them; at most one is in use."""

    def __init__(self, limit: int) -> None:
        self.active: MessageStream | None = None
        """The one that publishes or plays, or asks to."""
        self.live_id = -1
        """The number of the one that publishes with leave, else -1: for the hot path."""
        self._limit = limit
        self._by_id: dict[int, MessageStream] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, stream_id: int) -> MessageStream | None:
        """The stream with a number."""
        return self._by_id.get(stream_id)

    def create(self) -> MessageStream | None:
        """A new one with the lowest free number; None when there are too many."""
        for stream_id in range(1, self._limit + 1):
            if stream_id not in self._by_id:
                return self.adopt(stream_id)
        return None

    def adopt(self, stream_id: int) -> MessageStream:
        """The one with a number, made when there is none yet.

        nginx and SRS take any message stream, so encoders exist that create none. Raises
        `RemoteProtocolError` when there are too many.
        """
        stream = self._by_id.get(stream_id)
        if stream is None:
            if len(self._by_id) >= self._limit:
                raise RemoteProtocolError(f"more than {self._limit} message streams are in use")
            stream = self._by_id[stream_id] = MessageStream(stream_id)
        return stream

    def remove(self, stream: MessageStream) -> None:
        """Forgets one that is not in use."""
        del self._by_id[stream.id]

    def ask(self, stream: MessageStream, request: Request) -> None:
        """Notes a request that the host has to decide."""
        stream.step(Step.PUBLISH if isinstance(request, PublishRequested) else Step.PLAY)
        stream.request = request
        self.active = stream

    def asking(self, request: Request) -> MessageStream | None:
        """The stream that still waits for this very request; None when it was taken back.

        Raises `LocalProtocolError` when the request was decided before.
        """
        stream = self._by_id.get(request.stream_id)
        if stream is None or stream.request is not request:
            return None
        if not stream.allows(Step.ACCEPT):
            raise LocalProtocolError("a request was decided twice")
        return stream

    def accept(self, stream: MessageStream) -> None:
        """The host said yes."""
        stream.step(Step.ACCEPT)
        if stream.publishes:
            self.live_id = stream.id

    def reject(self, stream: MessageStream) -> None:
        """The host said no."""
        stream.step(Step.REJECT)
        self._idle(stream)

    def release(self, stream: MessageStream, reason: str) -> PublishEnded | PlayEnded:
        """Ends what the active stream does; answers the event that says so."""
        ended = PublishEnded if stream.publishes else PlayEnded
        stream.step(Step.STOP)
        self._idle(stream)
        return ended(stream.id, reason)

    def _idle(self, stream: MessageStream) -> None:
        stream.take_held()
        stream.request = None
        self.active = None
        self.live_id = -1
