"""When packets of a transport came, until it is told: the receiver of transport-wide feedback."""

from typing import Final

from streamserver.rtp.twcc import DELTA_NS, REFERENCE_NS, TransportFeedback

__all__ = ["Arrivals"]

_MAX_REACH: Final = 2_000
"""Numbers that one report may speak of; after a longer gap the sender knows enough."""

_MAX_TOLD: Final = 400
"""Arrivals in one report, so that it fits every network's packets."""

_MAX_LATE: Final = 16
"""Reports of packets that came after they were told as missing; each takes one of its own."""

_MAX_DELTA: Final = 0x7FFF


class Arrivals:
    """Notes arrivals by transport-wide number, and tells each of them once.

    A packet that comes twice is told once: a sender that hears of it again would take it for
    another. One that comes after its number was told as missing is told on its own.
    """

    __slots__ = ("_holes", "_newest", "_pending", "_reports", "_told")

    def __init__(self) -> None:
        self._pending: dict[int, int] = {}
        self._newest: int | None = None
        # Up to where numbers were told of, and which of those were told as missing.
        self._told: int | None = None
        self._holes: dict[int, None] = {}
        self._reports = 0

    def note(self, sequence: int, now_ns: int) -> None:
        """Takes the transport-wide number of a packet that came now."""
        newest = self._newest
        if newest is None:
            self._newest = number = sequence + 0x1_0000
        else:
            number = newest + ((sequence - newest + 0x8000) & 0xFFFF) - 0x8000
            if number > newest:
                self._newest = number
        told, pending = self._told, self._pending
        if told is None or number >= told:
            if number not in pending and len(pending) < _MAX_REACH:
                pending[number] = now_ns
        elif number in self._holes:
            del self._holes[number]
            pending[number] = now_ns

    def report(self, ssrc: int, media_ssrc: int) -> list[TransportFeedback]:
        """What to tell now; empty when nothing came. Usually one report."""
        if not self._pending:
            return []
        pending, self._pending = sorted(self._pending.items()), {}
        newest = pending[-1][0]
        told = self._told if self._told is not None else pending[0][0]
        if newest - told > _MAX_REACH:
            told = newest - _MAX_REACH
        late = [entry for entry in pending if entry[0] < told]
        newest_late = late[-_MAX_LATE:]
        reports = [self._tell(ssrc, media_ssrc, entry[0], [entry]) for entry in newest_late]
        rest = pending[len(late) :]
        while rest:
            count = self._fitting(rest)
            reports.append(self._tell(ssrc, media_ssrc, told, rest[:count]))
            told, begin = rest[count - 1][0] + 1, told
            if told - begin != count:
                came = {number for number, _ in rest[:count]}
                self._holes.update((n, None) for n in range(begin, told) if n not in came)
            rest = rest[count:]
        self._told = max(told, self._told or 0)
        if self._holes:
            for old in [number for number in self._holes if number < told - _MAX_REACH]:
                del self._holes[old]
        return reports

    @staticmethod
    def _fitting(arrivals: list[tuple[int, int]]) -> int:
        """How many of these arrivals one report can tell."""
        before = arrivals[0][1]
        for index, (_, now_ns) in enumerate(arrivals):
            if index == _MAX_TOLD or abs(now_ns - before) // DELTA_NS >= _MAX_DELTA:
                return index
            before = now_ns
        return len(arrivals)

    def _tell(
        self, ssrc: int, media_ssrc: int, base: int, arrivals: list[tuple[int, int]]
    ) -> TransportFeedback:
        reference = arrivals[0][1] // REFERENCE_NS
        zero = reference * REFERENCE_NS
        self._reports += 1
        # The reference has 24 bits with a sign: it wraps like the counters do.
        return TransportFeedback(
            ssrc=ssrc,
            media_ssrc=media_ssrc,
            base_sequence=base & 0xFFFF,
            count=arrivals[-1][0] - base + 1,
            reference_time=(reference + 0x80_0000 & 0xFF_FFFF) - 0x80_0000,
            feedback_count=self._reports - 1 & 0xFF,
            arrivals=tuple((number - base, (ns - zero) // DELTA_NS) for number, ns in arrivals),
        )
