"""Everything that comes from one peer over one transport, and what it is told about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamserver.media.track import Kind
from streamserver.rtp.arrivals import Arrivals
from streamserver.rtp.extended import LastReference, clock_of, round_trip_ns
from streamserver.rtp.frames import RtpFrame
from streamserver.rtp.lipsync import LipSync
from streamserver.rtp.packet import RtpPacket, parse_packet
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.rtcp import (
    Bye,
    ExtendedReport,
    Nack,
    Pli,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    parse_rtcp,
)
from streamserver.rtp.source import Source, SourceTotals

__all__ = ["TRANSPORT_CC_URI", "Received", "Receiver"]

TRANSPORT_CC_URI: Final = (
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)
"""The header extension that carries transport-wide numbers."""

_MS: Final = 1_000_000

_FEEDBACK_NS: Final = 45 * _MS
"""Between two transport-wide reports: 50 ms, but for the grain of whoever ticks."""

_REPORT_NS: Final = 1_000 * _MS
"""Between two receiver reports."""

_MAX_RTT_NS: Final = 10_000 * _MS
"""A round trip that is longer is none: the peer's arithmetic is wrong."""

_SILENT_NS: Final = 1_000 * _MS
"""A source that is silent for so long gives its line to another."""

_MAX_PACKET_BYTES: Final = 4_096
"""TCP could carry packets of 65,535 bytes; no browser sends more than 1,500."""


Received = tuple[Source, Sequence[RtpFrame]]
"""A source, and its frames that are whole now, in the order of decoding; mostly none. A plain
tuple, since every packet makes one."""


@dataclass(slots=True)
class ReceiverCounters:
    """What came, over all sources."""

    packets: int = 0
    """RTP packets, whatever became of them."""

    bytes: int = 0
    """Their bytes, headers included."""

    malformed: int = 0
    """Packets and reports whose bytes made no sense."""

    strangers: int = 0
    """Packets that belong to no line, or to one that another source has."""

    repairs: int = 0
    """Packets that were sent again."""

    plis: int = 0
    """Keyframes that were asked for."""


class _Line:
    """A negotiated line, and the source that has it."""

    __slots__ = ("line", "source")

    def __init__(self, line: MediaLine) -> None:
        self.line = line
        self.source: Source | None = None


