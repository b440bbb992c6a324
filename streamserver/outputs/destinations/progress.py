"""Whether a destination gets what it is sent: the difference between green and true."""

from collections import deque
from typing import Final

__all__ = ["Progress"]

_SECOND: Final = 1_000_000_000


class Progress:
    """Compares what was written with what the far kernel acknowledged. Time is an argument.

    The far program is not asked, for most servers acknowledge nothing in RTMP: a program that
    stops to read is seen when its kernel's receive buffer is full. That buffer, 64 KB to 6 MB
    wide, delays the finding by its size over the bit rate: at 2.65 Mbit/s by 0.2 s (a buffer that
    never grew) to 18 s, and ``stall_after_ns`` comes on top. A host or network that is gone is
    seen after ``stall_after_ns``.
    """

    __slots__ = ("_acked", "_baseline", "_marks", "_moved_ns", "_stall_after_ns", "confirmed")

    def __init__(self, *, stall_after_ns: int = 5 * _SECOND) -> None:
        self._stall_after_ns = stall_after_ns
        self._baseline: int | None = None
        self._acked = 0
        self._moved_ns = 0
        self._marks: deque[tuple[int, int]] = deque()
        self.confirmed = False
        """Whether media was acknowledged since the far side accepted."""

    def begin(self, acked_bytes: int, now_ns: int) -> None:
        """The far side accepted, and the first media is about to be written."""
        self._baseline = self._acked = acked_bytes
        self._moved_ns = now_ns

    def wrote(self, total_bytes: int, at_ms: int) -> None:
        """All media up to log time ``at_ms`` is within the first ``total_bytes`` written."""
        self._marks.append((total_bytes, at_ms))

    def look(self, *, acked_bytes: int, pending_bytes: int, total_bytes: int, now_ns: int) -> None:
        """One look at the connection.

        ``pending_bytes`` were written and are not acknowledged, in our buffers or the kernel's.
        """
        if acked_bytes != self._acked or not pending_bytes:
            self._acked = acked_bytes
            self._moved_ns = now_ns
        if self._baseline is not None and acked_bytes > self._baseline:
            self.confirmed = True
        arrived = total_bytes - pending_bytes
        while len(self._marks) > 1 and self._marks[0][0] <= arrived:
            self._marks.popleft()

    def queued_ms(self, total_bytes: int, pending_bytes: int, newest_ms: int) -> int:
        """Milliseconds of media that were written or wait to be, and did not arrive."""
        if not self._marks:
            return 0
        arrived = total_bytes - pending_bytes
        oldest = next((at for size, at in self._marks if size > arrived), self._marks[-1][1])
        return max(0, newest_ms - oldest)

    def stalled_ns(self, now_ns: int) -> int:
        """How long nothing was acknowledged although something waits; 0 while all is well."""
        silent = now_ns - self._moved_ns
        return silent if self._baseline is not None and silent >= self._stall_after_ns else 0
