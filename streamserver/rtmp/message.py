"""RTMP messages: what the chunk layer carries (Adobe RTMP 1.0 chapters 5.4, 6 and 7)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streamserver.errors import RemoteProtocolError

__all__ = [
    "ABORT",
    "ACKNOWLEDGEMENT",
    "AGGREGATE",
    "AMF0_COMMAND",
    "AMF0_DATA",
    "AMF0_SHARED_OBJECT",
    "AMF3_COMMAND",
    "AMF3_DATA",
    "AMF3_SHARED_OBJECT",
    "AUDIO",
    "BUFFER_LENGTH",
    "LIMIT_DYNAMIC",
    "MAX_AGGREGATED",
    "PING_REQUEST",
    "PING_RESPONSE",
    "SET_CHUNK_SIZE",
    "SET_PEER_BANDWIDTH",
    "STREAM_BEGIN",
    "STREAM_EOF",
    "USER_CONTROL",
    "VIDEO",
    "WINDOW_ACK_SIZE",
    "Message",
    "acknowledgement",
    "read_u32",
    "set_chunk_size",
    "set_peer_bandwidth",
    "split_aggregate",
    "user_control",
    "window_ack_size",
]

SET_CHUNK_SIZE: Final = 1
ABORT: Final = 2
ACKNOWLEDGEMENT: Final = 3
USER_CONTROL: Final = 4
WINDOW_ACK_SIZE: Final = 5
SET_PEER_BANDWIDTH: Final = 6
AUDIO: Final = 8
VIDEO: Final = 9
AMF3_DATA: Final = 15
AMF3_SHARED_OBJECT: Final = 16
AMF3_COMMAND: Final = 17
AMF0_DATA: Final = 18
AMF0_SHARED_OBJECT: Final = 19
AMF0_COMMAND: Final = 20
AGGREGATE: Final = 22

# Events of a user control message (7.1.7).
STREAM_BEGIN: Final = 0
STREAM_EOF: Final = 1
BUFFER_LENGTH: Final = 3
PING_REQUEST: Final = 6
PING_RESPONSE: Final = 7

LIMIT_DYNAMIC: Final = 2
"""Limit type of SetPeerBandwidth (5.4.5): hard if the last one was hard, else ignored."""

MAX_AGGREGATED: Final = 4096
"""Messages that one aggregate may hold."""


class Message(NamedTuple):
    """One message. A named tuple, for a frozen dataclass costs twice as much to make."""

    type_id: int
    """What it is: one of the constants of this module, or something that we ignore."""

    timestamp: int
    """Milliseconds, modulo 2^32."""

    stream_id: int
    """The message stream; 0 is the connection itself."""

    body: bytes
    """The payload, without chunk headers."""

    def __repr__(self) -> str:
        return (
            f"Message(type_id={self.type_id}, timestamp={self.timestamp}, "
            f"stream_id={self.stream_id}, body=<{len(self.body)} bytes>)"
        )


def set_chunk_size(size: int) -> Message:
    """What we send next comes in chunks of ``size`` bytes (5.4.1)."""
    return Message(SET_CHUNK_SIZE, 0, 0, size.to_bytes(4, "big"))


def acknowledgement(received: int) -> Message:
    """We have read ``received`` bytes so far, modulo 2^32 (5.4.3)."""
    return Message(ACKNOWLEDGEMENT, 0, 0, (received & 0xFFFFFFFF).to_bytes(4, "big"))


def window_ack_size(size: int) -> Message:
    """We want an acknowledgement every ``size`` bytes (5.4.4)."""
    return Message(WINDOW_ACK_SIZE, 0, 0, size.to_bytes(4, "big"))


def set_peer_bandwidth(size: int) -> Message:
    """The far side shall leave at most ``size`` bytes unacknowledged (5.4.5)."""
    return Message(SET_PEER_BANDWIDTH, 0, 0, size.to_bytes(4, "big") + bytes((LIMIT_DYNAMIC,)))


def user_control(event: int, *numbers: int) -> Message:
    """A user control message with 32 bit arguments (7.1.7)."""
    body = event.to_bytes(2, "big") + b"".join(number.to_bytes(4, "big") for number in numbers)
    return Message(USER_CONTROL, 0, 0, body)


def read_u32(message: Message, offset: int = 0) -> int:
    """A 32 bit number of a control message. Raises `RemoteProtocolError` when it is too short."""
    field = message.body[offset : offset + 4]
    if len(field) < 4:
        raise RemoteProtocolError(f"a control message of type {message.type_id} is too short")
    return int.from_bytes(field, "big")


def split_aggregate(message: Message) -> Iterator[Message]:
    """The messages inside an aggregate (7.1.6), each on the aggregate's message stream.

    The first takes the time of the aggregate and the others keep their distance from it. The
    back pointer behind the last one may be missing. Raises `RemoteProtocolError` for one that is
    cut short, for an aggregate inside, and beyond `MAX_AGGREGATED`.
    """
    body = message.body
    position = count = 0
    base = 0
    while position < len(body):
        header = body[position : position + 11]
        if len(header) < 11:
            raise RemoteProtocolError("an aggregate message ends inside a header")
        type_id = header[0]
        end = position + 11 + int.from_bytes(header[1:4], "big")
        # FLV E.4.1: the upper eight bits of the time follow the lower 24.
        time = int.from_bytes(header[4:7], "big") | header[7] << 24
        if type_id == AGGREGATE:
            raise RemoteProtocolError("an aggregate message holds another")
        if end > len(body):
            raise RemoteProtocolError("an aggregate message ends inside a message")
        if count == 0:
            base = time
        count += 1
        if count > MAX_AGGREGATED:
            raise RemoteProtocolError(f"an aggregate holds more than {MAX_AGGREGATED} messages")
        yield Message(
            type_id,
            (message.timestamp + time - base) & 0xFFFFFFFF,
            message.stream_id,
            body[position + 11 : end],
        )
        position = end + 4
