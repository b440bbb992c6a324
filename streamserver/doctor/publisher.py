"""An encoder: the test source, published over RTMP as any other would."""

import asyncio
import bisect
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

from streamserver.clock import Clock
from streamserver.errors import UnavailableError
from streamserver.ffmpeg.testsource_frames import (
    AUDIO_CLOCK,
    VIDEO_CLOCK,
    Record,
    RecordDecoder,
    RecordKind,
)
from streamserver.media.timeline import rescale
from streamserver.outputs.destinations.connection import FarConnection
from streamserver.rtmp.client_events import PublishAccepted
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed
from streamserver.rtmp.target import parse_target

__all__ = ["Sent", "publishing"]

_SOURCE: Final = (
    *(sys.executable, "-m", "streamserver.ffmpeg.testsource"),
    *("--width", "640", "--height", "360", "--bit-rate", "1000000", "--nice", "0"),
)
"""Small, and not nice: what is tried is the server, not how busy the machine's encoders are."""

_READ_BYTES: Final = 256 * 1024
_UNSENT_BYTES: Final = 4 * 1024 * 1024
_ACCEPTED_S: Final = 10
_FIRST_PICTURE_S: Final = 60


class Sent:
    """When each picture was sent."""

    def __init__(self) -> None:
        self._stamps_ms: list[int] = []
        self._times_s: list[float] = []
        self.begun = asyncio.Event()
        """Set with the first picture."""

    def add(self, stamp_ms: int) -> None:
        """One is sent now."""
        self._stamps_ms.append(stamp_ms)
        self._times_s.append(time.monotonic())
        self.begun.set()

    def before(self, after_first_ms: float) -> float | None:
        """When the last picture was sent that begins earlier than so long after the first; on the
        monotonic clock, None where there is none."""
        if not self._stamps_ms:
            return None
        # A millisecond less: time stamps are rounded.
        at = bisect.bisect_left(self._stamps_ms, self._stamps_ms[0] + after_first_ms - 1)
        return self._times_s[at - 1] if at else None


@contextlib.asynccontextmanager
async def publishing(url: str, clock: Clock) -> AsyncIterator[Sent]:
    """Publishes while the block lasts, from the first picture on; gives what was sent when, as it
    grows.

    Raises `UnavailableError` with what the server said instead.
    """
    target = parse_target(url)
    connection = FarConnection(ClientSettings(target=target), clock, _UNSENT_BYTES)
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(lambda: connection, target.host, target.port)
    except OSError as error:
        raise UnavailableError(f"RTMP port {target.port} cannot be reached: {error}") from error
    sent = Sent()
    try:
        async with asyncio.timeout(_ACCEPTED_S):
            await _accepted(connection)
        sending = asyncio.create_task(_send(connection, sent))
        try:
            await _first_picture(sent, sending)
            yield sent
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    except TimeoutError as error:
        raise UnavailableError("the server did not let the encoder publish in time") from error
    finally:
        connection.leave("the trial is over")


async def _first_picture(sent: Sent, sending: asyncio.Task[None]) -> None:
    begun = asyncio.create_task(sent.begun.wait())
    await asyncio.wait(
        (begun, sending), timeout=_FIRST_PICTURE_S, return_when=asyncio.FIRST_COMPLETED
    )
    begun.cancel()
    if not sent.begun.is_set():
        raise UnavailableError("the test source made no picture: is the machine overloaded?")


async def _accepted(connection: FarConnection) -> None:
    while True:
        await connection.stirred(1)
        for event in connection.session.events():
            if isinstance(event, PublishAccepted):
                return
            if isinstance(event, Closed):
                raise UnavailableError(f"the server refused the encoder: {event.reason}")


async def _send(connection: FarConnection, sent: Sent) -> None:
    process = await asyncio.create_subprocess_exec(
        *_SOURCE, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    decoder = RecordDecoder()
    try:
        while data := await process.stdout.read(_READ_BYTES):
            for record in decoder.feed(data):
                _write(connection, record)
                if record.kind is RecordKind.VIDEO:
                    sent.add(rescale(record.dts, VIDEO_CLOCK, 1000))
            connection.flush()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _write(connection: FarConnection, record: Record) -> None:
    """One record as the body of an FLV tag (Adobe's FLV specification 10.1, E.4.2 and E.4.3)."""
    session = connection.session
    match record.kind:
        case RecordKind.VIDEO_CONFIG:
            session.send_media("video", 0, b"\x17\x00\x00\x00\x00" + record.data)
        case RecordKind.AUDIO_CONFIG:
            session.send_media("audio", 0, b"\xaf\x00" + record.data)
        case RecordKind.VIDEO:
            dts_ms = rescale(record.dts, VIDEO_CLOCK, 1000)
            composition_ms = rescale(record.pts, VIDEO_CLOCK, 1000) - dts_ms
            head = bytes((0x17 if record.keyframe else 0x27, 1)) + composition_ms.to_bytes(3)
            session.send_media("video", dts_ms, head + record.data)
        case RecordKind.AUDIO:
            time_ms = rescale(record.dts, AUDIO_CLOCK, 1000)
            session.send_media("audio", time_ms, b"\xaf\x01" + record.data)
