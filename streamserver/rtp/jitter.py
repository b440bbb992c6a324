"""Packets in order: those that came early wait for those that are late, within bounds."""

from collections.abc import Iterator
from typing import Final

from streamserver.rtp.packet import RtpPacket

__all__ = ["ReorderBuffer"]

_MAX_PACKETS: Final = 1024
"""Packets that wait; a second of 10 Mbit/s. Beyond it the oldest hole is given up."""

_MAX_BYTES: Final = 2 * 1024 * 1024
"""Bytes that wait, whatever sizes packets have."""


class ReorderBuffer:
    """Packets of one source that wait for an earlier one, by numbers that never wrap."""

    __slots__ = ("_bytes", "held", "max_bytes", "max_packets", "next")

    def __init__(self, first: int) -> None:
        self.next = first
        """The number that is handed on next."""
        self.max_packets = _MAX_PACKETS
        self.max_bytes = _MAX_BYTES
        # In the order of their coming.
        self.held: dict[int, tuple[RtpPacket, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self.held)

    @property
    def waits_since_ns(self) -> int:
        """When the first came that still waits; ask only while one does."""
        return next(iter(self.held.values()))[1]

    @property
    def is_full(self) -> bool:
        """Whether a bound is reached."""
        return len(self.held) >= self.max_packets or self._bytes >= self.max_bytes

    def hold(self, number: int, packet: RtpPacket, now_ns: int) -> bool:
        """Keeps a packet that is not next; False when it is here already, or was handed on."""
        if number < self.next or number in self.held:
            return False
        self.held[number] = (packet, now_ns)
        self._bytes += len(packet.payload)
        return True

    def ready(self) -> Iterator[RtpPacket]:
        """Hands on what is next, until a hole comes."""
        held = self.held
        while (entry := held.pop(self.next, None)) is not None:
            self._bytes -= len(entry[0].payload)
            self.next += 1
            yield entry[0]

    def give_up(self) -> int:
        """Steps over the oldest hole; answers how many packets are lost with it."""
        if not self.held:
            return 0
        first = min(self.held)
        lost = first - self.next
        self.next = first
        return lost

    def restart(self, number: int) -> int:
        """Throws everything away and goes on at a number; answers how many were thrown away."""
        thrown = len(self.held)
        self.held.clear()
        self._bytes = 0
        self.next = number
        return thrown
