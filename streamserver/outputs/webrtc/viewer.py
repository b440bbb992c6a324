"""One viewer: its sources, what it reports, and where it is in the stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streamserver.errors import RemoteProtocolError
from streamserver.hub.sessions import Session
from streamserver.media.track import Kind
from streamserver.outputs.webrtc.allowance import Allowance
from streamserver.outputs.webrtc.congestion import Congestion
from streamserver.outputs.webrtc.numbers import SequenceMap
from streamserver.outputs.webrtc.peers import SendingPeer
from streamserver.outputs.webrtc.templates import ClassKey
from streamserver.rtp.parameters import MediaLine
from streamserver.rtp.rtcp import (
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    parse_rtcp,
)

__all__ = ["Outgoing", "ViewerHost", "ViewerStats", "WebRtcViewer"]

_MAX_RTT_MS: Final = 60_000
"""A round trip beyond this is a wrong report."""


@dataclass(slots=True)
class ViewerStats:
    """What is known about one viewer, as plain integers."""

    packets: int = 0
    """Packets sent, without those sent again."""

    lost: int = 0
    """Packets that it never got, by its own report."""

    fraction_lost: int = 0
    """The worst loss of its tracks in its last reports, in 1/256."""

    rtt_ms: int | None = None
    """Round trip by its reports; None before the first."""

    jitter_ms: int = 0
    """Variation of the transit time of pictures, or of sound where there are none."""

    nacks: int = 0
    """Packets that it asked for again."""

    retransmitted: int = 0
    """Packets that were sent again."""

    not_held: int = 0
    """Packets that it asked for and that were too old, or never sent to it."""

    throttled: int = 0
    """Packets that were not sent again since it asked for too many."""

    plis: int = 0
    """Keyframes that it asked for."""

    overflows: int = 0
    """Writes for which the kernel, or its TCP connection, had no room."""

    drops: int = 0
    """Times that pictures were left out up to a keyframe since it did not keep up."""

    bad_rtcp: int = 0
    """Reports that could not be read."""


class Outgoing:
    """One source that a viewer is sent: pictures or sound."""

    __slots__ = ("key", "line", "lost", "numbers", "octets", "packets", "recent", "rtx_sequence")

    def __init__(self, line: MediaLine, rtx_sequence: int) -> None:
        """``rtx_sequence`` is the first number of its retransmissions, below 2^15."""
        self.line = line
        self.numbers = SequenceMap(0)
        """The numbers of its packets; made anew when it enters."""
        self.key = ClassKey(line.payload_type, line.ssrc, 0)
        """Whose packets look alike before encryption."""
        self.packets = 0
        """Packets sent, for sender reports."""
        self.octets = 0
        """Bytes of payload sent, likewise."""
        self.lost = 0
        """Packets lost by its last report."""
        self.rtx_sequence = rtx_sequence
        """The next number of a retransmission (RFC 4588, section 4)."""
        self.recent: dict[int, int] = {}
        """When packets were last sent again, by the feed's number."""

    def begin(self, first: int, overhead: int) -> None:
        """The first packet will be the feed's number ``first``; protection adds ``overhead``."""
        self.numbers = SequenceMap(first)
        self.key = ClassKey(self.line.payload_type, self.line.ssrc, overhead)


class ViewerHost(Protocol):
    """The fan-out, as its viewers know it."""

    def enter(self, viewer: "WebRtcViewer") -> None:
        """Media may flow to it."""

    def leave(self, viewer: "WebRtcViewer", reason: str) -> None:
        """It is gone."""

    def send_again(
        self, viewer: "WebRtcViewer", outgoing: Outgoing, sequences: Sequence[int], now_ns: int
    ) -> None:
        """Packets are missing, by their numbers on the wire."""

    def want_keyframe(self, now_ns: int) -> None:
        """Its decoder cannot go on without one."""

    def congested(self, viewer: "WebRtcViewer") -> None:
        """It does not keep up: pictures go on at a later keyframe."""

    def middle_ntp(self, now_ns: int) -> int:
        """The 32 bits in the middle of the time that stands in sender reports."""


