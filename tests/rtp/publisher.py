"""A publisher and its network in simulated time: packets that are lost, late, doubled or overtaken.

Its pictures are H.264 in name only: slices say which frame they belong to, so that a test can tell
what arrived. It answers requests as browsers do: keyframes on PLI, lost packets over RTX.
"""

import heapq
import random
from collections.abc import Callable
from itertools import count

from streamserver.media.track import Codec
from streamserver.rtp.packet import build_packet
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.receiver import TRANSPORT_CC_URI
from streamserver.rtp.rtcp import (
    Nack,
    Pli,
    ReceiverReport,
    SenderReport,
    TransportFeedback,
    parse_rtcp,
)
from tests.rtp.h264_sets import pps, sps

VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 1111, 2222, 3333
SECOND = 1_000_000_000
MS = 1_000_000

VIDEO = MediaLine(
    mid="0", codec=Codec.H264, payload_type=102, clock_rate=90_000, rtx_payload_type=103,
    nack=True, pli=True, transport_cc=True, extensions={TRANSPORT_CC_URI: 3},
)  # fmt: skip
AUDIO = MediaLine(
    mid="1", codec=Codec.OPUS, payload_type=111, clock_rate=48_000, transport_cc=True,
    extensions={TRANSPORT_CC_URI: 3},
)  # fmt: skip

OPUS = {20: b"\xfc", 60: b"\x1c"}
"""TOC bytes of one stereo frame, by milliseconds."""


