"""What may follow what for a client, as a table.

Servers send the oddest things at any time, so a step of theirs that is not in the table is
ignored; only our own misuse is an error.
"""

from enum import Enum
from typing import Final

__all__ = ["CLIENT_TRANSITIONS", "ENDED", "ClientState", "ClientStep"]


class ClientState(Enum):
    """How far a connection of ours is; what the far side owes us, as people call it."""

    HANDSHAKE = "the handshake"
    CONNECTING = "connect"
    CREATING = "createStream"
    ASKING = "publish or play"
    LIVE = "live"
    CLOSING = "stopped, waiting for what is queued to be flushed"
    CLOSED = "closed"


class ClientStep(Enum):
    """What the far side does, or the host decides."""

    HANDSHAKE_DONE = "the end of the handshake"
    CONNECTED = "yes to connect"
    CREATED = "yes to createStream"
    STARTED = "yes to publish or play"
    STOP = "the stop, from either side"
    END = "the end of the connection"


CLIENT_TRANSITIONS: Final[dict[tuple[ClientState, ClientStep], ClientState]] = {
    (ClientState.HANDSHAKE, ClientStep.HANDSHAKE_DONE): ClientState.CONNECTING,
    (ClientState.CONNECTING, ClientStep.CONNECTED): ClientState.CREATING,
    (ClientState.CREATING, ClientStep.CREATED): ClientState.ASKING,
    (ClientState.ASKING, ClientStep.STARTED): ClientState.LIVE,
    **{
        (state, ClientStep.STOP): ClientState.CLOSING
        for state in ClientState
        if state not in (ClientState.CLOSING, ClientState.CLOSED)
    },
    **{
        (state, ClientStep.END): ClientState.CLOSED
        for state in ClientState
        if state is not ClientState.CLOSED
    },
}
"""The life of a client connection."""

ENDED: Final = (ClientState.CLOSING, ClientState.CLOSED)
"""States in which the far side is no longer listened to."""
