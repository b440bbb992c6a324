"""The packets of one source: put in order, asked for again, and made into frames."""

from dataclasses import dataclass
from typing import Final

from streamserver.media.track import Kind
from streamserver.rtp.frames import AudioFrames, RtpFrame, VideoFrames, unwrap
from streamserver.rtp.jitter import ReorderBuffer
from streamserver.rtp.lipsync import SourceClock
from streamserver.rtp.nack import MissingPackets
from streamserver.rtp.packet import RtpPacket
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.reports import SenderReport
from streamserver.rtp.statistics import SourceStatistics

__all__ = ["Source", "SourceTotals"]

_MS: Final = 1_000_000

_REORDER_NS: Final = 40 * _MS
"""How long a packet is waited for that nobody sends again."""

_MIN_WAIT_NS: Final = 250 * _MS
_MAX_WAIT_NS: Final = 1_000 * _MS
_MAX_AUDIO_WAIT_NS: Final = 120 * _MS
"""And one that is sent again: five round trips, within these, so that answers may be lost too."""

_FIRST_RTT_NS: Final = 100 * _MS

_OVERTAKEN: Final = 64
"""Packets that may have been overtaken by the first one that came."""

_MAX_BEHIND: Final = 3_000
"""Numbers so far behind the newest are no late packets (MAX_DROPOUT in RFC 3550, appendix A.1)."""


@dataclass(slots=True)
class SourceTotals:
    """What sources went through, so far."""

    packets: int = 0
    """Packets that came by themselves."""

    lost: int = 0
    """Packets that did not; negative where more came than were sent."""

    recovered: int = 0
    """Packets that came after they had been asked for."""

    given_up: int = 0
    """Packets that never came, or too late."""

    duplicates: int = 0
    """Packets that came again, or after they had been given up."""

    nacks: int = 0
    """Packets asked for, repetitions included."""

    restarts: int = 0
    """Times that numbers jumped too far to fill the hole."""

    frames: int = 0
    """Frames handed on."""

    damaged_frames: int = 0
    """Frames that made no sense, or were too large."""

    dropped_frames: int = 0
    """Whole frames that were held back, since a picture before them was lost."""

    def add(self, source: "Source") -> None:
        """Adds what a source went through."""
        counters = source.frames.counters
        self.packets += source.statistics.received
        self.lost += source.statistics.lost
        self.recovered += source.missing.found
        self.given_up += source.lost
        self.duplicates += source.duplicates
        self.nacks += source.missing.asked
        self.restarts += source.restarts
        self.frames += counters.frames
        self.damaged_frames += counters.damaged
        self.dropped_frames += counters.dropped


