"""From RTP packets of a publisher to frames for the assembler, and what the publisher is told.

Knows no transport: packets come decrypted, and RTCP goes out plain.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamserver.clock import Clock
from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.hub.rates import RateMeter
from streamserver.hub.registry import Lease
from streamserver.hub.stream import Stream
from streamserver.ingest.assembler import Assembler, Frame
from streamserver.ingest.in_band import config_of
from streamserver.media.track import Codec, Kind
from streamserver.rtp.frames import RtpFrame
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.receiver import Receiver
from streamserver.rtp.source import Source

__all__ = ["SourceStats", "WebRtcIngest", "WebRtcIngestStats"]

_MS: Final = 1_000_000

_LEAD_NS: Final = 10_000 * _MS
"""The place of the first packet on the time line: nothing ever comes to lie before its zero."""

_KEYFRAME_GAP_NS: Final = 500 * _MS
"""The least between two requests for keyframes: each costs the publisher some of its bit rate."""

_SILENT_NS: Final = 2_000 * _MS
"""A source that sends nothing is not asked for keyframes."""

_RATE_NS: Final = 250 * _MS
"""How often bytes are counted for the bit rate."""

_BYE_NS: Final = 300 * _MS
"""After the good-bye of every source, how long another may take to come."""

_DEAD_NS: Final = 8_000 * _MS
"""A publisher of whom nothing came for so long is gone: even one that is muted sends reports every
few seconds (RFC 3550, section 6.2). Its connection may still come to life again: ICE gives it up
after 30 s (RFC 7675, section 5.1), and browsers are not faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStats:
    """How one source arrives."""

    mid: str
    """Its line."""

    codec: Codec
    """What it sends."""

    packets: int
    """Packets that came by themselves."""

    lost: int
    """Packets that did not; some of them were recovered."""

    jitter_ms: float
    """Variation of the transit time."""

    frames: int
    """Frames handed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRtcIngestStats:
    """How a publisher's media arrives. All counts since it connected."""

    packets: int
    """RTP packets, padding and retransmissions included."""

    bytes: int
    """Their bytes, without those of encryption."""

    bit_rate: int
    """Bits per second over the last few seconds."""

    lost: int
    """Packets that did not come by themselves, as receiver reports tell it."""

    recovered: int
    """Packets that came after they had been asked for."""

    given_up: int
    """Packets that never came, or too late."""

    duplicates: int
    """Packets that came again, or after they had been given up."""

    malformed: int
    """Packets and reports whose bytes made no sense."""

    strangers: int
    """Packets that nobody negotiated."""

    nacks: int
    """Packets asked for, repetitions included."""

    plis: int
    """Keyframes asked for."""

    frames: int
    """Frames and audio packets handed on."""

    damaged_frames: int
    """Frames that made no sense, or were too large."""

    dropped_frames: int
    """Whole frames that were held back, since a picture before them was lost."""

    jitter_ms: float
    """Variation of the transit time; of the source where it is largest."""

    rtt_ms: float | None
    """Round trip, as extended reports tell it; of publishers that send none, from a request for a
    packet to its answer. None before the first."""

    sources: tuple[SourceStats, ...]
    """Each source that sends."""


