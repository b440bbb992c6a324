"""Slates of all streams: coded ahead, shown while a publisher is away, within the window."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from streamserver.errors import PeerError, StreamServerError
from streamserver.ffmpeg.slate_request import COMMAND, MAX_SLATE_BYTES, SlateRequest
from streamserver.ffmpeg.testsource_frames import RecordDecoder
from streamserver.hub.registry import StreamListener
from streamserver.hub.stream import Stream, StreamState
from streamserver.ingest.slate import Slate, SlateFeed, request_for
from streamserver.names import StreamKey

__all__ = ["MakeSlate", "Slates", "run_child"]

_AFTER_MS: Final = 500
"""A publisher that is back within this, or is being replaced by another, needs no slate."""

_EVERY_MS: Final = 40
"""How often what is due is appended: a frame or two."""

_CHILD_S: Final = 60
"""How long coding may take."""

_KEPT: Final = 4
"""Coded slates that are kept for whoever needs the same; each is `MAX_SLATE_BYTES` at most."""

_READ_BYTES: Final = 256 * 1024
_LAST_WORDS_BYTES: Final = 4096

MakeSlate = Callable[[SlateRequest], Awaitable[Slate]]
"""Codes a slate. Raises `StreamServerError` or `OSError`."""

logger = logging.getLogger(__name__)


class Slates(StreamListener):
    """Listens to the registry. A stream whose app or name has a slate gets it coded in its own form
    when it starts, so that it is there when the publisher is not."""

    def __init__(
        self,
        *,
        path_of: Callable[[StreamKey], str],
        make: MakeSlate,
        later: Callable[[int, Callable[[], None]], Callable[[], None]],
        now_ns: Callable[[], int],
    ) -> None:
        """``path_of`` answers the file for a stream, or nothing; ``later`` is `Driver.later`."""
        self.shown = 0
        """Times that a slate was shown."""
        self.failures = 0
        """Slates that could not be made."""
        self._path_of = path_of
        self._make = make
        self._later = later
        self._now_ns = now_ns
        self._made: dict[SlateRequest, Slate] = {}
        self._coding = asyncio.Lock()
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._timers: dict[Stream, Callable[[], None]] = {}

    def stream_started(self, stream: Stream) -> None:
        """Codes ahead."""
        self._prepare(stream)

    def stream_resumed(self, stream: Stream) -> None:
        """The publisher may have come back with another picture."""
        self._cancel(stream)
        self._prepare(stream)

    def stream_interrupted(self, stream: Stream) -> None:
        """Shows it, unless somebody comes at once."""
        if stream not in self._timers and self._path_of(stream.key):
            self._timers[stream] = self._later(_AFTER_MS, partial(self._show, stream))

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Lets go of it."""
        self._cancel(stream)
        if (task := self._tasks.pop(stream, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Ends what is being coded, at shutdown."""
        for stream in list(self._timers):
            self._cancel(stream)
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, stream: Stream) -> None:
        cancel = self._timers.pop(stream, None)
        if cancel is not None:
            cancel()

    def _prepare(self, stream: Stream) -> None:
        path = self._path_of(stream.key)
        if not path or stream in self._tasks:
            return
        request = request_for(path, stream.tracks)
        if request is None:
            codecs = ", ".join(track.codec.value for track in stream.tracks)
            logger.warning("%s has no slate: it cannot be made as %s here", stream.key, codecs)
        elif request not in self._made:
            task = asyncio.get_running_loop().create_task(self._code(stream, request), name="slate")
            self._tasks[stream] = task

    async def _code(self, stream: Stream, request: SlateRequest) -> None:
        """One at a time: they take a core for a second."""
        try:
            async with self._coding:
                if request not in self._made:
                    slate = await self._make(request)
                    self._made[request] = slate
                    while len(self._made) > _KEPT:
                        del self._made[next(iter(self._made))]
        except (StreamServerError, OSError) as error:
            self.failures += 1
            logger.warning("%s has no slate: %s: %s", stream.key, request.path, error)
        finally:
            if self._tasks.get(stream) is asyncio.current_task():
                del self._tasks[stream]

    def _show(self, stream: Stream, *, asked: bool = False) -> None:
        """Begins, or waits for what is still being coded (``asked``) or for a newcomer's media."""
        self._timers.pop(stream, None)
        if stream.state is not StreamState.INTERRUPTED:
            return
        request = request_for(self._path_of(stream.key), stream.tracks)
        slate = self._made.pop(request, None) if request is not None else None
        if request is None or (slate is None and asked and stream not in self._tasks):
            return
        if slate is None:
            # It was pushed out by others, or the settings have changed.
            self._prepare(stream)
        else:
            self._made[request] = slate
        if slate is None or stream.publisher is not None:
            wait = partial(self._show, stream, asked=slate is None)
            self._timers[stream] = self._later(_AFTER_MS, wait)
            return
        self.shown += 1
        logger.info("%s: the slate is shown", stream.key)
        self._pump(stream, SlateFeed(stream, slate, self._now_ns()))

    def _pump(self, stream: Stream, feed: SlateFeed) -> None:
        self._timers.pop(stream, None)
        if feed.pump(self._now_ns()):
            self._timers[stream] = self._later(_EVERY_MS, partial(self._pump, stream, feed))


async def run_child(request: SlateRequest) -> Slate:
    """Codes a slate in a process of its own. Raises `PeerError` with its last words."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_CHILD_S):
            return await _read(process, request)
    except TimeoutError:
        raise PeerError(f"coding it took longer than {_CHILD_S} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


async def _read(process: asyncio.subprocess.Process, request: SlateRequest) -> Slate:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(request.to_line())
        await process.stdin.drain()
    process.stdin.close()
    decoder, records, left = RecordDecoder(), [], MAX_SLATE_BYTES
    while data := await process.stdout.read(_READ_BYTES):
        left -= len(data)
        if left < 0:
            raise PeerError(f"it becomes more than {MAX_SLATE_BYTES >> 20} MiB")
        records += decoder.feed(data)
    # FFmpeg's libraries write little here, and a pipe holds 64 KB.
    words = (await process.stderr.read(_LAST_WORDS_BYTES)).decode(errors="replace").strip()
    if await process.wait():
        raise PeerError(words.splitlines()[-1] if words else f"coding ended: {process.returncode}")
    return Slate.of_records(request, records)