def stap_a(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def h264_payloads(*units: bytes, most: int = 1100) -> list[bytes]:
    """One payload for each unit, fragments for long ones."""
    payloads = []
    for unit in units:
        if len(unit) <= most:
            payloads.append(unit)
            continue
        pieces = [unit[at : at + most] for at in range(1, len(unit), most)]
        for index, piece in enumerate(pieces):
            flags = 0x80 * (index == 0) | 0x40 * (index == len(pieces) - 1)
            payloads.append(bytes((unit[0] & 0xE0 | 28, flags | unit[0] & 0x1F)) + piece)
    return payloads


class Publisher:
    """Sends for as long as `run` says."""

    def __init__(
        self,
        deliver: Callable[[bytes, int], None],
        deliver_rtcp: Callable[[bytes, int], None],
        tick: Callable[[int], None],
        *,
        seed: int = 1,
        loss: float = 0.0,
        duplicates: float = 0.0,
        delay_ms: int = 20,
        jitter_ms: int = 0,
        rtx: bool = True,
        fps: int = 30,
        keyframe_bytes: int = 12_000,
        frame_bytes: int = 5_000,
        tick_ms: int = 20,
        sound_ms: int = 20,
        audio: bool = True,
        start_ns: int = 5 * SECOND,
    ) -> None:
        self.random = random.Random(seed)
        self.now_ns = start_ns
        self.loss, self.duplicates, self.rtx = loss, duplicates, rtx
        self.delay_ms, self.jitter_ms = delay_ms, jitter_ms
        self.fps, self.keyframe_bytes, self.frame_bytes = fps, keyframe_bytes, frame_bytes
        self.audio = audio
        self.video = True
        self.size = (1280, 720)
        self.sent_frames: dict[int, int] = {}
        self.keyframes: list[int] = []
        self.lost = self.plis = 0
        self.nacked: list[int] = []
        self.feedback: list[TransportFeedback] = []
        self.reports: list[ReceiverReport] = []
        self.video_ahead_ns = 0
        self.unheard_ns = 0
        """Sound that was not recorded: its time stamps do not count it."""
        self.sends_reports = True
        self._deliver, self._deliver_rtcp, self._tick = deliver, deliver_rtcp, tick
        self._tick_ms, self._sound_ms = tick_ms, sound_ms
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._frame = 0
        self._wants_keyframe = True
        self._sequences = {VIDEO_SSRC: 65_000, RTX_SSRC: 10, AUDIO_SSRC: 65_500}
        self._transport = 65_300
        self._history: dict[int, tuple[int, bytes, bool]] = {}
        self._stamps = {VIDEO_SSRC: 0xFFFF_0000, AUDIO_SSRC: 0xFFFF_F000}
        self._start_ns = start_ns
        self._at(start_ns, self._video)
        self._at(start_ns + 7 * MS, self._sound)
        self._at(start_ns, self._ticks)
        self._at(start_ns + SECOND // 2, self._report)

    def run(self, seconds: float) -> None:
        end = self.now_ns + int(seconds * SECOND)
        while self._events and self._events[0][0] <= end:
            self.now_ns, _, event = heapq.heappop(self._events)
            event()
        self.now_ns = end

    def rtcp(self, datagram: bytes) -> None:
        """What the server sends: it takes as long as media."""
        if self.random.random() >= self.loss:
            self._at(self.now_ns + self.delay_ms * MS, lambda: self._asked(datagram))

    def _at(self, ns: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (ns, next(self._order), event))

    def _ticks(self) -> None:
        self._tick(self.now_ns)
        self._at(self.now_ns + self._tick_ms * MS, self._ticks)

    def _asked(self, datagram: bytes) -> None:
        for packet in parse_rtcp(datagram):
            match packet:
                case Pli(media_ssrc=ssrc):
                    assert ssrc == VIDEO_SSRC
                    self.plis += 1
                    self._wants_keyframe = True
                case Nack(media_ssrc=ssrc, sequences=sequences):
                    assert ssrc == VIDEO_SSRC
                    self.nacked += sequences
                    for sequence in sequences if self.rtx else ():
                        self._again(sequence)
                case TransportFeedback():
                    self.feedback.append(packet)
                case ReceiverReport():
                    self.reports.append(packet)

    def _again(self, sequence: int) -> None:
        if sequence in self._history:
            stamp, payload, marker = self._history[sequence]
            original = sequence.to_bytes(2, "big") + payload
            self._send(RTX_SSRC, 103, stamp, original, marker)

    def _ticks_of(self, ssrc: int, rate: int) -> int:
        elapsed = self.now_ns - self._start_ns
        if ssrc == AUDIO_SSRC:
            elapsed -= self.unheard_ns
        return self._stamps[ssrc] + elapsed * rate // SECOND & 0xFFFF_FFFF

    def _video(self) -> None:
        self._at(self.now_ns + SECOND // self.fps, self._video)
        if not self.video:
            return
        number, self._frame = self._frame, self._frame + 1
        label = number.to_bytes(4, "big")
        if self._wants_keyframe:
            self._wants_keyframe = False
            self.keyframes.append(number)
            slices = b"\x65" + label + bytes(self.keyframe_bytes - 5)
            payloads = [stap_a(sps(*self.size), pps()), *h264_payloads(slices)]
        else:
            payloads = h264_payloads(b"\x41" + label + bytes(self.frame_bytes - 5))
        stamp = self._ticks_of(VIDEO_SSRC, 90_000)
        self.sent_frames[number] = stamp
        for payload in payloads:
            self._send(VIDEO_SSRC, 102, stamp, payload, payload is payloads[-1])

    def _sound(self) -> None:
        self._at(self.now_ns + self._sound_ms * MS, self._sound)
        if self.audio:
            stamp = self._ticks_of(AUDIO_SSRC, 48_000)
            self._send(AUDIO_SSRC, 111, stamp, OPUS[self._sound_ms] + bytes(100), False)

    def _report(self) -> None:
        self._at(self.now_ns + SECOND, self._report)
        if not self.sends_reports:
            return
        for ssrc, rate in ((VIDEO_SSRC, 90_000), (AUDIO_SSRC, 48_000)):
            wall_ns = 3_900_000_000 * SECOND + self.now_ns
            if ssrc == VIDEO_SSRC:
                wall_ns += self.video_ahead_ns
            stamp = self._ticks_of(ssrc, rate)
            ntp = (wall_ns << 32) // SECOND
            report = SenderReport(ssrc=ssrc, ntp=ntp, rtp_time=stamp, packets=1, octets=1)
            data = report.to_bytes()
            self._at(
                self.now_ns + self.delay_ms * MS,
                lambda data=data: self._deliver_rtcp(data, self.now_ns),  # type: ignore[misc]
            )

    def _send(self, ssrc: int, payload_type: int, stamp: int, payload: bytes, marker: bool) -> None:
        sequence = self._sequences[ssrc]
        self._sequences[ssrc] = sequence + 1 & 0xFFFF
        if ssrc == VIDEO_SSRC:
            self._history[sequence] = (stamp, payload, marker)
            self._history.pop(sequence - 2_000 & 0xFFFF, None)
        transport = self._transport = self._transport + 1 & 0xFFFF
        packet = build_packet(
            payload_type=payload_type, sequence=sequence, timestamp=stamp, ssrc=ssrc,
            payload=payload, marker=marker, extensions={3: transport.to_bytes(2, "big")},
        )  # fmt: skip
        if self.random.random() < self.loss:
            self.lost += 1
            return
        copies = 2 if self.random.random() < self.duplicates else 1
        for _ in range(copies):
            late_ms = self.delay_ms + self.random.random() * self.jitter_ms
            self._at(self.now_ns + int(late_ms * MS), lambda: self._deliver(packet, self.now_ns))
