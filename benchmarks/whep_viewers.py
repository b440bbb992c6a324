"""Load: many viewers over WebRTC that shake hands for real, and then count what comes.

``python -m benchmarks.whep_viewers URL COUNT SECONDS``: says on a line when all of them get media,
then on another what they got. The first opens every packet; the others count bytes, and take what
the kernel joined in one piece (UDP_GRO), so that they cost little.
"""

import json
import os
import resource
import selectors
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streamserver.errors import PeerError
from streamserver.rtp.packet import parse_packet
from streamserver.rtp.rtcp import ReceiverReport
from streamserver.webrtc import stun
from streamserver.webrtc.dtls import DtlsLink
from streamserver.webrtc.private import Certificate
from streamserver.webrtc.srtp import Arena, SrtpIn, SrtpOut

__all__ = ["Viewer", "check", "connect", "lateness", "on_stun"]

_SOL_UDP: Final = 17
_UDP_GRO: Final = 104
_CONNECT_S: Final = 10
_SETTLE_S: Final = 2
_EVERY_S: Final = 1.0
_VIDEO: Final = 102
_CLOCK_PER_MS: Final = 90

_OFFER: Final = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
{transport}
a=mid:0
a=recvonly
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
m=video 9 UDP/TLS/RTP/SAVPF 102 103
{transport}
a=mid:1
a=recvonly
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
"""
_TRANSPORT: Final = """c=IN IP4 0.0.0.0
a=rtcp-mux
a=ice-ufrag:load
a=ice-pwd:{password}
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass"""

_PASSWORD: Final = "p" * 24


@dataclass(slots=True, eq=False)
class Viewer:
    """One viewer, connected."""

    sock: socket.socket
    ufrag: str
    password: str
    bytes: int = 0
    packets: int = 0
    damaged: int = 0
    gaps: int = 0
    opener: SrtpIn | None = None
    protector: SrtpOut | None = None
    last: dict[int, int] = field(default_factory=dict)
    came: list[tuple[int, float]] = field(default_factory=list)
    """Of each picture its time stamp, and when the last packet of it came, in ms."""


def _post(url: str, certificate: Certificate) -> dict[str, str]:
    transport = _TRANSPORT.format(password=_PASSWORD, fingerprint=certificate.fingerprint)
    offer = _OFFER.format(transport=transport).replace("\n", "\r\n").encode()
    request = urllib.request.Request(url, offer, {"Content-Type": "application/sdp"})
    with urllib.request.urlopen(request, timeout=_CONNECT_S) as response:
        answer = response.read().decode()
    found: dict[str, str] = {}
    for line in answer.splitlines():
        name, _, value = line.removeprefix("a=").partition(":")
        if name in ("ice-ufrag", "ice-pwd", "setup"):
            found.setdefault(name, value)
        elif name == "fingerprint" and value.startswith("sha-256 "):
            found["fingerprint"] = value.removeprefix("sha-256 ")
        elif name == "candidate" and " udp " in value and " 127.0.0.1 " in value:
            found.setdefault("port", value.split()[5])
    return found


def connect(url: str, certificate: Certificate) -> Viewer:
    """The whole way from the offer to the keys. Raises `PeerError`."""
    answer = _post(url, certificate)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.connect(("127.0.0.1", int(answer["port"])))
    viewer = Viewer(sock, answer["ice-ufrag"], answer["ice-pwd"])
    # Whoever answers "active" begins; otherwise we do.
    link = DtlsLink(
        certificate,
        server=answer["setup"] == "active",
        fingerprints=[("sha-256", answer["fingerprint"])],
    )
    deadline = time.monotonic() + _CONNECT_S
    checked = False
    check(viewer)
    sock.settimeout(0.05)
    while link.keys is None and time.monotonic() < deadline:
        try:
            data = sock.recv(65_536)
        except TimeoutError:
            if checked:
                for datagram in link.on_timeout():
                    sock.send(datagram)
            else:
                check(viewer)
            continue
        if data[0] < 4:
            on_stun(viewer, data)
            if not checked:
                checked = True
                for datagram in link.start():
                    sock.send(datagram)
        elif 19 < data[0] < 64:
            for datagram in link.receive(data):
                sock.send(datagram)
    if link.keys is None:
        raise PeerError("a viewer did not get connected")
    viewer.opener, viewer.protector = SrtpIn(link.keys), SrtpOut(link.keys)
    sock.setblocking(False)
    return viewer


def check(viewer: Viewer) -> None:
    """A connectivity check, which nominates, and later keeps the consent."""
    name, password = f"{viewer.ufrag}:load".encode(), viewer.password.encode()
    check = stun.request(
        os.urandom(12), name, password, priority=1853824767, controlling=1, use_candidate=True
    )
    viewer.sock.send(check)


def on_stun(viewer: Viewer, data: bytes) -> None:
    """Answers a check; takes an answer to ours."""
    message = stun.parse(data)
    if message.kind is stun.Kind.REQUEST:
        there = viewer.sock.getpeername()
        answer = stun.success(message.transaction_id, (there[0], there[1]), _PASSWORD.encode())
        viewer.sock.send(answer)


class _Load:
    """All viewers, in one thread."""

    def __init__(self, viewers: list[Viewer]) -> None:
        self._viewers = viewers
        self._first = viewers[0]
        self._arena = Arena(4_096)
        self._buffer = memoryview(bytearray(1 << 16))
        self._selector = selectors.EpollSelector()
        for viewer in viewers:
            if viewer is not self._first:
                viewer.sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
            self._selector.register(viewer.sock, selectors.EVENT_READ, viewer)

    def run(self, seconds: float) -> None:
        """Takes what comes for so long, and says that it is there as a browser would."""
        end = time.monotonic() + seconds
        due = time.monotonic()
        while (now := time.monotonic()) < end:
            for key, _ in self._selector.select(0.05):
                self._take(key.data)
            if now >= due:
                due = now + _EVERY_S
                for viewer in self._viewers:
                    self._report(viewer)
                    check(viewer)

    def _take(self, viewer: Viewer) -> None:
        for _ in range(16):
            try:
                size = viewer.sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            first = self._buffer[0]
            if first < 4:
                on_stun(viewer, bytes(self._buffer[:size]))
            elif 127 < first < 192:
                viewer.bytes += size
                if viewer is self._first and not 192 <= self._buffer[1] <= 223:
                    self._open(viewer, size)

    def _open(self, viewer: Viewer, size: int) -> None:
        assert viewer.opener is not None
        self._arena.view[:size] = self._buffer[:size]
        plain = viewer.opener.unprotect(self._arena, size)
        if plain is None:
            viewer.damaged += 1
            return
        packet = parse_packet(plain)
        viewer.packets += 1
        last = viewer.last.get(packet.ssrc)
        if last is not None and packet.sequence != last + 1 & 0xFFFF:
            viewer.gaps += 1
        viewer.last[packet.ssrc] = packet.sequence
        if packet.marker and packet.payload_type == _VIDEO:
            viewer.came.append((packet.timestamp, time.monotonic() * 1000))

    def _report(self, viewer: Viewer) -> None:
        assert viewer.protector is not None
        report = ReceiverReport(ssrc=1).to_bytes()
        self._arena.data[: len(report)] = report
        size = viewer.protector.protect_rtcp(self._arena, len(report))
        viewer.sock.send(self._arena.view[:size])


def lateness(came: Sequence[tuple[int, float]]) -> dict[str, float]:
    """How much later than the fastest picture the others came, in ms: what turns of the loop, the
    number of viewers, and the machine added."""
    if not came:
        return {}
    first = came[0][0]
    delays = [at - (stamp - first & 0xFFFF_FFFF) / _CLOCK_PER_MS for stamp, at in came]
    least, count = min(delays), len(delays)
    ordered = sorted(delay - least for delay in delays)
    return {"p50": ordered[count // 2], "p99": ordered[count * 99 // 100], "most": ordered[-1]}


def main() -> int:
    """Connects, settles, measures."""
    url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    certificate = Certificate()
    viewers: list[Viewer] = []
    handshakes = []
    for _ in range(count):
        began = time.monotonic()
        viewers.append(connect(url, certificate))
        handshakes.append((time.monotonic() - began) * 1000)
    load = _Load(viewers)
    load.run(_SETTLE_S)
    if any(not viewer.bytes for viewer in viewers):
        return 1
    for viewer in viewers:
        viewer.bytes = viewer.packets = viewer.damaged = viewer.gaps = 0
        viewer.came.clear()
    print("ready", flush=True)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    load.run(seconds)
    after, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = {
        "cpu_ms": cpu * 1000,
        "seconds": elapsed,
        "fewest_bytes": min(viewer.bytes for viewer in viewers),
        "most_bytes": max(viewer.bytes for viewer in viewers),
        "lost": 0,
        "opened": viewers[0].packets,
        "damaged": viewers[0].damaged,
        "gaps": viewers[0].gaps,
        "connect_ms": sorted(handshakes)[len(handshakes) // 2],
        "late_ms": lateness(viewers[0].came),
    }
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
