"""What happened, as a log: whoever wants to know reads it from a position.

Whoever causes something does not know this module: listeners in `streamserver.control.announcing`
write the log, and the API, the webhooks and a program's own handlers read it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from streamserver.errors import InvalidNameError, RefusedError
from streamserver.log import Log
from streamserver.names import StreamKey
from streamserver.times import unix_ns_to_rfc3339

__all__ = [
    "FIGURES",
    "Event",
    "EventFilter",
    "EventLog",
    "EventType",
    "InvalidFilterError",
    "check_stream_pattern",
    "expand_types",
    "render",
]

_MAX_BYTES: Final = 16 * 1024 * 1024
_OVERHEAD_BYTES: Final = 1024
"""What an event weighs besides its text; it also bounds their number, to 16,000."""

_MAX_MS: Final = 24 * 3600 * 1000
"""Whoever was away for longer begins anew."""

_MAX_PATTERNS: Final = 64


class InvalidFilterError(RefusedError):
    """A filter that names no event type or no stream."""

    http_status = 400


class EventType(StrEnum):
    """What can happen."""

    STREAM_STARTED = "stream.started"
    """The first media of a broadcast."""

    STREAM_INTERRUPTED = "stream.interrupted"
    """Its publisher is gone and may come back."""

    STREAM_RESUMED = "stream.resumed"
    """Its publisher came back."""

    STREAM_ENDED = "stream.ended"
    """It is over; carries the summary."""

    STREAM_STATS = "stream.stats"
    """Its rates, every few seconds."""

    PUBLISH_REFUSED = "publish.refused"
    """Somebody wanted to publish and was not let in."""

    VIEWER_JOINED = "viewer.joined"
    """Somebody watches."""

    VIEWER_LEFT = "viewer.left"
    """Somebody watches no longer."""

    VIEWERS_COUNT = "viewers.count"
    """How many watch a stream, every few seconds while it changes."""

    DESTINATION_STATE = "destination.state"
    """A destination came into another state."""

    HEALTH_CHANGED = "health.changed"
    """There are other findings about a stream than before."""

    SERVER_STARTED = "server.started"
    """The server is open. Nothing from before is live."""

    SERVER_DRAINING = "server.draining"
    """The server takes nothing new and will end."""


FIGURES: Final = frozenset({EventType.STREAM_STATS, EventType.VIEWERS_COUNT})
"""What comes every few seconds and is worth little once the next has come."""

_OF_THE_SERVER: Final = frozenset({EventType.SERVER_STARTED, EventType.SERVER_DRAINING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    id: str
    """``boot-sequence``; the sequence is the position in the log."""

    position: int
    """Where it stands in the log."""

    type: EventType
    """What happened."""

    at_ns: int
    """When: Unix time in nanoseconds."""

    stream: StreamKey | None
    """The stream that it is about."""

    data: Mapping[str, Any]
    """What else is known, as JSON values; never changed."""

    wire: bytes
    """The whole event as JSON text, made once for all readers."""


def render(
    event_id: str, kind: str, at_ns: int, stream: StreamKey | None, data: Mapping[str, Any]
) -> bytes:
    """An event as readers get it: ``id type at stream data``."""
    return msgspec.json.encode(
        {
            "id": event_id,
            "type": kind,
            "at": unix_ns_to_rfc3339(at_ns),
            "stream": None if stream is None else str(stream),
            "data": data,
        }
    )


class EventLog:
    """The events of this run of the server, bounded in bytes, number and time."""

    def __init__(
        self,
        *,
        boot: int,
        wall_ns: Callable[[], int],
        schedule: Callable[[Callable[[], None]], None],
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """``boot`` grows with every start of the server; ``schedule`` as in `Log`."""
        self.boot = boot
        """Which start of the server this is."""
        self.emitted: Counter[str] = Counter()
        """Events by type."""
        self._wall_ns = wall_ns
        self._log: Log[Event] = Log(max_ms=_MAX_MS, max_bytes=max_bytes, schedule=schedule, first=1)

    @property
    def start(self) -> int:
        """The position of the oldest event held."""
        return self._log.start

    @property
    def end(self) -> int:
        """The position of the next event."""
        return self._log.end

    @property
    def last_id(self) -> str:
        """The id of the newest event; its sequence is 0 before the first."""
        return f"{self.boot}-{self._log.end - 1}"

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""
        return self._log.closed is not None

    def emit(
        self, kind: EventType, data: Mapping[str, Any], stream: StreamKey | None = None
    ) -> None:
        """Something happened. Nobody is told within this call; after `close` it does nothing."""
        if self._log.closed is not None:
            return
        position, at_ns = self._log.end, self._wall_ns()
        ident = f"{self.boot}-{position}"
        wire = render(ident, kind, at_ns, stream, data)
        event = Event(
            id=ident, position=position, type=kind, at_ns=at_ns, stream=stream, data=data, wire=wire
        )
        self.emitted[kind.value] += 1
        self._log.append(event, size=len(wire) + _OVERHEAD_BYTES, at_ms=at_ns // 1_000_000)

    def since(self, position: int, limit: int | None = None) -> list[Event]:
        """The events from a position (or the oldest one held) on."""
        return self._log.since(position, limit)

    def position_after(self, event_id: str) -> int | None:
        """Where to read on after an event; None when it is unknown, or what followed is gone."""
        boot, _, sequence = event_id.partition("-")
        if boot != str(self.boot) or not sequence.isascii() or not sequence.isdecimal():
            return None
        if len(sequence) > 18:
            return None
        position = int(sequence) + 1
        return position if self._log.start <= position <= self._log.end else None

    def wake(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Calls ``waker`` once per turn of the loop in which something happened; see `Log.wake`."""
        return self._log.wake(waker)

    def close(self) -> None:
        """Nothing will happen any more: readers end."""
        self._log.close("the server ends")


