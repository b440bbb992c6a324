"""The server's side of one RTMP connection: bytes in, events out, decisions in, bytes out.

::

    session = ServerSession(now_ns=clock.monotonic_ns())
    session.receive(data, now_ns)          # RemoteProtocolError: log it, close
    for event in session.events():
        match event:
            case PublishRequested():
                session.accept_publish(event, now_ns)
    transport.write(session.bytes_to_send())

No IO, no clock. What may follow what stands in `streamserver.rtmp.states`.
"""

from collections.abc import Callable
from typing import Final

from streamserver.errors import InvalidNameError, LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.channel import CSID_COMMAND, Channel, RateLimit
from streamserver.rtmp.command import Command, parse_command, parse_data, play_start, result
from streamserver.rtmp.connect import read_connect
from streamserver.rtmp.events import (
    Closed,
    ConnectReceived,
    DataReceived,
    Event,
    MediaRun,
    PauseRequested,
    PlayRequested,
    PublishRequested,
    ReceiveAudioRequested,
    ReceiveVideoRequested,
    RequestRefused,
    StreamAction,
)
from streamserver.rtmp.handshake import ServerHandshake
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
from streamserver.rtmp.replies import (
    Replies,
    connect_accepted,
    connect_rejected,
    pause_noted,
    play_ended,
    play_started,
    publish_ended,
    publish_started,
    reconnect_request,
    refusal,
    stream_created,
)
from streamserver.rtmp.settings import CAPS_RECONNECT, SessionSettings
from streamserver.rtmp.states import (
    CONNECTION_TRANSITIONS,
    ConnectionState,
    Step,
    StreamState,
    next_state,
)
from streamserver.rtmp.streams import (
    HELD_ITEM_OVERHEAD,
    MessageStream,
    MessageStreams,
    Request,
)
from streamserver.rtmp.url import StreamTarget, resolve

__all__ = ["ServerSession"]

_MEDIA: Final = frozenset({AUDIO, VIDEO})
_DATA: Final = frozenset({AMF0_DATA, AMF3_DATA})
_COMMANDS: Final = frozenset({AMF0_COMMAND, AMF3_COMMAND})
_ANSWERS: Final = frozenset({"_result", "_error", "onStatus"})
_HANDSHAKE: Final = ConnectionState.HANDSHAKE
_ENDED: Final = (ConnectionState.CLOSING, ConnectionState.CLOSED)
_SECOND: Final = 1_000_000_000


