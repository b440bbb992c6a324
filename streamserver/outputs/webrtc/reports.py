"""Sender reports: which wall clock the time stamps of a viewer's packets follow."""

from collections.abc import Callable
from typing import Final

from streamserver.outputs.webrtc.viewer import WebRtcViewer
from streamserver.rtp.rtcp import Bye, SenderReport, SourceDescription

__all__ = ["StreamTime", "farewell", "sender_reports"]

_UNIX_TO_NTP_S: Final = 2_208_988_800
"""From 1900, where NTP begins, to 1970."""

_SECOND_NS: Final = 1_000_000_000


class StreamTime:
    """The time line of a stream's log, and its place in the world.

    Pictures and sound stand on the same time line, so players bring them together as they came
    (RFC 3550, section 6.4.1).
    """

    __slots__ = ("_origin_ns", "_wall_origin_ns", "base")

    def __init__(
        self, origin_ns: Callable[[], int], wall_origin_ns: Callable[[], int], base: int
    ) -> None:
        """When time zero of the log was, on the monotonic and the wall clock; both are known
        only once the stream has begun. ``base`` is added to every time stamp."""
        self.base = base
        self._origin_ns = origin_ns
        self._wall_origin_ns = wall_origin_ns

    def ntp(self, now_ns: int) -> int:
        """A monotonic time as NTP writes it: seconds since 1900 in the upper 32 of 64 bits."""
        wall_ns = self._wall_origin_ns() + now_ns - self._origin_ns()
        seconds, rest_ns = divmod(wall_ns, _SECOND_NS)
        return (seconds + _UNIX_TO_NTP_S & 0xFFFF_FFFF) << 32 | (rest_ns << 32) // _SECOND_NS

    def middle_ntp(self, now_ns: int) -> int:
        """The middle 32 bits of it."""
        return self.ntp(now_ns) >> 16 & 0xFFFF_FFFF

    def rtp(self, now_ns: int, clock_rate: int) -> int:
        """The time stamp of a frame that would be captured now, 32 bits."""
        ticks = (now_ns - self._origin_ns()) * clock_rate // _SECOND_NS
        return ticks + self.base & 0xFFFF_FFFF


def sender_reports(viewer: WebRtcViewer, time: StreamTime, cname: str, now_ns: int) -> bytes:
    """A compound packet: a report for each source, and the name that binds them."""
    ntp = time.ntp(now_ns)
    reports = [
        SenderReport(
            ssrc=outgoing.line.ssrc,
            ntp=ntp,
            rtp_time=time.rtp(now_ns, outgoing.line.clock_rate),
            packets=outgoing.packets,
            octets=outgoing.octets,
        ).to_bytes()
        for outgoing in viewer.outgoing
    ]
    return b"".join(reports) + _names(viewer, cname)


def farewell(viewer: WebRtcViewer, cname: str) -> bytes:
    """A compound packet that says that nothing more will come (RFC 3550, section 6.6)."""
    ssrcs = tuple(outgoing.line.ssrc for outgoing in viewer.outgoing)
    # Section 6.1: a compound packet begins with a report, be it an empty one.
    empty = b"\x80\xc9\x00\x01" + ssrcs[0].to_bytes(4) if ssrcs else b""
    return empty + _names(viewer, cname) + Bye(ssrcs=ssrcs).to_bytes()


def _names(viewer: WebRtcViewer, cname: str) -> bytes:
    names = tuple((outgoing.line.ssrc, cname) for outgoing in viewer.outgoing)
    return SourceDescription(cnames=names).to_bytes()
