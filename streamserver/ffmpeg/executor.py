"""Threads for FFmpeg's work: a fixed number of them, and a bounded queue before them.

Two are made: ``media``, for work that takes its time, and ``audio``, so that sound, which is due
every 20 ms, never waits behind a segment of video. Neither does IO.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

from streamserver.errors import LimitError, ShuttingDownError

__all__ = ["MediaExecutor"]

T = TypeVar("T")


Done = Callable[[T | None, BaseException | None], None]
"""Takes what a call answered, or what it raised instead."""


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One call, and where its outcome goes."""

    call: Callable[[], T]
    loop: asyncio.AbstractEventLoop
    done: Done[T]
    abandoned: bool = False

    def run(self) -> tuple[T | None, BaseException | None]:
        # Read from another thread; at worst the work is done for nobody.
        if self.abandoned:
            return None, None
        try:
            return self.call(), None
        except BaseException as error:  # whatever it is belongs to whoever asked
            return None, error


class MediaExecutor:
    """Runs calls in ``workers`` threads; at most ``waiting`` more wait for one.

    The threads are daemons: one that hangs in a library does not keep the process from ending.
    """

    def __init__(self, *, workers: int, waiting: int, name: str = "media") -> None:
        self.refused = 0
        """Calls refused because the queue was full."""
        self.done = 0
        """Calls that ended, one way or the other."""
        self._name = name
        self._most = workers + waiting
        self._pending: set[_Job[Any]] = set()
        self._ended = asyncio.Event()
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pending(self) -> int:
        """Calls running or waiting."""
        return len(self._pending)

    def submit(self, call: Callable[[], T], done: Done[T]) -> Callable[[], None]:
        """Runs ``call()`` in a thread, and then ``done`` in the loop that this is called from.

        Answers what calls it off: nobody is told then, and a call that did not begin never does.
        Raises `LimitError` when too many wait already, `ShuttingDownError` once closed.
        """
        if self._closed:
            raise ShuttingDownError(f"the {self._name} threads are closed")
        if len(self._pending) >= self._most:
            self.refused += 1
            raise LimitError(f"{len(self._pending)} {self._name} calls are under way already")
        job = _Job(call, asyncio.get_running_loop(), done)
        self._pending.add(job)
        self._jobs.put(job)
        return partial(setattr, job, "abandoned", True)

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Runs ``call(*args)`` in a thread and answers what it answers, or raises what it raises.

        Raises what `submit` does. When the caller is cancelled, a call that did not begin never
        does; one that did runs to its end, and counts until then.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(cast(T, result))
            elif isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)

        call_off = self.submit(lambda: call(*args), done)
        try:
            return await future
        except asyncio.CancelledError:
            call_off()
            raise

    async def close(self, deadline_s: float) -> bool:
        """Takes no more calls, waits for those under way; answers whether all ended in time.

        Those that did not are told so by a `CancelledError`, and their threads left behind.
        """
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self._pending:
                    self._ended.clear()
                    await self._ended.wait()
        late = tuple(self._pending)
        for job in late:
            self._deliver(job, None, asyncio.CancelledError())
        for _ in self._threads:
            self._jobs.put(None)
        return not late

    def _deliver(self, job: _Job[T], result: T | None, error: BaseException | None) -> None:
        """In the loop; a second time for those that were late at the end."""
        if job not in self._pending:
            return
        self._pending.remove(job)
        self.done += 1
        self._ended.set()
        if not job.abandoned:
            job.abandoned = True
            job.done(result, error)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = job.run()
            # RuntimeError: the loop is closed, nobody waits any more.
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(self._deliver, job, result, error)
            del job, result, error  # nothing is held while it waits
