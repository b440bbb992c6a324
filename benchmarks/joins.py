"""Load: joins a stream again and again, and says how long each took to the first whole picture.

``python -m benchmarks.joins PROTOCOL URL COUNT``: from before the connection to the last byte of
the first keyframe, over LL-HLS of the part that a player begins with.
"""

import json
import resource
import sys
import time

from benchmarks.watch import WATCH

__all__: list[str] = []

_GOP_S = 2.0
_STEP = 0.618
"""Share of a group of pictures by which each pause is longer than the last, and then shorter again:
joins fall everywhere into it, for those who wait for a keyframe too."""


def main() -> None:
    """Joins, one at a time."""
    protocol, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print("ready", flush=True)
    began, spent0 = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    took_ms: list[float] = []
    for number in range(count):
        start_ns = time.time_ns()
        pictures = WATCH[protocol](url)
        picture = next(picture for picture in pictures if picture.keyframe)
        took_ms.append((picture.at_ns - start_ns) / 1e6)
        del pictures
        time.sleep(number * _STEP % 1 * _GOP_S)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "took_ms": took_ms,
        "cpu_ms": (spent.ru_utime + spent.ru_stime - spent0.ru_utime - spent0.ru_stime) * 1000,
        "seconds": time.monotonic() - began,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
