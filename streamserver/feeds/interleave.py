"""Tracks that arrive apart, brought together: packets by decoding time, within a small window.

The order of a packet log is the order of arrival. RTMP publishers interleave well enough; RTP
sends each track as it comes, and one may run half a second ahead.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from streamserver.media.packet import Packet
from streamserver.media.track import Kind

__all__ = ["SLACK_MS", "Interleaver"]

SLACK_MS: Final = 100
"""A track may be so far ahead of the others without waiting: players buffer more than that."""

_WINDOW_MS: Final = 500
"""The longest that a packet waits, in media time: a track that fell silent stops nobody."""

_MAX_BYTES: Final = 2 * 1024 * 1024
"""What may wait."""


class Interleaver:
    """Packets in, packets out: per track in order, between tracks at most the slack apart.

    Where the window or the bytes are reached, the oldest packet goes out as it is, and counts in
    ``forced``.
    """

    __slots__ = (
        "_begun", "_bytes", "_count", "_held", "_newest_ms", "_reached", "_slack_ms", "forced",
    )  # fmt: skip

    def __init__(self, slack_ms: int = SLACK_MS) -> None:
        """A track may be ``slack_ms`` ahead of the others without waiting for them."""
        self.forced = 0
        """Packets that went out before the other tracks had come as far."""
        self._slack_ms = slack_ms
        self._held: list[tuple[int, int, Packet]] = []
        self._bytes = 0
        self._count = 0
        self._newest_ms = 0
        self._reached: dict[Kind, int] = {}
        """The newest time of each kind."""
        self._begun = False
        """Whether any packet has come since `begin`."""

    @property
    def held(self) -> int:
        """Packets that wait."""
        return len(self._held)

    def begin(self, kinds: Iterable[Kind]) -> None:
        """The kinds of tracks that come from here on; `flush` first."""
        self._reached = dict.fromkeys(kinds, 0)
        self._begun = False
        self._newest_ms = 0

    def push(self, packets: Iterable[Packet]) -> list[Packet]:
        """Takes packets of kinds that were begun; answers what may go out now, in order."""
        out: list[Packet] = []
        held, reached, slack_ms = self._held, self._reached, self._slack_ms
        for packet in packets:
            track = packet.track
            time_ms = packet.dts * 1000 // track.clock_rate
            if not self._begun:
                # A track that has not come yet is taken to begin here.
                self._begun = True
                for kind in reached:
                    reached[kind] = time_ms
            reached[track.codec.kind] = time_ms
            if time_ms > self._newest_ms:
                self._newest_ms = time_ms
            limit_ms = min(reached.values()) + slack_ms
            if not held and time_ms <= limit_ms:
                out.append(packet)
                continue
            self._count += 1
            heappush(held, (time_ms, self._count, packet))
            self._bytes += len(packet.data)
            self._release(limit_ms, out)
        return out

    def flush(self) -> list[Packet]:
        """What waits, in order."""
        held, self._held, self._bytes = self._held, [], 0
        return [packet for _, _, packet in sorted(held, key=lambda entry: entry[:2])]

    def _release(self, limit_ms: int, out: list[Packet]) -> None:
        """What waits, up to a time: the slowest track and the slack."""
        overdue_ms = self._newest_ms - _WINDOW_MS
        held = self._held
        while held and (
            held[0][0] <= limit_ms or held[0][0] <= overdue_ms or self._bytes > _MAX_BYTES
        ):
            time_ms, _, packet = heappop(held)
            self._bytes -= len(packet.data)
            self.forced += time_ms > limit_ms
            out.append(packet)
