"""What a receiver knows of a source's packets, and its report of it (RFC 3550, appendix A)."""

from typing import Final

from streamserver.rtp.reports import ReportBlock, SenderReport

__all__ = ["SourceStatistics"]

_SECOND: Final = 1_000_000_000

_MAX_TRANSIT_S: Final = 10
"""A step of the transit time beyond this is a jump of the source's clock, and no jitter."""


class SourceStatistics:
    """Counts the packets of one source, retransmissions left out."""

    __slots__ = (
        "_clock_rate", "_expected", "_first", "_jitter16", "_last_sr", "_received", "_sr_ns",
        "_ssrc", "_transit", "bytes", "highest", "received",
    )  # fmt: skip

    def __init__(self, ssrc: int, clock_rate: int, first: int) -> None:
        self.highest = first
        """The highest number that came, without wraps."""
        self.received = 0
        """Packets that came, duplicates included."""
        self.bytes = 0
        """Bytes of payload that came."""
        self._ssrc = ssrc
        self._clock_rate = clock_rate
        self._first = first
        # Appendix A.8: 16 times the jitter, in ticks.
        self._jitter16 = 0
        self._transit: int | None = None
        # At the last report.
        self._expected = self._received = 0
        self._last_sr = 0
        self._sr_ns = 0

    @property
    def lost(self) -> int:
        """Packets that did not come by themselves; negative where more came than were sent."""
        return self.highest - self._first + 1 - self.received

    @property
    def jitter_ticks(self) -> int:
        """Variation of the transit time, in ticks of the source's clock."""
        return self._jitter16 >> 4

    def arrived(self, timestamp: int, now_ns: int) -> None:
        """Takes the arrival of a packet in order: RFC 3550, section 6.4.1, with integers."""
        transit = now_ns * self._clock_rate // _SECOND - timestamp
        if self._transit is not None:
            # The difference in 32 bits, since the time stamp wraps.
            step = abs(((transit - self._transit + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000)
            if step < _MAX_TRANSIT_S * self._clock_rate:
                self._jitter16 += step - (self._jitter16 + 8 >> 4)
        self._transit = transit

    def sender_reported(self, report: SenderReport, now_ns: int) -> None:
        """Takes a report of the source, of which the next block speaks."""
        self._last_sr, self._sr_ns = report.middle_ntp, now_ns

    def restart(self, first: int) -> None:
        """The source counts anew from here, or so much was lost that counting it means nothing."""
        # What was lost so far stays counted; this packet is counted by whoever calls.
        self._first = first - self.received - self.lost
        self.highest = first
        self._transit = None

    def block(self, now_ns: int) -> ReportBlock:
        """The block of the next receiver report; its fraction counts from the one before."""
        expected = self.highest - self._first + 1
        new_expected = expected - self._expected
        new_lost = new_expected - (self.received - self._received)
        self._expected, self._received = expected, self.received
        fraction = 0
        if new_expected > 0 and new_lost > 0:
            fraction = min(new_lost * 256 // new_expected, 255)
        delay = (now_ns - self._sr_ns) * 65_536 // _SECOND if self._sr_ns else 0
        return ReportBlock(
            ssrc=self._ssrc,
            fraction_lost=fraction,
            lost=self.lost,
            highest_sequence=self.highest & 0xFFFF_FFFF,
            jitter=self.jitter_ticks & 0xFFFF_FFFF,
            last_sr=self._last_sr,
            delay_since_last_sr=min(delay, 0xFFFF_FFFF),
        )
