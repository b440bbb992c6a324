"""A WebRTC publisher without sockets and encryption: decrypted packets to the log, in one process.

Beside it aiortc's way: its parser, jitter buffer and decoder, on the same packets.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc.codecs import depayload, get_decoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import HeaderExtensionsMap
from aiortc.rtp import RtpPacket as TheirPacket

from benchmarks import clip
from benchmarks.results import Row
from streamserver.clock import Clock
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.ingest.webrtc import WebRtcIngest
from streamserver.media.flv import VideoConfig, VideoFrame, parse_video
from streamserver.media.nal import split_prefixed
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.rtp.packet import build_packet
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.receiver import TRANSPORT_CC_URI
from tests.fakes import FakeClock, Turns, session
from tests.rtp.publisher import h264_payloads, stap_a

__all__ = ["run"]

_BUDGET = 0.15
_TICK_NS = 20_000_000
_VIDEO = 9
"""Message type of RTMP video."""

_LINES = (
    MediaLine(
        mid="0", codec=Codec.H264, payload_type=102, clock_rate=90_000, rtx_payload_type=103,
        nack=True, pli=True, transport_cc=True, extensions={TRANSPORT_CC_URI: 3},
    ),
    MediaLine(
        mid="1", codec=Codec.OPUS, payload_type=111, clock_rate=48_000, transport_cc=True,
        extensions={TRANSPORT_CC_URI: 3},
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A packet and when it comes."""

    at_ns: int
    """Monotonic time."""

    data: bytes
    """The packet."""


def run(rounds: int, seconds: float) -> list[Row]:
    """Ours and aiortc's in turn, on the clip as RTP."""
    row = Row("whip", "1 x 2.5 Mbit/s and Opus, no socket, no SRTP", "CPU ms per stream-second",
              "aiortc parsing and decoding", _BUDGET)  # fmt: skip
    arrivals = list(_arrivals())
    media_s = (arrivals[-1].at_ns - arrivals[0].at_ns) / 1e9
    for _ in range(rounds):
        row.ours.append(_ours(arrivals) / media_s)
        row.theirs.append(_theirs(arrivals) / media_s)
    row.notes = {
        "packets": len(arrivals),
        "us_per_packet": [ms * media_s * 1000 / len(arrivals) for ms in row.ours],
    }
    return [row]


def _arrivals() -> Iterator[_Arrival]:
    """The clip's pictures and 50 packets of sound a second, evenly spread."""
    events: list[tuple[int, int, list[bytes]]] = []
    sets: list[bytes] = []
    loaded = clip.load()
    for kind, body in loaded.headers:
        for item in parse_video(body) if kind == _VIDEO else ():
            if isinstance(item, VideoConfig):
                sets = _sets_of(item.config)
    for kind, at_ms, body in loaded.messages:
        for item in parse_video(body) if kind == _VIDEO else ():
            if isinstance(item, VideoFrame):
                nals = [nal for nal in split_prefixed(item.data, 4) if nal[0] & 0x1F in (1, 5)]
                payloads = h264_payloads(*nals, most=1180)
                if any(nal[0] & 0x1F == 5 for nal in nals):
                    payloads = [stap_a(*sets), *payloads]
                events.append((at_ms, 102, payloads))
    events += [(at_ms, 111, [b"\xfc" + bytes(220)]) for at_ms in range(0, loaded.duration_ms, 20)]
    numbers = {102: 0, 111: 0}
    transport = 0
    for at_ms, payload_type, payloads in sorted(events, key=lambda event: event[0]):
        rate = 90 if payload_type == 102 else 48
        for index, payload in enumerate(payloads):
            numbers[payload_type] += 1
            transport += 1
            data = build_packet(
                payload_type=payload_type, sequence=numbers[payload_type] & 0xFFFF,
                timestamp=at_ms * rate, ssrc=payload_type, payload=payload,
                marker=index == len(payloads) - 1 and payload_type == 102,
                extensions={3: (transport & 0xFFFF).to_bytes(2, "big")},
            )  # fmt: skip
            yield _Arrival(10**9 + at_ms * 1_000_000 + index * 200_000, data)


def _sets_of(avcc: bytes) -> list[bytes]:
    """The one SPS and the one PPS of avcC."""
    sps_end = 8 + int.from_bytes(avcc[6:8])
    pps = sps_end + 3
    return [avcc[8:sps_end], avcc[pps : pps + int.from_bytes(avcc[pps - 2 : pps])]]


def _ours(arrivals: Sequence[_Arrival]) -> float:
    """CPU ms for all of them."""
    ingest = asyncio.run(_ingest())
    tick_ns = 0
    begin = time.process_time()
    for arrival in arrivals:
        if arrival.at_ns >= tick_ns:
            tick_ns = arrival.at_ns + _TICK_NS
            ingest.tick(arrival.at_ns)
        ingest.rtp(arrival.data, arrival.at_ns)
    passed = time.process_time() - begin
    stats = ingest.stats
    assert stats.lost == stats.malformed == stats.damaged_frames == 0
    assert stats.frames > len(arrivals) // 10
    return passed * 1000


async def _ingest() -> WebRtcIngest:
    clock: Clock = FakeClock()
    registry = Registry(clock, Turns(), RegistrySettings(bounds=LogBounds()))
    lease = await registry.claim(StreamKey("live", "cam"), session())
    return WebRtcIngest(
        lease, _LINES, send_rtcp=lambda data: None, clock=clock, ended=lambda reason: None
    )


def _theirs(arrivals: Sequence[_Arrival]) -> float:
    """The same through the parts of aiortc that its receiver uses."""
    lanes: dict[int, tuple[JitterBuffer, Any]] = {
        102: (
            JitterBuffer(capacity=512, is_video=True),
            get_decoder(RTCRtpCodecParameters("video/H264", 90_000, payloadType=102)),
        ),
        111: (
            JitterBuffer(capacity=16, prefetch=4),
            get_decoder(RTCRtpCodecParameters("audio/opus", 48_000, 2, payloadType=111)),
        ),
    }
    names = {
        102: RTCRtpCodecParameters("video/H264", 90_000, payloadType=102),
        111: RTCRtpCodecParameters("audio/opus", 48_000, 2, payloadType=111),
    }
    extensions = HeaderExtensionsMap()
    begin = time.process_time()
    for arrival in arrivals:
        packet = TheirPacket.parse(arrival.data, extensions)
        if not packet.payload:
            continue
        packet._data = depayload(names[packet.payload_type], packet.payload)  # type: ignore[attr-defined]
        buffer, decoder = lanes[packet.payload_type]
        _, frame = buffer.add(packet)
        if frame is not None and packet.payload_type == 102:
            decoder.decode(frame)
    return (time.process_time() - begin) * 1000