class WebRtcViewer:
    """A viewer, from its admission to its end. The connection tells it what happens."""

    __slots__ = (
        "__weakref__", "_host", "allowance", "audio", "backlog", "begun", "congestion",
        "counted_frame", "entered_ns", "next_report_ns", "outgoing", "peer", "sent_before",
        "session", "stats", "video", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        host: ViewerHost,
        session: Session,
        peer: SendingPeer,
        lines: Sequence[MediaLine],
        allowance: Allowance,
        new_sequence: int,
    ) -> None:
        self.session = session
        self.peer = peer
        self.stats = ViewerStats()
        self.congestion = Congestion()
        self.allowance = allowance
        """How much may be sent to it again."""
        self.outgoing = tuple(Outgoing(line, new_sequence) for line in lines)
        """Its sources."""
        self.video = self._of(Kind.VIDEO)
        self.audio = self._of(Kind.AUDIO)
        self.backlog: int | None = None
        """Where in the log it reads on its own, paced; None when it does not."""
        self.waiting = False
        """Whether pictures must wait for a keyframe."""
        self.begun = False
        """Whether it has got a picture: what passed before is no loss."""
        self.counted_frame = -1
        """The feed's number of the last frame that was counted as dropped."""
        self.entered_ns = 0
        """Since when media flows."""
        self.next_report_ns = 0
        """When the next sender report is due."""
        self.sent_before = 0
        """``session.bytes_sent`` when the bit rate was last looked at."""
        self._host = host

    # ---- what the connection tells

    def connected(self) -> None:
        """Media may flow."""
        self._host.enter(self)

    def rtp(self, packet: bytes, now_ns: int) -> None:
        """Nothing is expected of a viewer; some send empty packets to keep a path open."""

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        """A compound packet of reports and requests. Damaged ones are counted."""
        try:
            found = parse_rtcp(packet)
        except RemoteProtocolError:
            self.stats.bad_rtcp += 1
            return
        for part in found:
            if isinstance(part, ReceiverReport | SenderReport):
                self._reported(part.blocks, now_ns)
            elif isinstance(part, Nack):
                self._missing(part, now_ns)
            elif isinstance(part, Pli | Fir):
                self.stats.plis += 1
                self._host.want_keyframe(now_ns)

    def closed(self, reason: str) -> None:
        """The connection is gone, whatever the cause."""
        self._host.leave(self, reason)

    # ---- reports

    def _missing(self, nack: Nack, now_ns: int) -> None:
        outgoing = self._by_ssrc(nack.media_ssrc)
        if outgoing is not None and outgoing.line.nack:
            self.stats.nacks += len(nack.sequences)
            self._host.send_again(self, outgoing, nack.sequences, now_ns)

    def _reported(self, blocks: Sequence[ReportBlock], now_ns: int) -> None:
        stats, worst = self.stats, 0
        for block in blocks:
            outgoing = self._by_ssrc(block.ssrc)
            if outgoing is None:
                continue
            worst = max(worst, block.fraction_lost)
            outgoing.lost = max(0, block.lost)
            rtt_ms = self._round_trip(block, now_ns)
            if rtt_ms is not None:
                stats.rtt_ms = rtt_ms
            if outgoing is self.video or self.video is None:
                stats.jitter_ms = block.jitter * 1000 // outgoing.line.clock_rate
            if outgoing is self.video and self.congestion.report(
                block.fraction_lost, rtt_ms, now_ns
            ):
                self._host.congested(self)
        stats.fraction_lost = worst
        stats.lost = sum(outgoing.lost for outgoing in self.outgoing)

    def _round_trip(self, block: ReportBlock, now_ns: int) -> int | None:
        """RFC 3550, section 6.4.1: now, less the report's time, less how long it lay there."""
        if not block.last_sr:
            return None
        passed = self._host.middle_ntp(now_ns) - block.last_sr - block.delay_since_last_sr
        passed &= 0xFFFF_FFFF
        # Clocks of 1/65536 s are coarse: a little less than nothing is nothing.
        if passed > 0xFFFF_0000:
            return 0
        rtt_ms = passed * 1000 >> 16
        return rtt_ms if rtt_ms <= _MAX_RTT_MS else None

    def _by_ssrc(self, ssrc: int) -> Outgoing | None:
        return next((one for one in self.outgoing if one.line.ssrc == ssrc), None)

    def _of(self, kind: Kind) -> Outgoing | None:
        return next((one for one in self.outgoing if one.line.kind is kind), None)
