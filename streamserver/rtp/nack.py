"""Which packets are missing, and when to ask for each of them again (RFC 4585, section 6.2)."""

from typing import Final

__all__ = ["NEVER_NS", "MissingPackets"]

NEVER_NS: Final = 1 << 62
"""A time that does not come."""

_MS: Final = 1_000_000

_GUARD_NS: Final = 5 * _MS
"""How long a packet may be late before it is asked for: networks change the order."""

_FIRST_RTT_NS: Final = 100 * _MS
"""The round trip time before it was measured."""

_MIN_REPEAT_NS: Final = 20 * _MS
_MAX_RTT_NS: Final = 1_000 * _MS

_MAX_MISSING: Final = 512
"""Packets that are asked for at once; with more missing, a keyframe costs less."""

_MAX_TRIES: Final = 10

_MAX_NAMED: Final = 200
"""Packets in one request: 200 pairs of four bytes fit every network's packets."""


class MissingPackets:
    """Holes of one source, by numbers that never wrap.

    Asks after a short guard, then again each time that an answer had time to come. Whoever waits
    for the packets decides when to give up, and says so with `forget_before`.
    """

    __slots__ = ("asked", "due", "found", "next_ns", "rtt_ns")

    def __init__(self) -> None:
        self.asked = 0
        """Packets asked for, repetitions included."""
        self.found = 0
        """Packets that came after they had been asked for."""
        self.rtt_ns: int | None = None
        """From a request to its answer, smoothed; None before the first answer."""
        # By number: when to ask next, how often it was asked, when last.
        self.due: dict[int, tuple[int, int, int]] = {}
        self.next_ns = NEVER_NS
        """When `ask` has something to do."""

    def __len__(self) -> int:
        """How many are missing."""
        return len(self.due)

    def add(self, first: int, end: int, now_ns: int) -> bool:
        """Notes that packets from ``first`` up to ``end`` were jumped over.

        Answers False, and notes nothing, when too many are missing.
        """
        if end - first + len(self.due) > _MAX_MISSING:
            return False
        due_ns = now_ns + _GUARD_NS
        self.next_ns = min(self.next_ns, due_ns)
        for number in range(first, end):
            self.due[number] = (due_ns, 0, 0)
        return True

    def came(self, number: int, now_ns: int, *, answer: bool) -> None:
        """Takes note of a packet that was missing, or was not.

        ``answer`` says that it may have come because it was asked for: without retransmissions of
        their own kind (RFC 4588) nobody knows.
        """
        entry = self.due.pop(number, None)
        if entry is None:
            return
        if not self.due:
            self.next_ns = NEVER_NS
        _, tries, asked_ns = entry
        if not answer:
            return
        self.found += tries > 0
        # After a second request nobody knows which one was answered.
        if tries == 1:
            sample = min(now_ns - asked_ns, _MAX_RTT_NS)
            known = self.rtt_ns
            self.rtt_ns = sample if known is None else known + (sample - known) // 8

    def forget_before(self, number: int) -> None:
        """Gives up what is older than a packet."""
        for old in [missing for missing in self.due if missing < number]:
            del self.due[old]
        if not self.due:
            self.next_ns = NEVER_NS

    def ask(self, now_ns: int) -> list[int]:
        """The packets to ask for now, ascending; at most as many as fit one request."""
        if now_ns < self.next_ns:
            return []
        wait_ns = max(_MIN_REPEAT_NS, (self.rtt_ns or _FIRST_RTT_NS) * 5 // 4)
        chosen: list[int] = []
        next_ns = NEVER_NS
        for number in sorted(self.due):
            due_ns, tries, asked_ns = self.due[number]
            if due_ns <= now_ns and len(chosen) < _MAX_NAMED:
                if tries == _MAX_TRIES:
                    del self.due[number]
                    continue
                chosen.append(number)
                due_ns, asked_ns = now_ns + wait_ns, now_ns
                self.due[number] = (due_ns, tries + 1, asked_ns)
            next_ns = min(next_ns, due_ns)
        self.next_ns = next_ns
        self.asked += len(chosen)
        return chosen
