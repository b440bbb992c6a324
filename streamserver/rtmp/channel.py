"""The transport half of a connection, the same for server and client: handshake, chunks,
control messages, acknowledgements. Bytes in, messages out; messages in, bytes out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder, MediaItem, Run, Tails
from streamserver.rtmp.events import BufferLengthSet, Event, PeerAcked
from streamserver.rtmp.handshake import ClientHandshake, ServerHandshake
from streamserver.rtmp.message import (
    ACKNOWLEDGEMENT,
    BUFFER_LENGTH,
    PING_REQUEST,
    PING_RESPONSE,
    SET_PEER_BANDWIDTH,
    USER_CONTROL,
    WINDOW_ACK_SIZE,
    Message,
    acknowledgement,
    read_u32,
    user_control,
    window_ack_size,
)
from streamserver.rtmp.message_limits import MessageLimits
from streamserver.rtmp.settings import SessionSettings

__all__ = ["CSID_COMMAND", "CSID_CONTROL", "CSID_STREAM", "Channel", "RateLimit"]

CSID_CONTROL: Final = 2
"""Chunk stream of protocol control (5.4)."""

CSID_COMMAND: Final = 3
"""Chunk stream of commands of the connection, by custom."""

CSID_STREAM: Final = 5
"""Chunk stream of commands and data of a message stream, by custom."""

_SMALLEST_ACK_INTERVAL: Final = 64 * 2**10
_LARGEST_ACK_INTERVAL: Final = 2_500_000
_NEVER: Final = 1 << 62
_SECOND: Final = 1_000_000_000


class RateLimit:
    """At most so many of something in each second that begins with the first of them."""

    __slots__ = ("_limit", "_since_ns", "_used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since_ns = -_NEVER
        self._used = 0

    def allows(self, now_ns: int) -> bool:
        """Takes one if one is free."""
        if now_ns - self._since_ns >= _SECOND:
            self._since_ns = now_ns
            self._used = 0
        if self._used >= self._limit:
            return False
        self._used += 1
        return True


class Channel:
    """One connection below its commands."""

    def __init__(
        self,
        handshake: ServerHandshake | ClientHandshake,
        settings: SessionSettings,
        *,
        awaits_connect: bool = False,
    ) -> None:
        """``awaits_connect``: nothing large and no media may come before the first command."""
        self.bytes_received = 0
        """Bytes that came, the handshake included."""
        self.bytes_sent = 0
        """Bytes handed out to be sent."""
        self.replies_withheld = 0
        """Pings and bandwidth messages that came too often to be answered."""
        self._handshake: ServerHandshake | ClientHandshake | None = handshake
        self._decoder = _decoder(settings, awaits_connect)
        self.messages: Callable[[], list[Message]] = self._decoder.messages
        """Takes what was completed since the last call. Chunk sizes and aborts are done already."""
        self._encoder = ChunkEncoder()
        self._handshake_out = bytearray()
        self._out: list[bytes] = []
        """Chunks; they wait for the end of the handshake."""
        self._max_headers = settings.max_headers_per_s
        self._headers_left = 0
        self._headers_granted = _NEVER
        self._second_ends_ns = -_NEVER
        self._replies = RateLimit(settings.max_control_replies_per_s)
        self._ack_interval = _NEVER
        self._acked = 0
        self._announced_window: int | None = None
        if isinstance(handshake, ClientHandshake):
            self._handshake_out += handshake.bytes_to_send()

    @property
    def in_handshake(self) -> bool:
        """Whether the handshake still lasts."""
        return self._handshake is not None

    @property
    def held_bytes(self) -> int:
        """Payload of unfinished messages held."""
        return self._decoder.held_bytes

    @property
    def media_of(self) -> int:
        """See `ChunkDecoder`."""
        return self._decoder.media_of

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes. Raises `RemoteProtocolError`; what came before stays in `messages`."""
        self.bytes_received += len(data)
        if self._handshake is not None:
            answer, rest = self._handshake.receive(data)
            self._handshake_out += answer
            if rest is None:
                return
            self._handshake = None
            data = rest
        if now_ns >= self._second_ends_ns:
            self._second_ends_ns = now_ns + _SECOND
            self._headers_left = self._max_headers
        used = self._decoder.feed(data, min(self._headers_left, self._headers_granted))
        self._headers_left -= used
        self._headers_granted -= used
        if self.bytes_received - self._acked >= self._ack_interval:
            self._acked = self.bytes_received
            self.send(acknowledgement(self._acked), CSID_CONTROL)

    def grant_headers(self, count: int | None, *, per_s: int) -> None:
        """How many chunk headers may still come, and how many in a second; None: any number."""
        self._headers_granted = _NEVER if count is None else count
        self._max_headers = per_s
        self._headers_left = min(self._headers_left, per_s)

    def send(self, message: Message, csid: int, *, full: bool = True) -> None:
        """Queues a message. The type SetChunkSize changes how the following ones are cut;
        ``full`` as in `ChunkEncoder.encode`."""
        if message.type_id == WINDOW_ACK_SIZE:
            self._announced_window = read_u32(message)
        self._out.append(self._encoder.encode(message, csid, full=full))

    def send_media(
        self, stream_id: int, csids: Mapping[int, int], items: Iterable[MediaItem]
    ) -> None:
        """Queues audio and video messages, with the shortest headers. Bodies are not copied."""
        self._encoder.add(self._out, stream_id, csids, items)

    def send_shared(
        self, stream_id: int, csids: Mapping[int, int], run: Run, origin_ms: int
    ) -> bool:
        """Queues a run; see `ChunkEncoder.follow`."""
        return self._encoder.follow(self._out, stream_id, csids, run, origin_ms)

    def is_level(
        self, stream_id: int, csids: Mapping[int, int], tails: Tails, origin_ms: int
    ) -> bool:
        """See `ChunkEncoder.is_level`; and nothing is queued."""
        return not self._out and self._encoder.is_level(stream_id, csids, tails, origin_ms)

    def were_sent(
        self, stream_id: int, csids: Mapping[int, int], tails: Tails, origin_ms: int, size: int
    ) -> None:
        """So many bytes were sent by others; see `ChunkEncoder.were_sent`."""
        self._encoder.were_sent(stream_id, csids, tails, origin_ms)
        self.bytes_sent += size

    def bytes_to_send(self) -> bytes:
        """Takes what is queued: whole messages, so that others may be sent behind them."""
        if not self._out and not self._handshake_out:
            return b""
        data = b""
        if self._handshake_out:
            data = bytes(self._handshake_out)
            self._handshake_out.clear()
        if self._out and self._handshake is None:
            data += b"".join(self._out)
            self._out.clear()
        self.bytes_sent += len(data)
        return data

    def acknowledge_always(self) -> None:
        """Acknowledges even who never announced a window: FMLE-like encoders stall otherwise."""
        self._ack_interval = min(self._ack_interval, _LARGEST_ACK_INTERVAL)

    def obey(self, message: Message, now_ns: int) -> Event | None:
        """Acts on a control message of type 3 to 6. Raises `RemoteProtocolError` on short ones."""
        if message.type_id == ACKNOWLEDGEMENT:
            return PeerAcked(read_u32(message))
        if message.type_id == WINDOW_ACK_SIZE:
            # 5.4.4: an acknowledgement after each window. Half of it, so that the far side never
            # waits; but no window may be so small that we do nothing but acknowledge.
            half = read_u32(message) // 2
            self._ack_interval = min(max(half, _SMALLEST_ACK_INTERVAL), _LARGEST_ACK_INTERVAL)
        elif message.type_id == SET_PEER_BANDWIDTH:
            # 5.4.5: answered with our window if that differs from what we said last.
            window = read_u32(message)
            if window != self._announced_window:
                self._reply(window_ack_size(window), now_ns)
        elif message.type_id == USER_CONTROL:
            return self._obey_user_control(message, now_ns)
        return None

    def _obey_user_control(self, message: Message, now_ns: int) -> Event | None:
        """7.1.7. Lengths vary between implementations, and unknown events are ignored."""
        event = int.from_bytes(message.body[:2], "big")
        numbers = (len(message.body) - 2) // 4
        if event == PING_REQUEST and numbers >= 1:
            self._reply(user_control(PING_RESPONSE, read_u32(message, 2)), now_ns)
        elif event == BUFFER_LENGTH and numbers >= 2:
            return BufferLengthSet(read_u32(message, 2), read_u32(message, 6))
        return None

    def _reply(self, message: Message, now_ns: int) -> None:
        if self._replies.allows(now_ns):
            self.send(message, CSID_CONTROL)
        else:
            self.replies_withheld += 1


def _decoder(settings: SessionSettings, awaits_connect: bool) -> ChunkDecoder:
    limits = MessageLimits(
        media=settings.max_media_bytes,
        command=settings.max_command_bytes,
        data=settings.max_data_bytes,
        partial=settings.max_partial_bytes,
    )
    if not awaits_connect:
        return ChunkDecoder(limits)
    # 7.2.1.1: connect is the first message of a client, save for those about chunks and windows.
    # Refused at its header, media that comes before costs neither memory nor time.
    before_connect = MessageLimits(
        media=0, data=0, command=settings.max_command_bytes, partial=2 * settings.max_command_bytes
    )
    return ChunkDecoder(limits, at_first=before_connect)
