"""One RTMP connection: the pump between a transport and a session, and what it may do.

Publish or play is known only when the command comes, so this stands above both.
"""

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from streamserver.auth.loopback import is_loopback_request
from streamserver.control.attempt import Attempt
from streamserver.control.connecting import ConnectAttempt, Connecting
from streamserver.endpoints.rtmp_attempts import connect_attempt, media_attempt
from streamserver.endpoints.rtmp_publish import RtmpPublisher
from streamserver.endpoints.rtmp_watch import RtmpWatch, play_code
from streamserver.errors import NotFoundError, RefusedError, RemoteProtocolError
from streamserver.net.addresses import unmap
from streamserver.net.proxy_protocol import ProxyProtocolParser
from streamserver.rtmp.auth_server import Proven
from streamserver.rtmp.events import (
    Closed,
    ConnectReceived,
    DataReceived,
    Event,
    MediaRun,
    PauseRequested,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    ReceiveAudioRequested,
    ReceiveVideoRequested,
    RequestRefused,
)
from streamserver.rtmp.session import ServerSession

if TYPE_CHECKING:
    from streamserver.endpoints.rtmp import RtmpEndpoint

__all__ = ["CLOSE_AFTER_S", "RtmpConnection"]

CLOSE_AFTER_S: Final = 0.5
"""How long a refused peer has to read why: ffmpeg, GStreamer and librtmp hang on a bare answer."""

_MAX_UNSENT_BYTES: Final = 256 * 1024
"""Control messages that a peer may leave unread before it is dropped."""

_MAX_UNSENT_PLAYING_BYTES: Final = 32 * 1024 * 1024
"""The same for a player, whose media has a bound of its own: only answers can lead here."""

