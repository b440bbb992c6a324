"""The demonstration stream: a child process that draws and encodes, published without a door."""

import asyncio
import logging
import sys
from typing import Final

from streamserver.clock import Clock
from streamserver.errors import StreamServerError
from streamserver.ffmpeg.testsource_frames import (
    AUDIO_CLOCK,
    VIDEO_CLOCK,
    Record,
    RecordDecoder,
    RecordKind,
)
from streamserver.hub.registry import Lease
from streamserver.ingest.assembler import Assembler, Frame
from streamserver.media.timeline import rescale
from streamserver.media.track import Codec, Kind

__all__ = ["DemoSource"]

_COMMAND: Final = (sys.executable, "-m", "streamserver.ffmpeg.testsource")

_READ_BYTES: Final = 256 * 1024
_STOP_S: Final = 3
"""Seconds that the child has to end before it is killed."""

logger = logging.getLogger(__name__)


class DemoSource:
    """Runs the test source and appends what it makes to a lease."""

    def __init__(self, lease: Lease, clock: Clock) -> None:
        self._assembler = Assembler(lease)
        self._clock = clock

    async def run(self) -> None:
        """Publishes until cancelled or the child ends; raises `StreamServerError` if it fails."""
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        decoder = RecordDecoder()
        try:
            while data := await process.stdout.read(_READ_BYTES):
                now_ns = self._clock.monotonic_ns()
                for record in decoder.feed(data):
                    self._take(record, now_ns)
                if not self._assembler.lease.is_current:
                    return
        finally:
            await self._stop(process)
        raise StreamServerError(f"the test source ended with code {process.returncode}")

    def _take(self, record: Record, now_ns: int) -> None:
        match record.kind:
            case RecordKind.VIDEO_CONFIG:
                self._assembler.configure(Codec.H264, record.data)
            case RecordKind.AUDIO_CONFIG:
                self._assembler.configure(Codec.AAC, record.data)
            case RecordKind.VIDEO | RecordKind.AUDIO:
                is_video = record.kind is RecordKind.VIDEO
                rate = VIDEO_CLOCK if is_video else AUDIO_CLOCK
                dts_ms = rescale(record.dts, rate, 1000)
                composition_ms = rescale(record.pts, rate, 1000) - dts_ms
                kind = Kind.VIDEO if is_video else Kind.AUDIO
                self._assembler.push(
                    Frame(kind, dts_ms, composition_ms, record.data, record.keyframe, now_ns)
                )

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
