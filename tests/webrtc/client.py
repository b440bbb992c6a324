"""Clients of the WebRTC transport, for everybody's tests.

`WireClient` is a controlling ICE agent that does what a test says, check by check, over UDP or
TCP, with aiortc's own DTLS and SRTP above: `RTCDtlsTransport`, not ours. `Browser` is a whole
`RTCPeerConnection`, with aioice's full ICE over the loopback: it offers, publishes frames that
were encoded before, and collects the RTP that it is sent. Nothing here sleeps.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any
from unittest import mock

import aioice.ice
import av
from aioice import stun
from aiortc import (
    RTCBundlePolicy,
    RTCCertificate,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtp import RtpPacket

from streamserver.clock import SystemClock
from streamserver.webrtc.mux import Mux, MuxSettings
from streamserver.webrtc.peer import Peer

WAIT_S = 60


class Recorder:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.is_connected = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.reasons: list[str] = []
        self.rtp_packets: asyncio.Queue[bytes] = asyncio.Queue()
        self.rtcp_packets: asyncio.Queue[bytes] = asyncio.Queue()

    def connected(self) -> None:
        self.is_connected.set()

    def rtp(self, packet: bytes, now_ns: int) -> None:
        self.rtp_packets.put_nowait(packet)

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        self.rtcp_packets.put_nowait(packet)

    def closed(self, reason: str) -> None:
        self.reasons.append(reason)
        self.is_closed.set()


@contextlib.asynccontextmanager
async def listening(clock: Any = None, **settings: Any) -> AsyncIterator[Mux]:
    """A listener on a free port of 127.0.0.1, or wherever the settings say."""
    mux = Mux(clock or SystemClock(), MuxSettings(**{"host": "127.0.0.1", "port": 0, **settings}))
    await mux.start()
    try:
        yield mux
    finally:
        await mux.close()


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop turn until something is so."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0)


class WireClient:
    """One peer on the wire: it checks, shakes hands and sends when it is told to."""

    def __init__(self) -> None:
        self.certificate = RTCCertificate.generateCertificate()
        self.role = "controlling"
        """What aiortc's DTLS asks its ICE transport."""
        self.rtp: asyncio.Queue[bytes] = asyncio.Queue()
        self.rtcp: asyncio.Queue[bytes] = asyncio.Queue()
        self.answers: asyncio.Queue[tuple[stun.Message, bytes]] = asyncio.Queue()
        self.ended = asyncio.Event()
        """The listener has closed the TCP connection."""
        self.dtls = RTCDtlsTransport(self, [self.certificate])  # type: ignore[arg-type]
        self.dtls._handle_rtp_data = self._on_rtp  # type: ignore[method-assign]
        self.dtls._handle_rtcp_data = self._on_rtcp  # type: ignore[method-assign]
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._transport: Any = None
        self._tcp = False

    @property
    def fingerprints(self) -> list[tuple[str, str]]:
        return [(one.algorithm, one.value) for one in self.certificate.getFingerprints()]

    @property
    def address(self) -> tuple[str, int]:
        """Where its packets come from."""
        name = self._transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    async def open_udp(self, port: int, host: str = "127.0.0.1", **options: Any) -> "WireClient":
        """A socket of its own; called again it moves to another one."""
        self._hang_up()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), remote_addr=(host, port), **options
        )
        self._tcp = False
        return self

    async def open_tcp(self, port: int, host: str = "127.0.0.1") -> "WireClient":
        self._hang_up()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: _Frames(self), host, port)
        self._tcp = True
        return self

    def describe_to(self, peer: Peer, *, setup: str = "actpass") -> None:
        """Gives the server our description."""
        peer.describe(ufrag="test", password="t" * 22, fingerprints=self.fingerprints, setup=setup)

    def request(
        self, peer: Peer, *, nominate: bool = True, password: str | None = None, **attributes: Any
    ) -> bytes:
        """A connectivity check, made by aioice."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = attributes.pop("username", f"{peer.ufrag}:test")
        message.attributes["PRIORITY"] = 1853824767
        message.attributes["ICE-CONTROLLING"] = 7
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.attributes.update(attributes)
        message.add_message_integrity((password or peer.password).encode())
        return bytes(message)

    async def check(self, peer: Peer, **options: Any) -> stun.Message:
        """Sends a check and waits for its answer, whose signature is verified."""
        self.send(self.request(peer, **options))
        message, _ = await asyncio.wait_for(self.answers.get(), WAIT_S)
        assert message.check_message_integrity(peer.password.encode())
        return message

    async def shake_hands(self, peer: Peer, *, server: bool = False) -> None:
        """The DTLS handshake; afterwards media may be sent."""
        self.dtls._set_role("server" if server else "client")
        theirs = RTCDtlsFingerprint(algorithm="sha-256", value=peer.fingerprint)
        await asyncio.wait_for(self.dtls.start(RTCDtlsParameters(fingerprints=[theirs])), WAIT_S)

    async def connect(self, peer: Peer) -> None:
        """Description, check and handshake, as a browser does it that offered."""
        self.describe_to(peer)
        await self.check(peer)
        await self.shake_hands(peer)

    async def send_media(self, packet: bytes) -> None:
        """Protects and sends RTP or RTCP."""
        await self.dtls._send_rtp(packet)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        if self._tcp:
            self._transport.write(struct.pack("!H", len(data)) + data)
        else:
            self._transport.sendto(data)

    def vanish(self) -> None:
        """Goes away without a word."""
        self._hang_up()
        self._inbox.put_nowait(None)

    async def close(self) -> None:
        """Says goodbye, and goes."""
        task = self.dtls._task
        await self.dtls.stop()
        self.vanish()
        if task is not None:
            await asyncio.wait([task])

    # What aiortc's DTLS calls on its ICE transport.

    async def _recv(self) -> bytes:
        data = await self._inbox.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.send(data)

    async def _on_rtp(self, data: bytes, arrival_time_ms: int) -> None:
        self.rtp.put_nowait(data)

    async def _on_rtcp(self, data: bytes) -> None:
        self.rtcp.put_nowait(data)

    def received(self, data: bytes) -> None:
        if data[0] < 4:
            self.answers.put_nowait((stun.parse_message(data), data))
        else:
            self._inbox.put_nowait(data)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, client: WireClient) -> None:
        self._client = client

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._client.received(data)


class _Frames(asyncio.Protocol):
    def __init__(self, client: WireClient) -> None:
        self._client = client
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            size = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < 2 + size:
                return
            frame, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
            self._client.received(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.ended.set()


# ---- a whole browser


@contextlib.contextmanager
def loopback_ice(addresses: Sequence[str] = ("127.0.0.1",)) -> Iterator[None]:
    """Lets aioice gather addresses of the loopback, which it leaves out."""
    with mock.patch.object(aioice.ice, "get_host_addresses", return_value=list(addresses)):
        yield


class EncodedTrack(MediaStreamTrack):
    """A track of frames that were encoded before; the sender packetizes them as they are."""

    def __init__(self, kind: str, clock_rate: int = 90000) -> None:
        super().__init__()
        self.kind = kind
        self._time_base = Fraction(1, clock_rate)
        self._frames: asyncio.Queue[av.Packet[Any]] = asyncio.Queue()

    def push(self, data: bytes, timestamp: int) -> None:
        """A frame (Annex B for H.264, one packet for Opus) at a time in ticks."""
        packet = av.Packet(data)
        packet.pts = packet.dts = timestamp
        packet.time_base = self._time_base
        self._frames.put_nowait(packet)

    async def recv(self) -> Any:
        return await self._frames.get()


class Browser:
    """`RTCPeerConnection` with what tests ask of it. Use it as an async context manager."""

    def __init__(self, bundle: RTCBundlePolicy = RTCBundlePolicy.BALANCED) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=bundle))
        self.is_connected = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.received: dict[str, asyncio.Queue[RtpPacket]] = {}
        """RTP by kind (``video``, ``audio``), decrypted and parsed, not decoded."""
        self.connection.on("connectionstatechange", self._on_state)

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    def publish(self, track: EncodedTrack) -> None:
        """Sends a track; before `offer`."""
        self.connection.addTransceiver(track, direction="sendonly")

    def play(self, *kinds: str) -> None:
        """Wants to be sent these kinds; before `offer`. See `listens`."""
        for kind in kinds:
            transceiver = self.connection.addTransceiver(kind, direction="recvonly")
            queue: asyncio.Queue[RtpPacket] = asyncio.Queue()
            self.received[kind] = queue

            async def take(
                packet: RtpPacket,
                arrival_time_ms: int,
                queue: asyncio.Queue[RtpPacket] = queue,
            ) -> None:
                queue.put_nowait(packet)

            transceiver.receiver._handle_rtp_packet = take  # type: ignore[method-assign]

    async def offer(self) -> str:
        """The offer, with all candidates."""
        with loopback_ice():
            await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Takes the answer; `is_connected` follows."""
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def talk(self, label: str = "talk") -> Any:
        """A data channel; before `offer`."""
        return self.connection.createDataChannel(label)

    def listens(self, kind: str) -> bool:
        """Whether it takes media of a kind: some turns of the loop after it is connected."""
        receivers = (one.receiver for one in self.connection.getTransceivers() if one.kind == kind)
        return any(one in one.transport._rtp_router.receivers for one in receivers)

    async def wait_connected(self) -> None:
        await asyncio.wait_for(self.is_connected.wait(), WAIT_S)

    def _on_state(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self.is_connected.set()
        elif state in ("closed", "failed"):
            self.is_closed.set()