def check_stream_pattern(text: str) -> str:
    """``app/name``, ``app/*`` or ``*`` as it is. Raises `InvalidFilterError`."""
    if text == "*":
        return text
    app, slash, name = text.partition("/")
    try:
        if not slash:
            raise InvalidNameError("a stream is app/name")
        StreamKey(app, "any" if name == "*" else name)
    except InvalidNameError as error:
        raise InvalidFilterError(
            f"{text[:200]!a} is neither app/name nor app/* nor *: {error}"
        ) from None
    return text


def expand_types(words: Iterable[str], *, figures: bool) -> frozenset[EventType]:
    """Event types by name, by group (``viewer.*``) or all (``*``).

    ``figures``: whether groups and ``*`` include the `FIGURES`. Raises `InvalidFilterError`.
    """
    found: set[EventType] = set()
    for word in words:
        group = word.removesuffix("*")
        if word == "*" or word.endswith(".*"):
            matching = {kind for kind in EventType if kind.value.startswith(group)}
            if not figures:
                matching -= FIGURES
        else:
            matching = {kind for kind in EventType if kind.value == word}
        if not matching:
            raise InvalidFilterError(
                f"{word[:64]!a} is no event type; known are {', '.join(EventType)}"
            )
        found |= matching
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a reader wants. What the server as a whole does passes any stream."""

    streams: tuple[str, ...] = ("*",)
    """``app/name``, ``app/*`` or ``*``."""

    types: frozenset[EventType] = frozenset(EventType)
    """Of these types."""

    @classmethod
    def parse(cls, streams: str, types: str) -> "EventFilter":
        """From comma-separated lists; an empty one is everything. Raises `InvalidFilterError`."""
        names = [word.strip() for word in streams.split(",") if word.strip()]
        words = [word.strip() for word in types.split(",") if word.strip()]
        if max(len(names), len(words)) > _MAX_PATTERNS:
            raise InvalidFilterError(f"a filter has at most {_MAX_PATTERNS} parts")
        return cls(
            tuple(check_stream_pattern(name) for name in names) or ("*",),
            expand_types(words or ("*",), figures=True),
        )

    def matches(self, event: Event) -> bool:
        """Whether the reader wants an event."""
        if event.type not in self.types:
            return False
        return event.type in _OF_THE_SERVER or self.covers(event.stream)

    def covers(self, stream: StreamKey | None) -> bool:
        """Whether a stream is among those that the reader wants."""
        if "*" in self.streams:
            return True
        if stream is None:
            return False
        return str(stream) in self.streams or f"{stream.app}/*" in self.streams