class WebRtcIngest:
    """Feeds one lease with the packets of one publisher (a ``PeerHandler``).

    Broken bytes are counted and change nothing else. Keyframes are asked for when a picture is lost
    for good, when a reader needs one, and as often as the stream's readers wish.
    """

    def __init__(
        self,
        lease: Lease,
        lines: Sequence[MediaLine],
        *,
        send_rtcp: Callable[[bytes], None],
        clock: Clock,
        ended: Callable[[str], None],
    ) -> None:
        """``ended`` is called once, with the reason, when nothing more will come.

        Raises `LocalProtocolError` for a line whose clock does not count whole milliseconds.
        """
        if any(line.clock_rate % 1000 for line in lines):
            raise LocalProtocolError("an RTP clock must count whole milliseconds")
        self.lease = lease
        self.lines = tuple(lines)
        self.assembler = Assembler(lease)
        self.assembler.expect(line.kind for line in lines)
        self.receiver = Receiver(lines, ssrc=secrets.randbits(32), cname=secrets.token_hex(8))
        self._send = send_rtcp
        self._now_ns = clock.monotonic_ns
        self._ended: Callable[[str], None] | None = ended
        self._origin_ns: int | None = None
        self._rate: RateMeter | None = None
        self._rated_bytes = self._rated_ns = 0
        self._configured: dict[Kind, Codec] = {}
        self._keyframe_wanted = False
        self._keyframe_ns: int | None = None
        self._asked_ns: int | None = None
        self._heard_ns: int | None = None
        self._stream: Stream | None = None
        self._withdraw: Callable[[], None] = lambda: None
        self._follow_stream()

    def connected(self) -> None:
        """Media may come from now on."""

    def rtp(self, packet: bytes, now_ns: int) -> None:
        """Takes a decrypted RTP packet."""
        self._heard_ns = now_ns
        try:
            received = self.receiver.receive(packet, now_ns)
        except RemoteProtocolError:
            self.receiver.counters.malformed += 1
            return
        if received is None:
            return
        source, frames = received
        if frames:
            self._take(source, frames)
        if now_ns >= source.missing.next_ns:
            self._send_nack(source, now_ns)
        if source.frames.asks_keyframe:
            self._want_keyframe(now_ns)

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        """Takes a decrypted RTCP datagram."""
        self._heard_ns = now_ns
        try:
            self.receiver.receive_rtcp(packet, now_ns)
        except RemoteProtocolError:
            self.receiver.counters.malformed += 1

    def closed(self, reason: str) -> None:
        """The publisher is gone. A second call does nothing."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._withdraw()
        self.assembler.flush()
        ended(reason)

    def tick(self, now_ns: int) -> None:
        """Lets time pass; to be called every 20 to 50 ms."""
        if self._ended is None:
            return
        receiver = self.receiver
        for source, frames in receiver.expire(now_ns):
            if frames:
                self._take(source, frames)
        for datagram in receiver.feedback(now_ns):
            self._send(datagram)
        self._follow_stream()
        self._look_for_keyframes(now_ns)
        if now_ns - self._rated_ns >= _RATE_NS:
            self._measure(now_ns)
        if receiver.said_bye(now_ns, for_ns=_BYE_NS):
            self.closed("the publisher said good-bye")
        elif self._heard_ns is not None and now_ns - self._heard_ns >= _DEAD_NS:
            self._went_silent(f"no packet came for {_DEAD_NS // 1_000_000_000} s")

    @property
    def stats(self) -> WebRtcIngestStats:
        """How the media arrives."""
        receiver = self.receiver
        counters, totals, sources = receiver.counters, receiver.totals(), receiver.sources
        jitters = [_jitter_ms(source) for source in sources]
        trips = [receiver.rtt_ns, *(source.missing.rtt_ns for source in sources)]
        rtt_ns = next((trip for trip in trips if trip is not None), None)
        return WebRtcIngestStats(
            packets=counters.packets,
            bytes=counters.bytes,
            bit_rate=self._rate.bits_per_second(self._now_ns()) if self._rate else 0,
            lost=max(0, totals.lost),
            recovered=totals.recovered,
            given_up=totals.given_up,
            duplicates=totals.duplicates,
            malformed=counters.malformed,
            strangers=counters.strangers,
            nacks=totals.nacks,
            plis=counters.plis,
            frames=totals.frames,
            damaged_frames=totals.damaged_frames + self.assembler.counters.damaged,
            dropped_frames=totals.dropped_frames,
            jitter_ms=max(jitters, default=0.0),
            rtt_ms=None if rtt_ns is None else round(rtt_ns / _MS, 1),
            sources=tuple(
                SourceStats(
                    mid=source.line.mid,
                    codec=source.line.codec,
                    packets=source.statistics.received,
                    lost=max(0, source.statistics.lost),
                    jitter_ms=jitter,
                    frames=source.frames.counters.frames,
                )
                for source, jitter in zip(sources, jitters, strict=True)
            ),
        )

    def _take(self, source: Source, frames: Sequence[RtpFrame]) -> None:
        line = source.line
        kind, rate = line.kind, line.clock_rate
        assembler = self.assembler
        broken = False
        for timestamp, data, keyframe, received_ns in frames:
            # Several come at once when a hole was filled: the source knew nothing of this yet.
            if broken and not keyframe:
                continue
            if self._configured.get(kind) is not line.codec and not self._configure(line, data):
                source.picture_lost()
                broken = True
                continue
            if self._origin_ns is None:
                self._origin_ns = received_ns - _LEAD_NS
            place = source.clock.place(timestamp, received_ns - self._origin_ns)
            time_ms = place * 1000 // rate
            rest = place - time_ms * rate // 1000
            damaged = assembler.counters.damaged
            assembler.push(Frame(kind, time_ms & 0xFFFF_FFFF, 0, data, keyframe, received_ns, rest))
            if kind is Kind.VIDEO:
                broken = assembler.counters.damaged != damaged
                if broken:
                    source.picture_lost()
                elif keyframe:
                    self._keyframe_wanted = False
                    self._keyframe_ns = received_ns

    def _configure(self, line: MediaLine, data: bytes) -> bool:
        """Tells the assembler what the track is; False when this frame does not tell it."""
        try:
            config = config_of(line.codec, data)
        except RemoteProtocolError as error:
            self.assembler.damaged(line.kind, error)
            return False
        if config is None:
            return False
        self.assembler.configure(line.codec, config)
        self._configured[line.kind] = line.codec
        return True

    def _went_silent(self, reason: str) -> None:
        """The stream waits for a return, and so does the connection for as long."""
        if self.lease.suspended:
            return
        if not self.lease.suspend(reason):
            self.closed(reason)
            return
        self.assembler.go_on()
        for source in self.receiver.sources:
            source.picture_lost()

    def _measure(self, now_ns: int) -> None:
        self._rated_ns = now_ns
        total, before = self.receiver.counters.bytes, self._rated_bytes
        self._rated_bytes = total
        if self._rate is None:
            self._rate = RateMeter(now_ns)
        self._rate.add(total - before, now_ns)
        session = self.lease.publisher
        session.bytes_received = total
        session.bit_rate = self._rate.bits_per_second(now_ns)

    def _send_nack(self, source: Source, now_ns: int) -> None:
        datagram = self.receiver.nack(source, now_ns)
        if datagram is not None:
            self._send(datagram)

    def _look_for_keyframes(self, now_ns: int) -> None:
        """Wants a keyframe where one is missing, or readers wish one by now."""
        video = self.receiver.video
        if video is None or now_ns - video.last_ns > _SILENT_NS:
            return
        is_missing = video.frames.asks_keyframe or self.assembler.needs_keyframe
        if is_missing or self._keyframe_wanted or self._is_keyframe_due(now_ns):
            self._want_keyframe(now_ns)

    def _is_keyframe_due(self, now_ns: int) -> bool:
        every_ms, last_ns = self.lease.stream.keyframes.every_ms, self._keyframe_ns
        return every_ms is not None and last_ns is not None and now_ns - last_ns >= every_ms * _MS

    def _want_keyframe(self, now_ns: int) -> None:
        """Asks for a keyframe, now or as soon as the last request is old enough."""
        self._keyframe_wanted = True
        if self._asked_ns is not None and now_ns - self._asked_ns < _KEYFRAME_GAP_NS:
            return
        self._asked_ns = now_ns
        for source in self.receiver.sources:
            datagram = self.receiver.pli(source) if source.line.kind is Kind.VIDEO else None
            if datagram is not None:
                self._send(datagram)

    def _follow_stream(self) -> None:
        """Listens to the readers of the stream; a publisher can get another one."""
        stream = self.lease.stream
        if stream is not self._stream:
            self._withdraw()
            self._stream = stream
            self._withdraw = stream.keyframes.supply(lambda: self._want_keyframe(self._now_ns()))


def _jitter_ms(source: Source) -> float:
    return round(source.statistics.jitter_ticks * 1000 / source.line.clock_rate, 1)
