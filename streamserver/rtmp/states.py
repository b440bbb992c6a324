"""What may follow what, as tables: one for the connection, one for each message stream.

A pair that is not in a table is a `RemoteProtocolError`, raised by `next_state`.
"""

from enum import Enum
from typing import Final, TypeVar

from streamserver.errors import RemoteProtocolError

__all__ = [
    "CONNECTION_TRANSITIONS",
    "STREAM_TRANSITIONS",
    "ConnectionState",
    "Step",
    "StreamState",
    "next_state",
]


class ConnectionState(Enum):
    """How far a connection is."""

    HANDSHAKE = "in the handshake"
    CONNECTING = "before connect"
    DECIDING = "while connect is decided"
    CONNECTED = "after connect"
    CLOSING = "refused, waiting for the answer to be flushed"
    CLOSED = "closed"


class StreamState(Enum):
    """What a message stream does."""

    CREATED = "created"
    PUBLISH_ASKED = "waiting for leave to publish"
    PUBLISHING = "publishing"
    PLAY_ASKED = "waiting for leave to play"
    PLAYING = "playing"


class Step(Enum):
    """What the far side does, or the host decides."""

    HANDSHAKE_DONE = "the end of the handshake"
    CONNECT = "connect"
    COMMAND = "a command"
    PUBLISH = "publish"
    PLAY = "play"
    STOP = "closeStream, deleteStream or FCUnpublish"
    ACCEPT = "the host's yes"
    REJECT = "the host's no"
    END = "the end of the connection"


State = TypeVar("State", ConnectionState, StreamState)

CONNECTION_TRANSITIONS: Final[dict[tuple[ConnectionState, Step], ConnectionState]] = {
    (ConnectionState.HANDSHAKE, Step.HANDSHAKE_DONE): ConnectionState.CONNECTING,
    (ConnectionState.CONNECTING, Step.CONNECT): ConnectionState.DECIDING,
    (ConnectionState.DECIDING, Step.ACCEPT): ConnectionState.CONNECTED,
    (ConnectionState.CONNECTED, Step.COMMAND): ConnectionState.CONNECTED,
    # Whatever the far side is doing, the host may have enough of it.
    **{
        (state, Step.REJECT): ConnectionState.CLOSING
        for state in ConnectionState
        if state is not ConnectionState.CLOSED
    },
    **{(state, Step.END): ConnectionState.CLOSED for state in ConnectionState},
}
"""The life of a connection."""

STREAM_TRANSITIONS: Final[dict[tuple[StreamState, Step], StreamState]] = {
    (StreamState.CREATED, Step.PUBLISH): StreamState.PUBLISH_ASKED,
    (StreamState.CREATED, Step.PLAY): StreamState.PLAY_ASKED,
    (StreamState.PUBLISH_ASKED, Step.ACCEPT): StreamState.PUBLISHING,
    (StreamState.PUBLISH_ASKED, Step.REJECT): StreamState.CREATED,
    (StreamState.PLAY_ASKED, Step.ACCEPT): StreamState.PLAYING,
    (StreamState.PLAY_ASKED, Step.REJECT): StreamState.CREATED,
    # Flash players play the next name on the same stream without closing it first.
    (StreamState.PLAY_ASKED, Step.PLAY): StreamState.PLAY_ASKED,
    (StreamState.PLAYING, Step.PLAY): StreamState.PLAY_ASKED,
    # A stop of what does not run is normal: FCUnpublish, closeStream and deleteStream come in
    # a row.
    **{(state, Step.STOP): StreamState.CREATED for state in StreamState},
}
"""The life of a message stream."""


def next_state(table: dict[tuple[State, Step], State], state: State, step: Step) -> State:
    """Where a step leads. Raises `RemoteProtocolError` when it must not happen now."""
    following = table.get((state, step))
    if following is None:
        raise RemoteProtocolError(f"{step.value} came {state.value}")
    return following