_USER_TIMEOUT_MS: Final = 8_000
"""A peer that does not acknowledge our bytes for this long is gone (RFC 5482)."""

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, probes: one that we have nothing to send to is asked after 3, 5 and 7 s, and
given up at 9. On Linux the user timeout takes the place of the count (tcp(7)), so it must end
between two probes."""


class RtmpConnection(asyncio.Protocol):
    """One connection: the pump between a transport and a session."""

    def __init__(self, endpoint: "RtmpEndpoint") -> None:
        self._endpoint = endpoint
        self.session = ServerSession(endpoint.settings.session, now_ns=endpoint.now_ns())
        self.peer_ip = self.remote_ip = ""
        self._peer = ""
        self._transport: asyncio.Transport | None = None
        self._proxy: ProxyProtocolParser | None = None
        self._connect: ConnectReceived | None = None
        self._admitted: ConnectAttempt | None = None
        self._proven: Proven | None = None
        self._publisher: RtmpPublisher | None = None
        self._watch: RtmpWatch | None = None
        self._deciding: asyncio.Task[None] | None = None
        self._outcome = "closed"
        self._closing = False
        self._may = False
        self._rests = False
        """Whether it has no deadline until somebody says something."""

    # ---- the transport ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admits or refuses the peer."""
        # Not an instance of it under uvloop.
        self._transport = transport = cast(asyncio.Transport, transport)
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.peer_ip = self.remote_ip = unmap(host)
        self._peer = f"{self.peer_ip}:{port}"
        _notice_dead_peers(transport)
        refusal = self._endpoint.admit(self)
        if refusal:
            self._outcome = "refused"
            self._endpoint.complain("%s refused: %s", self._peer, refusal)
            transport.abort()
        elif self._endpoint.is_banned(self.peer_ip):
            # No line: one was written when the ban began.
            self._outcome = "banned"
            transport.abort()
        elif self._endpoint.expects_proxy_header(self.peer_ip):
            self._proxy = ProxyProtocolParser()

    def data_received(self, data: bytes) -> None:
        """Pumps bytes through the session."""
        if self._closing:
            return
        if self._proxy is not None:
            rest = self._read_proxy_header(data)
            if not rest:
                return
            data = rest
        if self._publisher is not None:
            self.work(data)
        else:
            self._endpoint.strangers.receive(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of everything."""
        self._closing = True
        self._transport = None
        self._endpoint.strangers.forget(self)
        self._stop_deciding()
        if not self.session.bytes_received and self._outcome == "closed":
            # A load balancer's health check or a port scan: no line, no ban.
            self._outcome = "probe"
        self.session.connection_lost()
        sent = self.session.bytes_sent + (self._watch.session.bytes_sent if self._watch else 0)
        self._unpublish("the connection was lost" if exc else "the publisher disconnected")
        self._unwatch("the connection was lost" if exc else "the player disconnected")
        if self._admitted is not None and self._endpoint.connecting is not None:
            received = self.session.bytes_received
            self._endpoint.connecting.left(self._admitted, self._proven, received, sent)
        self._endpoint.forget(self, self._outcome)

    # ---- what it sent; until it is let in, in its turn (`Stranger`) ---------------------------

    @property
    def held_bytes(self) -> int:
        """See `Stranger`."""
        return self.session.held_bytes

    def work(self, data: bytes) -> None:
        """Takes bytes of the peer."""
        if self._closing:
            return
        now_ns = self._endpoint.now_ns()
        self._endpoint.stats.bytes_received += len(data)
        fault: RemoteProtocolError | None = None
        try:
            self.session.receive(data, now_ns)
        except RemoteProtocolError as error:
            fault = error
            self._outcome = "protocol_error"
        for event in self.session.events():
            self._handle(event, now_ns)
        self._flush()
        if fault is not None:
            self._end(str(fault))
        elif not self._may and self._is_too_much():
            self._outcome = "refused"
            self._endpoint.limits.count("bytes_before_auth", self._peer)
            self._end("too much came before it was let in (limits.bytes_before_auth)")

    def pause_reading(self) -> None:
        """See `Stranger`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Stranger`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def turn_away(self) -> None:
        """See `Stranger`."""
        self._outcome = "refused"
        self._endpoint.limits.count("bytes_before_auth", self._peer)
        self._end("too much came of all who were not let in yet")

    # ---- time -------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> bool:
        """Applies deadlines. False: there are none, until `RtmpEndpoint.look_after` is told."""
        if self._publisher is not None:
            self._publisher.tick(self.session.bytes_received)
        due_ns = self.session.next_timeout_ns
        if due_ns is None and self._publisher is None:
            self._rests = True
            return False
        if due_ns is None or now_ns < due_ns or self._closing:
            return True
        self._outcome = "timeout"
        self.session.handle_timeout(now_ns)
        for event in self.session.events():
            self._handle(event, now_ns)
        self._flush()
        return True

    def kick(self, reason: str) -> None:
        """Ends the connection from our side, telling the peer why."""
        if self._closing:
            return
        self._outcome = "kicked"
        self.session.close(reason)
        for event in self.session.events():
            self._handle(event, self._endpoint.now_ns())
        self._flush()
        self._unpublish(reason)
        self._unwatch(reason)

    def ask_to_reconnect(self, reason: str) -> str | None:
        """Asks a publisher to come again, to us or to whoever has our place by then.

        Answers the id of its session; None where nobody publishes or that is not understood.
        """
        publisher = self._publisher
        if self._closing or publisher is None:
            return None
        if not self.session.request_reconnect(description=reason):
            return None
        self._flush()
        return publisher.session.id

    def abort(self) -> None:
        """Cuts the connection."""
        if self._transport is not None:
            self._transport.abort()

    # ---- events -----------------------------------------------------------------------------

    def _handle(self, event: Event, now_ns: int) -> None:
        if isinstance(event, MediaRun):
            if self._publisher is not None:
                self._publisher.media(event.messages, now_ns)
            return
        match event:
            case ConnectReceived():
                self._connect = event
                if self._endpoint.connecting is not None and self.session.decides_connect:
                    self._decide(self._admit(self._endpoint.connecting, event))
            case PublishRequested():
                self._decide(self._publish(event))
            case PlayRequested():
                self._decide(self._play(event))
            case PauseRequested() | ReceiveAudioRequested() | ReceiveVideoRequested():
                if self._watch is not None:
                    self._watch.handle(event)
            case PlayEnded(reason=reason):
                self._unwatch(reason)
            case DataReceived(name="onMetaData"):
                if self._publisher is not None:
                    self._publisher.metadata(event.values)
            case PublishEnded(reason=reason):
                self._unpublish(reason)
            case RequestRefused(reason=reason):
                self._outcome = "refused"
                self._endpoint.complain("%s: %s", self._peer, reason)
            case Closed(reason=reason):
                self._end(reason)

    def _decide(self, decision: Coroutine[object, object, None]) -> None:
        self._stop_deciding()
        self._deciding = asyncio.get_running_loop().create_task(decision)

    def _stop_deciding(self) -> None:
        deciding, self._deciding = self._deciding, None
        if deciding is not None:
            deciding.cancel()

    async def _admit(self, connecting: Connecting, connect: ConnectReceived) -> None:
        """Asks whether the peer may connect, and what it can prove."""
        attempt = connect_attempt(connect, remote_ip=self.remote_ip, local=self._is_local())
        try:
            self._proven = await connecting.open(attempt)
        except RefusedError as refusal:
            self._outcome = "refused"
            self._endpoint.complain("%s may not connect", self._peer)
            self.session.reject_connect(str(refusal))
            self._flush()
            return
        self._deciding, self._admitted = None, attempt
        now_ns = self._endpoint.now_ns()
        self.session.accept_connect(now_ns)
        for event in self.session.events():
            self._handle(event, now_ns)
        self._flush()

    async def _publish(self, request: PublishRequested) -> None:
        """Asks whether the peer may publish, and lets it."""
        try:
            publication = await self._endpoint.publishing.open(self._attempt(request))
        except RefusedError as refusal:
            self._outcome = "refused"
            self._endpoint.complain("%s may not publish: %s", self._peer, refusal)
            self.session.reject_publish(request, str(refusal), refusal.rtmp_code)
            self._flush()
            return
        now_ns, transport = self._endpoint.now_ns(), self._transport
        accepted = not self._closing and self.session.accept_publish(request, now_ns)
        if transport is None or not accepted:
            publication.close("the publisher left while it was let in")
            return
        self._publisher = RtmpPublisher(publication, self._peer, transport, self.work)
        self._let_in()
        self._outcome = "published"
        for event in self.session.events():
            self._handle(event, now_ns)
        self._flush()

    def _let_in(self) -> None:
        """A publisher is no stranger. A player stays one: it has little to say, anybody is one."""
        self._may = True
        unread = self._endpoint.strangers.forget(self)
        if unread:
            self.resume_reading()
            self.work(unread)

    def _attempt(self, request: PublishRequested | PlayRequested) -> Attempt:
        return media_attempt(
            request,
            self._connect,
            self._proven,
            connection=self._admitted.id if self._admitted else "",
            remote_ip=self.remote_ip,
            local=self._is_local(),
            close=self.kick,
        )

    def _is_local(self) -> bool:
        return is_loopback_request(
            self.remote_ip,
            {},
            self._connect.host if self._connect else None,
            trusted_proxies_configured=self._endpoint.has_proxies,
        )

    def _unpublish(self, reason: str) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close(reason)

    # ---- playing ----------------------------------------------------------------------------

    async def _play(self, request: PlayRequested) -> None:
        """Asks whether the peer may play, waits for the stream if need be, and lets it."""
        connect, door = self._connect, self._endpoint.play
        try:
            if door is None:
                raise NotFoundError("this listener does not play")
            four_ccs = connect.four_ccs if connect else ()
            watch = await door.open(self._attempt(request), four_ccs, self._peer)
        except RefusedError as refusal:
            self._outcome = "refused"
            self._endpoint.complain("%s may not play: %s", self._peer, refusal)
            self.session.reject_play(request, str(refusal), play_code(refusal))
            self._flush()
            return
        transport = self._transport
        if self._closing or transport is None or not self.session.accept_play(request):
            watch.close("the player left while it was let in")
            return
        self._watch, self._may = watch, True
        self._outcome = "played"
        self._flush()
        watch.begin(transport, request.stream_id, partial(self._watched, request.stream_id))

    def _watched(self, stream_id: int, reason: str, over: bool) -> None:
        """The fan-out has let the player go."""
        if self._closing:
            return
        if not over:
            self._outcome = "too_slow"
            self._endpoint.complain("%s closed: %s", self._peer, reason)
            self._closing = True
            self.abort()
            return
        now_ns = self._endpoint.now_ns()
        self.session.end_play(stream_id, reason, now_ns)
        for event in self.session.events():
            self._handle(event, now_ns)
        self._flush()

    def _unwatch(self, reason: str) -> None:
        # A player that gave up may still be waiting for its stream.
        self._stop_deciding()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close(reason)

    # ---- closing ----------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._rests:
            # Something was said, by the peer or by us: that may have set a deadline.
            self._rests = False
            self._endpoint.look_after(self)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        data = self.session.bytes_to_send()
        if data:
            transport.write(data)
        elif not self.session.close_after_flush:
            return  # what is unsent was looked at when it was written
        limit, unsent = _MAX_UNSENT_BYTES, transport.get_write_buffer_size()
        if self._watch is not None:
            limit = _MAX_UNSENT_PLAYING_BYTES
            if unsent:
                self._watch.wait_for_transport()
        if unsent > limit:
            self._outcome = "stalled"
            self._end("it does not read what it is sent")
        elif self.session.close_after_flush and not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_later(CLOSE_AFTER_S, _close, transport)

    def _end(self, reason: str) -> None:
        """Closes after an error or the session's end; one line, and none for a mere probe."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        if self._outcome not in ("published", "played", "closed"):
            self._endpoint.complain("%s closed: %s", self._peer, reason)
        _close(self._transport)

    def _is_too_much(self) -> bool:
        return self.session.bytes_received > self._endpoint.settings.max_bytes_before_auth

    def _read_proxy_header(self, data: bytes) -> bytes:
        """Takes the PROXY header off; answers what follows it."""
        assert self._proxy is not None
        try:
            header = self._proxy.receive(data)
        except RemoteProtocolError as error:
            self._outcome = "protocol_error"
            self._endpoint.complain("%s: %s", self._peer, error)
            self._closing = True
            if self._transport is not None:
                self._transport.abort()
            return b""
        if header is None:
            return b""
        if header.source is not None:
            self.remote_ip = header.source[0]
            self._peer = f"{header.source[0]}:{header.source[1]} (via {self.peer_ip})"
            if self._endpoint.is_banned(self.remote_ip):
                self._outcome = "banned"
                self._closing = True
                self.abort()
                return b""
        rest, self._proxy = self._proxy.remainder(), None
        return rest


def _close(transport: asyncio.Transport) -> None:
    """Closes, or cuts who has not read what it was sent: it would keep that for ever."""
    if transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
        transport.abort()
    else:
        transport.close()


def _notice_dead_peers(transport: asyncio.Transport) -> None:
    """Asks the kernel to give up on peers that vanish without a word."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
