"""Load: a viewer that reads the clock in each picture, and says how old pictures are.

``python -m benchmarks.glass PROTOCOL URL SECONDS``. Of pictures that come together, as in a part of
LL-HLS, the oldest counts: a player that shows all of them evenly is at least so far behind.
"""

import json
import resource
import sys
import time

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from benchmarks.watch import WATCH, Picture
from tests.peers.clock_publisher import CLOCK

__all__: list[str] = []

_SETTLE_S = 2.0


class _Decoder:
    """H.264 to the times that its pictures show."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None

    def drawn_ms(self, picture: Picture) -> int | None:
        """The Unix time in a picture; None before the first keyframe, or when it cannot be read."""
        if self._context is None:
            if not picture.keyframe:
                return None
            context = av.CodecContext.create("h264", "r")
            assert isinstance(context, VideoCodecContext)
            if picture.config:
                context.extradata = picture.config
            context.flags |= av.codec.context.Flags.low_delay
            # Frame threads would hold pictures back.
            context.thread_type = "SLICE"
            self._context = context
        data = picture.data if picture.config else _annex_b(picture.data)
        shown = None
        for frame in self._context.decode(av.Packet(data)):
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)
            shown = CLOCK.read(rows.reshape(plane.height, plane.line_size)[:, : plane.width])
        return shown


def _annex_b(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4])
        out += b"\0\0\0\1" + data[at + 4 : end]
        at = end
    return bytes(out)


def main() -> None:
    """Watches for a while and reports on what came after the first seconds."""
    protocol, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    print("ready", flush=True)
    spent0, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    decoder = _Decoder()
    age_ms: list[float] = []
    pictures = unread = 0
    for picture in WATCH[protocol](url):
        drawn_ms = decoder.drawn_ms(picture)
        passed = time.monotonic() - began
        if passed > _SETTLE_S:
            pictures += 1
            if drawn_ms is None:
                unread += 1
            elif picture.first:
                age_ms.append(picture.at_ns / 1e6 - drawn_ms)
        if passed > _SETTLE_S + seconds:
            break
    spent, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    report = {
        "age_ms": age_ms,
        "pictures": pictures,
        "unread": unread,
        "cpu_ms": (spent.ru_utime + spent.ru_stime - spent0.ru_utime - spent0.ru_stime) * 1000,
        "seconds": elapsed,
        "measured_s": elapsed - _SETTLE_S,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