class Source:
    """Receives one source. Whatever comes, what it holds is bounded in time, packets and bytes."""

    __slots__ = (
        "_buffer", "_frames", "_odd", "_opening", "_repairs_look_alike", "clock", "duplicates",
        "last_ns", "line", "lost", "missing", "restarts", "said_bye_ns", "ssrc", "statistics",
    )  # fmt: skip

    def __init__(self, line: MediaLine, packet: RtpPacket) -> None:
        """Begins with its first packet, which is still to be received."""
        # Far enough from 0 for what was overtaken by the first.
        first = packet.sequence + 0x1_0000
        self.line = line
        self.ssrc = packet.ssrc
        self.missing = MissingPackets()
        self.clock = SourceClock(line.clock_rate, is_sound=line.kind is Kind.AUDIO)
        self.statistics = SourceStatistics(packet.ssrc, line.clock_rate, first)
        self.last_ns = 0
        """Monotonic time of its newest packet."""
        self.duplicates = 0
        """Packets that came again, or after they had been given up."""
        self.lost = 0
        """Packets that were given up."""
        self.restarts = 0
        """Times that its numbers jumped too far to fill the hole."""
        self.said_bye_ns: int | None = None
        """When it said that it sends no more; None while it sends."""
        is_video = line.kind is Kind.VIDEO
        self._frames = VideoFrames(line.codec) if is_video else AudioFrames()
        self._repairs_look_alike = line.rtx_payload_type is None
        self._odd: int | None = None
        # Until a beginning has come: the first keyframe is worth waiting for.
        self._opening = not self._frames.begins(packet)
        self._buffer = ReorderBuffer(first - _OVERTAKEN if self._opening else first)

    @property
    def frames(self) -> VideoFrames | AudioFrames:
        """What makes its frames, with counters."""
        return self._frames

    @property
    def waits(self) -> bool:
        """Whether packets wait for an earlier one."""
        return bool(self._buffer.held)

    @property
    def wait_ns(self) -> int:
        """How long a hole may stop what comes behind it."""
        if self._opening or not self.line.nack:
            return _REORDER_NS
        wait_ns = 5 * (self.missing.rtt_ns or _FIRST_RTT_NS) + 100 * _MS
        most = _MAX_WAIT_NS if self.line.kind is Kind.VIDEO else _MAX_AUDIO_WAIT_NS
        return min(max(wait_ns, _MIN_WAIT_NS), most)

    def receive(
        self, packet: RtpPacket, now_ns: int, *, repair: bool = False
    ) -> tuple[RtpFrame, ...] | list[RtpFrame]:
        """Takes a packet; ``repair`` is one that was sent again under its old number.

        Answers the frames that are whole now.
        """
        statistics = self.statistics
        highest = statistics.highest
        number = highest + ((packet.sequence - highest + 0x8000) & 0xFFFF) - 0x8000
        if number == highest + 1:
            statistics.highest = number
            statistics.arrived(packet.timestamp, now_ns)
        elif number > highest:
            self._skipped(highest + 1, number, now_ns)
        elif number < highest - _MAX_BEHIND and not self._is_restart(packet, number):
            self.duplicates += 1
            return ()
        self.last_ns = now_ns
        self.said_bye_ns = None
        if not repair:
            statistics.received += 1
            statistics.bytes += len(packet.payload)
        buffer = self._buffer
        if number == buffer.next and not buffer.held:
            buffer.next = number + 1
            if self.missing.due:
                self.missing.came(number, now_ns, answer=repair or self._repairs_look_alike)
            return self._frames.push(packet, now_ns)
        if self.missing.due:
            self.missing.came(number, now_ns, answer=repair or self._repairs_look_alike)
        return self._reorder(number, packet, now_ns)

    def expire(self, now_ns: int) -> list[RtpFrame]:
        """Gives up holes that are too old; answers the frames that are whole then."""
        frames: list[RtpFrame] = []
        buffer, push = self._buffer, self._frames.push
        while buffer.held and (buffer.is_full or now_ns - buffer.waits_since_ns >= self.wait_ns):
            stepped = buffer.give_up()
            if not self._opening:
                self.lost += stepped
            self._opening = False
            self.missing.forget_before(buffer.next)
            self._frames.lost()
            for packet in buffer.ready():
                frames += push(packet, now_ns)
        return frames

    def picture_lost(self) -> None:
        """Says that a frame could not be used: no other is handed on before a keyframe."""
        self._frames.lost()

    def sender_reported(self, report: SenderReport, now_ns: int) -> None:
        """Takes a report of the source about itself."""
        self.statistics.sender_reported(report, now_ns)
        newest = self._frames.newest
        # RFC 3550, section 6.4.1: a source without a wall clock may say 0.
        if report.ntp and newest is not None:
            self.clock.reported(report.ntp, unwrap(newest, report.rtp_time))

    def _reorder(self, number: int, packet: RtpPacket, now_ns: int) -> list[RtpFrame]:
        """The slower way, while something is missing."""
        buffer, push = self._buffer, self._frames.push
        frames: list[RtpFrame] = []
        if self._opening and number > buffer.next and self._frames.begins(packet):
            self._opening = False
            buffer.next = number
        if number == buffer.next:
            buffer.next = number + 1
            frames += push(packet, now_ns)
            for ready in buffer.ready():
                frames += push(ready, now_ns)
        elif not buffer.hold(number, packet, now_ns):
            self.duplicates += 1
        if buffer.held:
            frames += self.expire(now_ns)
        return frames

    def _skipped(self, first: int, number: int, now_ns: int) -> None:
        """Packets from ``first`` on were jumped over by this one."""
        asks = self.line.nack
        if number - first > _MAX_BEHIND or (asks and not self.missing.add(first, number, now_ns)):
            self._restart(number)
        else:
            self.statistics.highest = number

    def _is_restart(self, packet: RtpPacket, number: int) -> bool:
        """Whether the source counts anew: two packets say so, one may be very late.

        RFC 3550, appendix A.1.
        """
        expected, self._odd = self._odd, packet.sequence + 1 & 0xFFFF
        if packet.sequence != expected:
            return False
        self._restart(number)
        return True

    def _restart(self, number: int) -> None:
        self.restarts += 1
        self._odd = None
        self._opening = False
        self.lost += self._buffer.restart(number)
        self.missing.forget_before(1 << 62)
        self.statistics.restart(number)
        self._frames.lost()
