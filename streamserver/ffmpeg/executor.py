"""Threads for FFmpeg's work: a fixed number of them, and a bounded queue before them.

Two are made: ``media``, whose work never waits for anything, and ``disk``, so that a stalled disk
stops no media.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from streamserver.errors import LimitError, ShuttingDownError

__all__ = ["MediaExecutor"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One call, and where its outcome goes."""

    call: Callable[[], T]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[T]"
    abandoned: bool = False

    def run(self) -> None:
        # Read from another thread; at worst the work is done for nobody.
        if self.abandoned or self.future.done():
            self._settle(None, None)
            return
        try:
            result = self.call()
        except BaseException as error:  # whatever it is belongs to whoever asked
            self._settle(None, error)
        else:
            self._settle(result, None)

    def _settle(self, result: T | None, error: BaseException | None) -> None:
        # RuntimeError: the loop is closed, nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._deliver, result, error)

    def _deliver(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if self.abandoned:
            self.future.cancel()
        elif error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


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
        self._pending: set[asyncio.Future[Any]] = set()
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

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Runs ``call(*args)`` in a thread and answers what it answers, or raises what it raises.

        Raises `LimitError` when too many wait already, `ShuttingDownError` once closed. When the
        caller is cancelled, a call that did not begin never does; one that did runs to its end.
        """
        if self._closed:
            raise ShuttingDownError(f"the {self._name} threads are closed")
        if len(self._pending) >= self._most:
            self.refused += 1
            raise LimitError(f"{len(self._pending)} {self._name} calls are under way already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending.add(future)
        future.add_done_callback(self._forget)
        job = _Job(lambda: call(*args), loop, future)
        self._jobs.put(job)
        try:
            # Shielded, so that it counts as long as the thread is busy with it.
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    async def close(self, deadline_s: float) -> bool:
        """Takes no more calls, waits for those under way; answers whether all ended in time.

        Those that did not are cancelled, and their threads left behind.
        """
        self._closed = True
        late: set[asyncio.Future[Any]] = set()
        if self._pending:
            _, late = await asyncio.wait(set(self._pending), timeout=deadline_s)
        for future in late:
            future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        return not late

    def _forget(self, future: "asyncio.Future[Any]") -> None:
        self._pending.discard(future)
        self.done += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
