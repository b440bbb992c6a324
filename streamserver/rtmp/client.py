"""The client's side of one RTMP connection: bytes in, events out, media in, bytes out.

::

    session = ClientSession(ClientSettings(target=parse_target(url)), now_ns=clock.monotonic_ns())
    transport.write(session.bytes_to_send())
    session.receive(data, now_ns)          # RemoteProtocolError: log it, close
    for event in session.events():
        match event:
            case PublishAccepted():
                session.send_metadata(values)
                session.send_media("video", 0, sequence_header)
            case Rejected() | ReconnectWith() | Redirected(closing=True):
                ...                        # flush, close; `Closed` ends every session
    transport.write(session.bytes_to_send())

The same halves as the server's: `Channel` below, events above. No IO, no clock, no name lookup.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.channel import CSID_COMMAND, CSID_STREAM, Channel, RateLimit
from streamserver.rtmp.chunk_encoder import MediaItem, Run, Tails
from streamserver.rtmp.client_calls import (
    CONNECT_ID,
    CREATE_STREAM_ID,
    REQUEST_ID,
    connect_call,
    create_calls,
    metadata_message,
    play_calls,
    publish_calls,
    stop_calls,
)
from streamserver.rtmp.client_events import (
    ClientEvent,
    Connected,
    PlayStarted,
    PublishAccepted,
    ReconnectWith,
    Redirected,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_refusals import (
    connect_refused,
    reconnect_requested,
    refused,
    words,
)
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.client_states import CLIENT_TRANSITIONS, ENDED, ClientState, ClientStep
from streamserver.rtmp.command import Command, data_message, parse_command, parse_data, result
from streamserver.rtmp.connect import offered_four_ccs
from streamserver.rtmp.events import (
    Closed,
    DataReceived,
    MediaKind,
    MediaRun,
    PeerAcked,
    PlayEnded,
)
from streamserver.rtmp.handshake import ClientHandshake, WrongProtocolError
from streamserver.rtmp.message import (
    AGGREGATE,
    AMF0_COMMAND,
    AMF0_DATA,
    AMF3_COMMAND,
    AMF3_DATA,
    AUDIO,
    SET_PEER_BANDWIDTH,
    VIDEO,
    Message,
    split_aggregate,
)
from streamserver.rtmp.replies import Replies
from streamserver.rtmp.status import Status, clean, read_status

__all__ = ["MEDIA_CSIDS", "ClientSession"]

_MEDIA: Final = frozenset({AUDIO, VIDEO})
_DATA: Final = frozenset({AMF0_DATA, AMF3_DATA})
_COMMANDS: Final = frozenset({AMF0_COMMAND, AMF3_COMMAND})
_PLAY_ENDS: Final = frozenset(
    {"NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"}
)
_RECONNECT: Final = "NetConnection.Connect.ReconnectRequest"
MEDIA_CSIDS: Final = {AUDIO: 4, VIDEO: 6}
"""Chunk streams of media, by message type."""

_MASK: Final = 0xFFFFFFFF
_SECOND: Final = 1_000_000_000


class ClientSession:
    """One connection that publishes one stream, or plays one."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        now_ns: int,
        nonce: bytes | None = None,
        auth_nonce: str | None = None,
    ) -> None:
        """``now_ns``: when the connection was made, on the clock of all later calls; ``nonce``:
        see `ClientHandshake`; ``auth_nonce``: see `answer_challenge`, random by default."""
        self.close_after_flush = False
        """True once nothing more will be said: flush it, then close the transport."""
        self.messages_ignored = 0
        """Messages of unknown types, or that came when nobody had asked for them."""
        self._settings = settings
        self._bounds = settings.bounds
        self._channel = Channel(ClientHandshake(nonce=nonce), self._bounds)
        self._commands = RateLimit(self._bounds.max_commands_per_s)
        self._auth_nonce = auth_nonce
        self._state = ClientState.HANDSHAKE
        self._stream_id = 0
        self._sending = False
        """Whether media may be sent: for the hot path."""
        self._peer_four_ccs: frozenset[str] = frozenset()
        self._events: list[ClientEvent] = []
        self._deadline_ns = now_ns + self._bounds.setup_timeout_ns
        self._last_media_ns = now_ns
        self._reconnect_seen = False
        self._close_reason = ""
        # It waits in the channel for the end of the handshake.
        self._send(connect_call(settings))

    # ---- what the host reads ----------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """How far the connection is."""
        return self._state

    @property
    def settings(self) -> ClientSettings:
        """What it was made with."""
        return self._settings

    @property
    def peer_four_ccs(self) -> frozenset[str]:
        """The codecs of enhanced RTMP that the far side offers to take; empty before `Connected`,
        and where it knows no enhanced RTMP."""
        return self._peer_four_ccs

    def peer_takes(self, four_cc: str) -> bool:
        """Whether the far side offers to take a codec of enhanced RTMP."""
        return four_cc in self._peer_four_ccs or "*" in self._peer_four_ccs

    @property
    def bytes_received(self) -> int:
        """Bytes that came."""
        return self._channel.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Bytes handed out by `bytes_to_send`."""
        return self._channel.bytes_sent

    @property
    def has_events(self) -> bool:
        """Whether `events` would answer some."""
        return bool(self._events)

    def events(self) -> list[ClientEvent]:
        """Takes what happened since the last call; ends with `Closed` after the end."""
        events, self._events = self._events, []
        return events

    def bytes_to_send(self) -> bytes:
        """Takes what must be written: whole messages."""
        return self._channel.bytes_to_send()

    @property
    def next_timeout_ns(self) -> int | None:
        """When `handle_timeout` wants to be called; None while nothing can time out.

        A publisher has no timeout of its own once it is live: whether its bytes get through,
        only the host's socket knows.
        """
        if self._state in ENDED:
            return None
        if self._state is not ClientState.LIVE:
            return self._deadline_ns
        if self._plays:
            return self._last_media_ns + self._bounds.idle_timeout_ns
        return None

    # ---- what comes from outside ------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes of the far side.

        Raises `RemoteProtocolError` when they break the protocol; the events of what came before,
        and of the end, are ready then. After the end, bytes are ignored.
        """
        if self._state in ENDED:
            return
        try:
            self._receive(data, now_ns)
        except RemoteProtocolError as fault:
            self._finish(str(fault))
            raise

    def handle_timeout(self, now_ns: int) -> None:
        """Ends the session if `next_timeout_ns` has come; `Closed` says why."""
        due = self.next_timeout_ns
        if due is None or now_ns < due:
            return
        if self._state is ClientState.LIVE:
            seconds = self._bounds.idle_timeout_ns // _SECOND
            self._finish(f"no audio or video came for {seconds} s")
        else:
            seconds = self._bounds.setup_timeout_ns // _SECOND
            self._finish(f"the far side did not answer {self._state.value} within {seconds} s")

    def connection_lost(self, reason: str = "the far side closed the connection") -> None:
        """The transport is gone. Harmless when the session has ended already."""
        self._finish(self._close_reason or reason)

    # ---- what the host does -----------------------------------------------------------------

    def send_media(self, kind: MediaKind, timestamp_ms: int, body: bytes) -> bool:
        """Queues one audio or video message; ``body`` is an FLV tag body.

        Times begin where the host wants, near 0, and go modulo 2^32. They are written as
        distances, as OBS does, so that they stay below the 24 bits that some servers know; a step
        back is written as an absolute time. False when the connection ended meanwhile.
        Raises `LocalProtocolError` before `PublishAccepted`.
        """
        type_id = VIDEO if kind == "video" else AUDIO
        return self.send_run([(type_id, timestamp_ms & _MASK, body)])

    def send_run(self, items: Iterable[MediaItem]) -> bool:
        """Queues several messages at once: of each its type (8 or 9), its time modulo 2^32, and
        its body. Otherwise as `send_media`."""
        if not self._sending and not self._may_send():
            return False
        self._channel.send_media(self._stream_id, MEDIA_CSIDS, items)
        return True

    def send_shared(self, run: Run, origin_ms: int) -> bool:
        """Queues messages that were cut for many sessions at once.

        ``origin_ms`` is time 0 of this one on the run's line. False, and nothing is queued, when
        they do not follow what was sent last, or nothing may be sent.
        """
        return self._sending and self._channel.send_shared(
            self._stream_id, MEDIA_CSIDS, run, origin_ms
        )

    def is_level(self, tails: Tails, origin_ms: int) -> bool:
        """Whether these messages were the last media sent, nothing waits to be sent, and more may
        be; ``origin_ms`` as in `send_shared`."""
        return self._sending and self._channel.is_level(
            self._stream_id, MEDIA_CSIDS, tails, origin_ms
        )

    def were_sent(self, tails: Tails, origin_ms: int, size: int) -> None:
        """So many bytes of media that many sessions share were sent past this one, who was level:
        these are now the last."""
        self._channel.were_sent(self._stream_id, MEDIA_CSIDS, tails, origin_ms, size)

    def send_metadata(self, values: Mapping[str, AmfValue]) -> bool:
        """Queues ``onMetaData``; before the first media. False and raises as `send_media`."""
        if not self._may_send():
            return False
        self._send(metadata_message(self._stream_id, values))
        return True

    def send_data(self, timestamp_ms: int, name: str, *values: AmfValue) -> bool:
        """Queues other data, ``onCuePoint`` for example. False and raises as `send_media`."""
        if not self._may_send():
            return False
        message = data_message(self._stream_id, timestamp_ms & _MASK, name, *values)
        self._channel.send(message, CSID_STREAM)
        return True

    def finish(self, reason: str = "we stopped") -> None:
        """Stops as a far side understands it: not as a loss. Flush, then close the transport."""
        if self._state in ENDED:
            return
        if self._stream_id:
            self._send(stop_calls(self._settings, self._stream_id))
        self._start_closing(reason)

    # ---- messages ---------------------------------------------------------------------------

    @property
    def _plays(self) -> bool:
        return self._settings.action == "play"

    def _receive(self, data: bytes, now_ns: int) -> None:
        fault: RemoteProtocolError | None = None
        try:
            self._channel.receive(data, now_ns)
        except WrongProtocolError as caught:
            hint = "; rtmps:// may be meant" if caught.protocol == "TLS" else ""
            fault = RemoteProtocolError(f"the far side speaks {caught.protocol}, not RTMP{hint}")
        except RemoteProtocolError as caught:
            # What came before the fault happened, however the bytes were split.
            fault = caught
        if self._state is ClientState.HANDSHAKE and not self._channel.in_handshake:
            self._step(ClientStep.HANDSHAKE_DONE)
        for message in self._channel.messages():
            if self._state in ENDED:
                return
            self._handle(message, now_ns)
        if fault is not None:
            raise fault

    def _handle(self, message: Message, now_ns: int) -> None:
        type_id = message.type_id
        if type_id in _MEDIA:
            self._on_media(message, now_ns)
        elif type_id <= SET_PEER_BANDWIDTH:
            event = self._channel.obey(message, now_ns)
            if isinstance(event, PeerAcked):
                self._events.append(event)
        elif type_id in _COMMANDS:
            self._on_command(message, now_ns)
        elif type_id == AGGREGATE:
            for part in split_aggregate(message):
                if part.type_id in _MEDIA:
                    self._on_media(part, now_ns)
        elif type_id in _DATA and self._plays and self._state is ClientState.LIVE:
            self._on_data(message)
        else:
            self.messages_ignored += 1

    def _on_media(self, message: Message, now_ns: int) -> None:
        if self._plays and self._state is ClientState.ASKING:
            # Media is the best answer to play; some servers give no other.
            self._start(now_ns)
        if not self._plays or self._state is not ClientState.LIVE:
            self.messages_ignored += 1
            return
        self._last_media_ns = now_ns
        # Some servers send on stream 1 whatever number they gave.
        run = MediaRun(self._stream_id, [message])
        if not run.continues(self._events):
            self._events.append(run)

    def _on_data(self, message: Message) -> None:
        data = parse_data(message)
        if data is None or data[0].startswith("|"):
            self.messages_ignored += 1
        elif data[0] == "onPlayStatus":
            self._on_play_status(data[1])
        else:
            self._events.append(DataReceived(self._stream_id, message.timestamp, *data))

    def _on_play_status(self, values: tuple[AmfValue, ...]) -> None:
        info = values[0] if values and isinstance(values[0], dict) else {}
        if info.get("code") in _PLAY_ENDS:
            self._events.append(PlayEnded(self._stream_id, "the far side's stream is complete"))

    # ---- commands ---------------------------------------------------------------------------

    def _on_command(self, message: Message, now_ns: int) -> None:
        if not self._commands.allows(now_ns):
            raise RemoteProtocolError("too many commands in too short a time")
        call = parse_command(message)
        handler = _HANDLERS.get(call.name)
        if handler is not None:
            handler(self, call, now_ns)
        elif call.transaction_id > 0:
            # Wowza measures the way to us with calls of its own, and waits for an answer.
            self._channel.send(result(call.transaction_id, None, None), CSID_COMMAND)

    def _on_result(self, call: Command, now_ns: int) -> None:
        if call.transaction_id == CONNECT_ID and self._state is ClientState.CONNECTING:
            self._on_connected(call)
        elif call.transaction_id == CREATE_STREAM_ID and self._state is ClientState.CREATING:
            self._on_created(call)

    def _on_connected(self, call: Command) -> None:
        status = read_status(call)
        if status.is_refusal:
            self._refuse(connect_refused(self._settings, status, self._auth_nonce))
            return
        # Enhanced RTMP v2 says the info object; some write it into the properties.
        offers = {**call.mapping(0), **status.values}
        self._peer_four_ccs = offered_four_ccs(offers)
        caps = offers.get("capsEx")
        version = call.mapping(0).get("fmsVer")
        self._step(ClientStep.CONNECTED)
        self._events.append(
            Connected(
                server_version=clean(version) if isinstance(version, str) else "",
                four_ccs=self._peer_four_ccs,
                caps_ex=int(caps) if isinstance(caps, float) and 0 <= caps < 2**32 else 0,
            )
        )
        self._send(create_calls(self._settings))

    def _on_created(self, call: Command) -> None:
        stream_id = call.integer(1, -1)
        if not 0 < stream_id < 2**32:
            text = "the far side gave no message stream"
            self._refuse(Rejected("", text, RetryHint.LATER))
            return
        self._stream_id = stream_id
        self._step(ClientStep.CREATED)
        calls = play_calls if self._plays else publish_calls
        self._send(calls(self._settings, stream_id))

    def _on_error(self, call: Command, now_ns: int) -> None:
        status = read_status(call)
        if self._state is ClientState.CONNECTING:
            self._refuse(connect_refused(self._settings, status, self._auth_nonce))
        elif call.transaction_id in (CREATE_STREAM_ID, REQUEST_ID):
            self._refuse(refused(self._settings, status))
        # Others refuse releaseStream and FCPublish, and then publish works all the same.

    def _on_status(self, call: Command, now_ns: int) -> None:
        status = read_status(call)
        if status.code == _RECONNECT:
            self._on_reconnect_request(status)
        elif status.is_refusal:
            self._refuse(refused(self._settings, status))
        elif self._state is ClientState.ASKING:
            wanted = "NetStream.Play.Start" if self._plays else "NetStream.Publish.Start"
            if status.code == wanted:
                self._start(now_ns)
        elif self._plays and status.code in _PLAY_ENDS:
            reason = words(self._settings, status) or "the far side's stream is over"
            self._events.append(PlayEnded(self._stream_id, reason))

    def _on_close(self, call: Command, now_ns: int) -> None:
        text = "the far side asked to close the connection"
        self._refuse(Rejected("", text, RetryHint.LATER))

    def _on_reconnect_request(self, status: Status) -> None:
        if self._reconnect_seen:
            return
        closing = self._state is not ClientState.LIVE
        event = reconnect_requested(self._settings, status, closing=closing)
        if event is None:
            self.messages_ignored += 1
            return
        self._reconnect_seen = True
        if closing:
            self._refuse(event)
        else:
            self._events.append(event)

    def _start(self, now_ns: int) -> None:
        self._step(ClientStep.STARTED)
        self._last_media_ns = now_ns
        if self._plays:
            self._channel.acknowledge_always()
            self._events.append(PlayStarted(self._stream_id))
        else:
            self._events.append(PublishAccepted(self._stream_id))

    def _refuse(self, event: Rejected | ReconnectWith | Redirected) -> None:
        """The end of this connection, and what may come after it."""
        self._events.append(event)
        match event:
            case Rejected():
                self._start_closing(f"refused: {event.description}")
            case ReconnectWith():
                self._start_closing("authentication goes on in a new connection")
            case Redirected():
                self._start_closing("the far side sent us to another connection")

    # ---- the connection ---------------------------------------------------------------------

    def _step(self, step: ClientStep) -> None:
        self._state = CLIENT_TRANSITIONS[self._state, step]
        self._sending = self._state is ClientState.LIVE and not self._plays

    def _may_send(self) -> bool:
        if self._sending:
            return True
        if self._state in ENDED:
            return False
        raise LocalProtocolError("media may be sent only after PublishAccepted")

    def _send(self, calls: Replies) -> None:
        for message, csid in calls:
            self._channel.send(message, csid)

    def _start_closing(self, reason: str) -> None:
        self._step(ClientStep.STOP)
        self._close_reason = reason
        self.close_after_flush = True

    def _finish(self, reason: str) -> None:
        if self._state is ClientState.CLOSED:
            return
        self._step(ClientStep.END)
        self._events.append(Closed(reason))


_HANDLERS: Final[dict[str, Callable[[ClientSession, Command, int], None]]] = {
    "_result": ClientSession._on_result,
    "_error": ClientSession._on_error,
    "onStatus": ClientSession._on_status,
    "close": ClientSession._on_close,
}
"""Commands with a meaning of their own; any other is answered if it wants to be."""
