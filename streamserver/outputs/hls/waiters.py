"""Requests that wait: parked until media comes, the deadline passes, or the client goes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from streamserver.outputs.hls.replies import Reply, problem
from streamserver.outputs.hls.settings import HlsStats

__all__ = ["Counted", "Parking", "Waiter", "hand_out"]

_FULL: Final = problem(503, "too many requests are waiting already", retry_after_s=1)


_GONE: Final = problem(503, "the client is gone")
"""Nobody ever gets it."""


class Counted:
    """Somebody whose waiting requests are counted: a viewer."""

    __slots__ = ("parked",)

    def __init__(self) -> None:
        self.parked = 0


class Waiter:
    """One parked request. The connection gives a function that takes the answer's bytes."""

    __slots__ = (
        "_parking", "_resume_reply", "_resume_wire", "deadline_ns", "gzip", "msn", "owner", "part",
    )  # fmt: skip

    def __init__(
        self, parking: "Parking", owner: Counted | None, deadline_ns: int, msn: int, part: int
    ) -> None:
        """``part`` is -1 where the whole segment is waited for."""
        self.msn = msn
        self.part = part
        self.deadline_ns = deadline_ns
        self.owner = owner
        self.gzip = False
        self._parking: Parking | None = parking
        self._resume_wire: Callable[[bytes], None] | None = None
        self._resume_reply: Callable[[Reply], None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still wanted."""
        return self._parking is not None

    def park(self, resume: Callable[[bytes], None]) -> None:
        """Has ``resume`` called with a complete HTTP message, once; call this at once."""
        self._resume_wire = resume

    def park_reply(self, resume: Callable[[Reply], None]) -> None:
        """The same for servers that write their own heads."""
        self._resume_reply = resume

    def cancel(self) -> None:
        """The client is gone; nothing will be resumed."""
        self._resume_wire = self._resume_reply = None
        self.finish(_GONE)

    def finish(self, reply: Reply) -> None:
        """Answers, unless the client is gone."""
        parking = self._parking
        if parking is None:
            return
        self._parking = None
        parking.stats.parked -= 1
        owner = self.owner
        if owner is not None:
            owner.parked -= 1
        resume = self._resume_wire
        if resume is not None:
            self._resume_wire = None
            resume(reply.wire_gzip if self.gzip else reply.made or reply.wire)
        elif self._resume_reply is not None:
            resume_reply, self._resume_reply = self._resume_reply, None
            resume_reply(reply)


class Parking:
    """How many requests may wait, over all streams and for one viewer."""

    __slots__ = ("max_parked", "max_per_owner", "stats")

    def __init__(self, stats: HlsStats, *, max_parked: int, max_per_owner: int) -> None:
        self.stats = stats
        self.max_parked = max_parked
        self.max_per_owner = max_per_owner

    def enter(
        self, owner: Counted | None, deadline_ns: int, msn: int = -1, part: int = -1
    ) -> Waiter | Reply:
        """A place to wait until ``deadline_ns``, or the refusal when there is none left."""
        stats = self.stats
        if stats.parked >= self.max_parked or (
            owner is not None and owner.parked >= self.max_per_owner
        ):
            stats.refused += 1
            return _FULL
        stats.parked += 1
        if owner is not None:
            owner.parked += 1
        return Waiter(self, owner, deadline_ns, msn, part)


def hand_out(waiters: Iterable[Waiter], reply: Reply, stats: HlsStats) -> Iterator[None]:
    """A job for the slicer: each step resumes one waiter."""
    for waiter in waiters:
        try:
            waiter.finish(reply)
        except Exception:  # A dead connection must not cost the others their answer.
            stats.lost_answers += 1
        yield
