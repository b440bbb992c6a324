"""The fair slicer: long fan-outs in short turns, so that no stream holds the loop."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["HOLD_BUCKETS_US", "STEPS", "Slicer"]

HOLD_BUCKETS_US: Final = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
"""Upper bounds of the histogram of turns, in microseconds; longer ones come last."""

STEPS: Final = 8
"""Steps of a job between two looks at the clock: a step is a few microseconds, a look half of one.
"""


class Slicer:
    """Runs the steps of many jobs in turn and gives the loop back after ``budget_ns``.

    A job is an iterator; each ``next()`` is one step, such as one write to one viewer. One that
    does more at once answers how many steps it was: 8 or more are a turn of a job. Jobs take
    turns, so that a stream with a thousand viewers does not delay one with three.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        schedule: Callable[[Callable[[], None]], None],
        budget_ns: int = 4_000_000,
    ) -> None:
        self.budget_ns = budget_ns
        self.turns = 0
        self.failures = 0
        self.longest_ns = 0
        self.held_ns = 0
        self.hold_histogram = [0] * (len(HOLD_BUCKETS_US) + 1)
        self.on_error: Callable[[Exception], None] | None = None
        self._now_ns = now_ns
        self._schedule = schedule
        self._jobs: deque[Iterator[int | None]] = deque()
        self._scheduled = False

    @property
    def waiting(self) -> int:
        """Jobs with steps left."""
        return len(self._jobs)

    def submit(self, job: Iterator[int | None]) -> None:
        """Adds a job; its first step runs in this turn of the loop or the next."""
        self._jobs.append(job)
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._turn)

    def begin(self, job: Iterator[int | None]) -> None:
        """As `submit`, but its first steps run now, if no turn is to come anyway.

        For a timer, which has the loop to itself.
        """
        self._jobs.append(job)
        if not self._scheduled:
            self._scheduled = True
            self._turn()

    def _turn(self) -> None:
        started = self._now_ns()
        end = started + self.budget_ns
        jobs = self._jobs
        now = started
        while jobs and now < end:
            job = jobs.popleft()
            if self._run_some(job):
                jobs.append(job)
            now = self._now_ns()
        self._account(now - started)
        self._scheduled = bool(jobs)
        if jobs:
            self._schedule(self._turn)

    def _run_some(self, job: Iterator[int | None]) -> bool:
        """Runs a few steps; False when the job is over."""
        try:
            left = STEPS
            while left > 0:
                left -= next(job) or 1
        except StopIteration:
            return False
        except Exception as error:  # One reader's failure must not stop the others' fan-out.
            self.failures += 1
            if self.on_error is not None:
                self.on_error(error)
            return False
        return True

    def _account(self, held_ns: int) -> None:
        self.turns += 1
        self.longest_ns = max(self.longest_ns, held_ns)
        self.held_ns += held_ns
        self.hold_histogram[bisect_left(HOLD_BUCKETS_US, held_ns // 1000)] += 1