class ServerSession:
    """One connection of a publisher or player. At most one of its streams is in use at a time."""

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        now_ns: int,
        nonce: bytes | None = None,
    ) -> None:
        """``now_ns``: when the connection came, on the clock of all later calls; ``nonce``: see
        `ServerHandshake`."""
        self.close_after_flush = False
        """True once a refusal is queued: flush it, give the far side half a second to read it,
        then close. Encoders wait forever on a refusal without a close."""
        self.messages_ignored = 0
        """Messages of unknown types, or for streams that are not in use."""
        self._settings = settings or SessionSettings()
        handshake = ServerHandshake(nonce=nonce)
        self._channel = Channel(handshake, self._settings, awaits_connect=True)
        self.bytes_to_send: Callable[[], bytes] = self._channel.bytes_to_send
        """Takes what must be written: whole messages, so that a feed's bytes, cut at
        ``settings.chunk_size``, may be written between two calls."""
        self._grant_headers(self._settings.max_headers_before_request)
        self._has_asked = False
        self._state = ConnectionState.HANDSHAKE
        self._streams = MessageStreams(self._settings.max_message_streams)
        self._events: list[Event] = []
        self._setup_deadline_ns = now_ns + self._settings.setup_timeout_ns
        self._last_media_ns = now_ns
        self._commands = RateLimit(self._settings.max_commands_per_s)
        self._connect: ConnectReceived | None = None
        self._connect_id = 0.0
        self._held: list[Message] = []
        self._held_bytes = 0
        self._close_reason = ""

    # ---- what the host reads ----------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """How far the connection is."""
        return self._state

    @property
    def bytes_received(self) -> int:
        """Bytes that came; 0 tells a mere TCP probe."""
        return self._channel.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Bytes handed out by `bytes_to_send`."""
        return self._channel.bytes_sent

    @property
    def held_bytes(self) -> int:
        """Bytes that it keeps: unfinished messages, and what came before a decision."""
        active = self._streams.active
        held = 0 if active is None else active.held_bytes
        return self._channel.held_bytes + self._held_bytes + held

    @property
    def replies_withheld(self) -> int:
        """Pings and bandwidth messages that came too often to be answered."""
        return self._channel.replies_withheld

    def events(self) -> list[Event]:
        """Takes what happened since the last call; ends with `Closed` after the end."""
        events, self._events = self._events, []
        return events

    @property
    def next_timeout_ns(self) -> int | None:
        """When `handle_timeout` wants to be called; None while nothing can time out."""
        if self._state in _ENDED:
            return None
        if self._streams.active is None:
            return self._setup_deadline_ns
        if self._streams.live_id >= 0:
            return self._last_media_ns + self._settings.idle_timeout_ns
        # The host decides in its own time; a player has nothing to say.
        return None

    # ---- what comes from outside ------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes of the far side.

        Raises `RemoteProtocolError` when they break the protocol; the events of what came before,
        and of the end, are ready then. After the end, bytes are ignored.
        """
        if self._state in _ENDED:
            return
        channel = self._channel
        fault: RemoteProtocolError | None = None
        try:
            try:
                channel.receive(data, now_ns)
            except RemoteProtocolError as caught:
                # What came before the fault happened, however the bytes were split.
                fault = caught
            if self._state is _HANDSHAKE and not channel.in_handshake:
                self._step(Step.HANDSHAKE_DONE)
            messages = channel.messages()
            live_id = self._streams.live_id
            if messages and channel.media_of == live_id:
                # Nothing but media of a publisher, as nearly always: all of it is one event.
                self._last_media_ns = now_ns
                run, events = MediaRun(live_id, messages), self._events
                if not events or not run.continues(events):
                    events.append(run)
            else:
                self._handle(messages, now_ns)
            if fault is not None and self.state is not ConnectionState.CLOSING:
                raise fault
        except RemoteProtocolError as error:
            self._finish(str(error))
            raise

    def handle_timeout(self, now_ns: int) -> None:
        """Ends the session if `next_timeout_ns` has come; `Closed` says why."""
        due = self.next_timeout_ns
        if due is None or now_ns < due:
            return
        if self._streams.live_id >= 0:
            seconds = self._settings.idle_timeout_ns // _SECOND
            self._finish(f"no audio or video came for {seconds} s")
        elif self._state is ConnectionState.CONNECTED:
            self._finish("neither publish nor play came in time")
        else:
            self._finish(f"the set-up took too long: the connection is still {self._state.value}")

    def connection_lost(self, reason: str = "the far side closed the connection") -> None:
        """The transport is gone. Harmless when the session has ended already."""
        self._finish(self._close_reason or reason)

    # ---- what the host decides --------------------------------------------------------------

    def accept_connect(self, now_ns: int) -> None:
        """Answers `ConnectReceived` with yes; only with ``settings.decide_connect``.

        Does nothing when the connection ended meanwhile. Raises `LocalProtocolError` when there
        is nothing to decide.
        """
        if not self._deciding():
            return
        self._answer_connect()
        held, self._held, self._held_bytes = self._held, [], 0
        try:
            self._handle(held, now_ns)
        except RemoteProtocolError as fault:
            self._finish(str(fault))

    @property
    def decides_connect(self) -> bool:
        """Whether a connect waits for the host's decision."""
        return self._state is ConnectionState.DECIDING

    def reject_connect(self, reason: str, code: str = "NetConnection.Connect.Rejected") -> None:
        """Answers `ConnectReceived` with no and a sentence for people; close after the flush."""
        if not self._deciding():
            return
        self._send(connect_rejected(self._connect_id, code, reason))
        self._start_closing(f"connect refused: {reason}")

    def accept_publish(self, request: PublishRequested, now_ns: int) -> bool:
        """Lets a publisher begin. False when the far side took its request back."""
        stream = self._streams.asking(request)
        if stream is None:
            return False
        self._streams.accept(stream)
        self._grant_headers(None)
        self._last_media_ns = now_ns
        self._channel.acknowledge_always()
        self._send(publish_started(stream.id))
        self._events += stream.take_held()
        return True

    def reject_publish(
        self, request: PublishRequested, reason: str, code: str = "NetStream.Publish.Denied"
    ) -> bool:
        """Refuses a publisher with a sentence that his encoder shows; close after the flush.

        False when the far side took its request back.
        """
        return self._reject(request, reason, code)

    def accept_play(self, request: PlayRequested) -> bool:
        """Lets a player begin: media for it may follow. False when it took its request back."""
        stream = self._streams.asking(request)
        if stream is None:
            return False
        self._streams.accept(stream)
        self._channel.grant_headers(None, per_s=self._settings.max_player_headers_per_s)
        self._send(play_started(stream.id, reset=request.reset))
        return True

    def reject_play(
        self, request: PlayRequested, reason: str, code: str = "NetStream.Play.StreamNotFound"
    ) -> bool:
        """Refuses a player with a sentence; close after the flush. False as `reject_publish`."""
        return self._reject(request, reason, code)

    def end_play(self, stream_id: int, reason: str, now_ns: int) -> None:
        """Tells a player that its stream is over; it may play something else."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state is not StreamState.PLAYING:
            return
        self._send(play_ended(stream_id, reason))
        self._rest(stream, reason, now_ns)

    def close(self, reason: str, code: str = "NetConnection.Connect.Closed") -> None:
        """Ends the session from our side with a sentence for people; close after the flush."""
        if self._state in _ENDED:
            return
        active = self._streams.active
        if active is not None:
            self._send(refusal(active.id, code, reason))
            self._events.append(self._streams.release(active, reason))
        elif self._state is ConnectionState.CONNECTED:
            self._send(refusal(0, code, reason))
        self._start_closing(reason)

    def request_reconnect(self, tc_url: str = "", description: str = "") -> bool:
        """Asks the far side to come again, here or at ``tc_url``; False if it cannot.

        Enhanced RTMP v2, "Reconnect Request": only for those who announced it in ``capsEx``.
        """
        able = self._connect is not None and self._connect.caps_ex & CAPS_RECONNECT
        if not able or self._state is not ConnectionState.CONNECTED:
            return False
        self._send(reconnect_request(tc_url, description))
        return True

    # ---- messages ---------------------------------------------------------------------------

    def _handle(self, messages: list[Message], now_ns: int) -> None:
        events, streams = self._events, self._streams
        for message in messages:
            type_id = message.type_id
            if message.stream_id == streams.live_id and type_id in _MEDIA:
                self._add_media(MediaRun(message.stream_id, [message]), now_ns)
            elif self._state is ConnectionState.CLOSING:
                return
            elif type_id <= SET_PEER_BANDWIDTH:
                event = self._channel.obey(message, now_ns)
                if event is not None:
                    events.append(event)
            elif self._state is ConnectionState.DECIDING:
                self._hold(message)
            elif type_id in _COMMANDS:
                self._handle_command(message, now_ns)
            elif type_id == AGGREGATE:
                for part in split_aggregate(message):
                    self._handle_media(part, now_ns)
            else:
                self._handle_media(message, now_ns)

    def _add_media(self, run: MediaRun, now_ns: int) -> None:
        self._last_media_ns = now_ns
        if not run.continues(self._events):
            self._events.append(run)

    def _handle_media(self, message: Message, now_ns: int) -> None:
        """Media and data off the hot path: before the decision, or from an aggregate."""
        stream = self._streams.get(message.stream_id)
        event = self._media_event(message) if stream is not None and stream.publishes else None
        if stream is None or event is None:
            self.messages_ignored += 1
        elif stream.state is StreamState.PUBLISHING:
            if isinstance(event, MediaRun):
                self._add_media(event, now_ns)
            else:
                self._events.append(event)
        else:
            stream.hold(event, len(message.body), self._settings.max_held_bytes)

    def _media_event(self, message: Message) -> Event | None:
        if message.type_id in _MEDIA:
            return MediaRun(message.stream_id, [message])
        data = parse_data(message) if message.type_id in _DATA else None
        return DataReceived(message.stream_id, message.timestamp, *data) if data else None

    def _hold(self, message: Message) -> None:
        """Keeps what an impatient peer sends before connect is decided."""
        self._held_bytes += len(message.body) + HELD_ITEM_OVERHEAD
        if self._held_bytes > self._settings.max_held_bytes:
            raise RemoteProtocolError("too much came before the answer to connect")
        self._held.append(message)

    # ---- commands ---------------------------------------------------------------------------

    def _handle_command(self, message: Message, now_ns: int) -> None:
        if not self._commands.allows(now_ns):
            raise RemoteProtocolError("too many commands in too short a time")
        call = parse_command(message)
        if call.name == "connect":
            self._on_connect(call)
            return
        self._step(Step.COMMAND)
        handler = _HANDLERS.get(call.name)
        if handler is not None:
            handler(self, call, now_ns)
        elif call.name not in _ANSWERS:
            # Some encoders wait for an answer to `_checkbw` and the like.
            self._answer(call)

    def _on_connect(self, call: Command) -> None:
        self._step(Step.CONNECT)
        self._connect = read_connect(call)
        self._connect_id = call.transaction_id
        self._events.append(self._connect)
        if not self._settings.decide_connect:
            self._answer_connect()

    def _answer_connect(self) -> None:
        assert self._connect is not None
        self._step(Step.ACCEPT)
        self._send(connect_accepted(self._connect_id, self._connect, self._settings))

    def _on_create_stream(self, call: Command, now_ns: int) -> None:
        stream = self._streams.create()
        self._send(stream_created(call.transaction_id, stream.id if stream else None))

    def _on_publish(self, call: Command, now_ns: int) -> None:
        found = self._find_target(call, "publish", Step.PUBLISH)
        if found is None:
            return
        stream, target, raw_app = found
        request = PublishRequested(
            stream_id=stream.id,
            app=target.app,
            name=target.name,
            params=target.params,
            publish_type=call.text(2),
            raw_app=raw_app,
            raw_key=call.text(1),
        )
        self._ask(stream, request)

    def _on_play(self, call: Command, now_ns: int) -> None:
        found = self._find_target(call, "play", Step.PLAY)
        if found is None:
            return
        stream, target, raw_app = found
        if stream is self._streams.active:
            ended = self._streams.release(stream, "the player asked for another stream")
            self._events.append(ended)
        request = PlayRequested(
            stream_id=stream.id,
            app=target.app,
            name=target.name,
            params=target.params,
            start=play_start(call.integer(2, -2)),
            duration=call.integer(3, -1),
            reset=call.flag(4, True),
            raw_app=raw_app,
            raw_key=call.text(1),
        )
        self._ask(stream, request)

    def _ask(self, stream: MessageStream, request: Request) -> None:
        """Asks the host; an encoder may go on with its media meanwhile."""
        if not self._has_asked:
            self._has_asked = True
            self._grant_headers(self._settings.max_headers_before_leave)
        self._streams.ask(stream, request)
        self._events.append(request)

    def _find_target(
        self, call: Command, action: StreamAction, step: Step
    ) -> tuple[MessageStream, StreamTarget, str] | None:
        """Where a publish or play goes, and the app as sent; None when it was refused here."""
        connect = self._connect
        assert connect is not None
        stream = self._streams.adopt(call.stream_id)
        busy = self._streams.active not in (None, stream)
        if busy or not stream.allows(step):
            text = "this connection already publishes or plays; open another one"
            self._refuse(stream.id, action, text)
            return None
        try:
            return stream, resolve(connect.app, call.text(1), connect.tc_url), connect.app
        except InvalidNameError as fault:
            self._refuse(stream.id, action, str(fault))
            self._start_closing(f"{action} refused: {fault}")
            return None

    def _on_delete_stream(self, call: Command, now_ns: int) -> None:
        """The argument should be the stream; GStreamer sends its key there."""
        named = self._streams.get(call.integer(1, 0)) or self._streams.get(call.stream_id)
        stream = named or (self._streams.active if len(self._streams) == 1 else None)
        if stream is not None:
            self._stop(stream, "the far side deleted its stream", now_ns)
            self._streams.remove(stream)

    def _on_close_stream(self, call: Command, now_ns: int) -> None:
        stream = self._streams.get(call.stream_id)
        if stream is not None:
            self._stop(stream, "the far side closed its stream", now_ns)

    def _on_unpublish(self, call: Command, now_ns: int) -> None:
        active = self._streams.active
        if active is not None and active.publishes:
            self._stop(active, "the publisher stopped", now_ns)
        self._answer(call)

    def _on_stream_length(self, call: Command, now_ns: int) -> None:
        self._answer(call, 0)

    def _on_pause(self, call: Command, now_ns: int) -> None:
        stream = self._playing(call)
        if stream is None:
            return
        paused = call.flag(1, True)
        self._events.append(PauseRequested(stream.id, paused, call.integer(2, 0)))
        self._send(pause_noted(stream.id, paused=paused))

    def _on_receive_audio(self, call: Command, now_ns: int) -> None:
        stream = self._playing(call)
        if stream is not None:
            self._events.append(ReceiveAudioRequested(stream.id, call.flag(1, True)))

    def _on_receive_video(self, call: Command, now_ns: int) -> None:
        stream = self._playing(call)
        if stream is not None:
            self._events.append(ReceiveVideoRequested(stream.id, call.flag(1, True)))

    def _playing(self, call: Command) -> MessageStream | None:
        stream = self._streams.get(call.stream_id)
        return stream if stream is not None and stream.state is StreamState.PLAYING else None

    def _grant_headers(self, count: int | None) -> None:
        self._channel.grant_headers(count, per_s=self._settings.max_headers_per_s)

    # ---- endings ----------------------------------------------------------------------------

    def _reject(self, request: Request, reason: str, code: str) -> bool:
        stream = self._streams.asking(request)
        if stream is None:
            return False
        action = "publish" if stream.publishes else "play"
        self._streams.reject(stream)
        self._send(refusal(stream.id, code, reason))
        self._start_closing(f"{action} refused: {reason}")
        return True

    def _refuse(self, stream_id: int, action: StreamAction, reason: str) -> None:
        """A refusal of our own: level "error" is what encoders understand."""
        code = "NetStream.Publish.BadName" if action == "publish" else "NetStream.Play.Failed"
        self._send(refusal(stream_id, code, reason))
        self._events.append(RequestRefused(stream_id, action, reason))

    def _stop(self, stream: MessageStream, reason: str, now_ns: int) -> None:
        """The far side stops what a stream does."""
        if stream is not self._streams.active:
            return
        if stream.state is StreamState.PUBLISHING:
            self._send(publish_ended(stream.id))
        self._rest(stream, reason, now_ns)

    def _rest(self, stream: MessageStream, reason: str, now_ns: int) -> None:
        self._setup_deadline_ns = now_ns + self._settings.rest_timeout_ns
        self._events.append(self._streams.release(stream, reason))

    # ---- the connection ---------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        self._state = next_state(CONNECTION_TRANSITIONS, self._state, step)

    def _deciding(self) -> bool:
        if self._state in _ENDED:
            return False
        if self._state is not ConnectionState.DECIDING:
            raise LocalProtocolError("there is no connect to decide")
        return True

    def _answer(self, call: Command, *values: int) -> None:
        # 7.2.1.2: transaction id 0 wants no answer.
        if call.transaction_id > 0:
            message = result(call.transaction_id, None, *(values or (None,)))
            self._channel.send(message, CSID_COMMAND)

    def _send(self, replies: Replies) -> None:
        for message, csid in replies:
            self._channel.send(message, csid)

    def _start_closing(self, reason: str) -> None:
        self._step(Step.REJECT)
        self._close_reason = reason
        self._held = []
        self.close_after_flush = True

    def _finish(self, reason: str) -> None:
        if self._state is ConnectionState.CLOSED:
            return
        if self._streams.active is not None:
            self._events.append(self._streams.release(self._streams.active, reason))
        self._step(Step.END)
        self._held = []
        self._events.append(Closed(reason))


_HANDLERS: Final[dict[str, Callable[[ServerSession, Command, int], None]]] = {
    "createStream": ServerSession._on_create_stream,
    "publish": ServerSession._on_publish,
    "play": ServerSession._on_play,
    "deleteStream": ServerSession._on_delete_stream,
    "closeStream": ServerSession._on_close_stream,
    "FCUnpublish": ServerSession._on_unpublish,
    "getStreamLength": ServerSession._on_stream_length,
    "pause": ServerSession._on_pause,
    "pauseRaw": ServerSession._on_pause,
    "receiveAudio": ServerSession._on_receive_audio,
    "receiveVideo": ServerSession._on_receive_video,
}
"""Commands with a meaning of their own; any other is answered and forgotten."""