class Receiver:
    """Takes packets apart by source; knows when to tell the peer what.

    One source has a line at a time; another takes over when it is silent or said good-bye.
    """

    def __init__(self, lines: Iterable[MediaLine], *, ssrc: int, cname: str) -> None:
        """``ssrc`` and ``cname`` are what our reports call us; choose them at random."""
        self.counters = ReceiverCounters()
        self.sync = LipSync()
        self._ssrc = ssrc
        self._name = SourceDescription(cnames=((ssrc, cname),)).to_bytes()
        self._lines = [_Line(line) for line in lines]
        self._media = {line.line.payload_type: line for line in self._lines}
        self._repairs = {
            line.line.rtx_payload_type: line
            for line in self._lines
            if line.line.rtx_payload_type is not None
        }
        self.sources: tuple[Source, ...] = ()
        """The sources that have a line, in the order of the lines."""
        self.video: Source | None = None
        """The first of them that is video."""
        self.rtt_ns: int | None = None
        """The round trip, as extended reports tell it; None before the first."""
        self._sources: dict[int, Source] = {}
        self._gone = SourceTotals()
        feedback = [line.line for line in self._lines if line.line.transport_cc]
        numbers = [line.extensions[TRANSPORT_CC_URI] for line in feedback
                   if TRANSPORT_CC_URI in line.extensions]  # fmt: skip
        # With BUNDLE a number means the same on all lines (RFC 9143, section 9.2).
        self._transport_id = numbers[0] if numbers else 0
        self._arrivals = Arrivals()
        self._feedback_ns = 0
        self._report_ns = 0

    def totals(self) -> SourceTotals:
        """What all sources went through, those included that are gone."""
        totals = replace(self._gone)
        for source in self.sources:
            totals.add(source)
        return totals

    def receive(self, data: bytes, now_ns: int) -> Received | None:
        """Takes a decrypted RTP packet. Raises `RemoteProtocolError`."""
        counters = self.counters
        counters.packets += 1
        counters.bytes += len(data)
        if len(data) > _MAX_PACKET_BYTES:
            counters.malformed += 1
            return None
        packet = parse_packet(data)
        number = packet.extensions.get(self._transport_id)
        if number is not None and len(number) == 2:
            self._arrivals.note(number[0] << 8 | number[1], now_ns)
        source = self._sources.get(packet.ssrc)
        if source is not None and source.line.payload_type == packet.payload_type:
            return source, source.receive(packet, now_ns)
        return self._receive_other(packet, now_ns)

    def receive_rtcp(self, data: bytes, now_ns: int) -> None:
        """Takes a decrypted RTCP datagram. Raises `RemoteProtocolError`."""
        for packet in parse_rtcp(data):
            match packet:
                case SenderReport(ssrc=ssrc) if ssrc in self._sources:
                    source = self._sources[ssrc]
                    source.sender_reported(packet, now_ns)
                    self.sync.reported(source.clock)
                case ExtendedReport(last=last):
                    self._note_round_trip(last, now_ns)
                case Bye(ssrcs=ssrcs):
                    for ssrc in ssrcs:
                        if ssrc in self._sources:
                            self._sources[ssrc].said_bye_ns = now_ns

    def expire(self, now_ns: int) -> list[Received]:
        """Lets time pass: gives up packets that were waited for long enough."""
        return [(source, source.expire(now_ns)) for source in self.sources if source.waits]

    def nack(self, source: Source, now_ns: int) -> bytes | None:
        """The request for packets that are missing, when one is due."""
        numbers = source.missing.ask(now_ns)
        if not numbers:
            return None
        sequences = tuple(number & 0xFFFF for number in numbers)
        return Nack(ssrc=self._ssrc, media_ssrc=source.ssrc, sequences=sequences).to_bytes()

    def pli(self, source: Source) -> bytes | None:
        """The request for a keyframe; None where the peer takes none."""
        if not source.line.pli:
            return None
        self.counters.plis += 1
        return Pli(ssrc=self._ssrc, media_ssrc=source.ssrc).to_bytes()

    def feedback(self, now_ns: int) -> list[bytes]:
        """RTCP datagrams that are due; to be asked for every 20 to 50 ms."""
        sources = self.sources
        self.sync.look()
        asking = [source for source in sources if now_ns >= source.missing.next_ns]
        datagrams = [self.nack(source, now_ns) for source in asking]
        due = [datagram for datagram in datagrams if datagram is not None]
        if sources and self._transport_id and now_ns - self._feedback_ns >= _FEEDBACK_NS:
            self._feedback_ns = now_ns
            reports = self._arrivals.report(self._ssrc, sources[0].ssrc)
            due += (report.to_bytes() for report in reports)
        if sources and now_ns - self._report_ns >= _REPORT_NS:
            self._report_ns = now_ns
            blocks = tuple(source.statistics.block(now_ns) for source in sources)
            report = ReceiverReport(ssrc=self._ssrc, blocks=blocks)
            clock = ExtendedReport(ssrc=self._ssrc, clock=clock_of(now_ns))
            due.append(report.to_bytes() + self._name + clock.to_bytes())
        return due

    def said_bye(self, now_ns: int, *, for_ns: int) -> bool:
        """Whether every source said good-bye so long ago, and none came back."""
        sources = self.sources
        return bool(sources) and all(
            source.said_bye_ns is not None and now_ns - source.said_bye_ns >= for_ns
            for source in sources
        )

    def _note_round_trip(self, last: tuple[LastReference, ...], now_ns: int) -> None:
        for one in last:
            sample = round_trip_ns(one, now_ns) if one.ssrc == self._ssrc else None
            if sample is None or sample > _MAX_RTT_NS:
                continue
            known = self.rtt_ns
            self.rtt_ns = sample if known is None else known + (sample - known) // 8
            for source in self.sources:
                # Until its own requests tell, which include the peer's time to answer.
                if not source.missing.found:
                    source.missing.rtt_ns = self.rtt_ns

    def _receive_other(self, packet: RtpPacket, now_ns: int) -> Received | None:
        """A retransmission, a new source, or something that nobody negotiated."""
        line = self._repairs.get(packet.payload_type)
        if line is not None:
            return self._receive_repair(line, packet, now_ns)
        line = self._media.get(packet.payload_type)
        if line is None or not self._may_take(line, packet.ssrc, now_ns):
            self.counters.strangers += 1
            return None
        source = self._take(line, packet)
        return source, source.receive(packet, now_ns)

    def _receive_repair(self, line: _Line, packet: RtpPacket, now_ns: int) -> Received | None:
        source, payload = line.source, packet.payload
        # Browsers try the network's width with packets of padding, and with old ones again.
        if source is None or len(payload) < 2:
            return None
        self.counters.repairs += 1
        # RFC 4588, section 4: the original number stands before the original payload.
        original = packet._replace(
            payload_type=line.line.payload_type,
            sequence=payload[0] << 8 | payload[1],
            ssrc=source.ssrc,
            payload=payload[2:],
        )
        return source, source.receive(original, now_ns, repair=True)

    @staticmethod
    def _may_take(line: _Line, ssrc: int, now_ns: int) -> bool:
        """Whether a new source may have a line."""
        held = line.source
        if held is None or held.said_bye_ns is not None:
            return True
        announced = line.line.remote_ssrcs
        if ssrc in announced and held.ssrc not in announced:
            return True
        return now_ns - held.last_ns >= _SILENT_NS

    def _take(self, line: _Line, packet: RtpPacket) -> Source:
        # A source that changes its line leaves the other one.
        for other in self._lines:
            held = other.source
            if held is not None and (other is line or held.ssrc == packet.ssrc):
                self._gone.add(held)
                del self._sources[held.ssrc]
                other.source = None
        source = line.source = self._sources[packet.ssrc] = Source(line.line, packet)
        if line.line.kind is Kind.VIDEO:
            self.sync.video = source.clock
        else:
            self.sync.audio = source.clock
        self.sources = tuple(line.source for line in self._lines if line.source is not None)
        videos = (one for one in self.sources if one.line.kind is Kind.VIDEO)
        self.video = next(videos, None)
        return source
