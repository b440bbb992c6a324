"""Reads a URL with FFmpeg 8 as PyAV brings it: ``python -m tests.peers.pyav_reader URL FRAMES``.

Prints one line of JSON: the streams, and how many of the first FRAMES frames had which width (0
where there is no picture). What FFmpeg complains about goes to stderr.
"""

import json
import sys
from collections import Counter

import av
import av.logging

__all__ = ["main"]


def main() -> None:
    """Reads and prints."""
    url, count = sys.argv[1], int(sys.argv[2])
    av.logging.set_level(av.logging.ERROR)
    widths: Counter[int] = Counter()
    with av.open(url, "r") as container:
        streams = [
            {
                "codec": stream.codec_context.codec.canonical_name,
                "width": getattr(stream.codec_context, "width", 0),
                "height": getattr(stream.codec_context, "height", 0),
                "fps": float(getattr(stream, "guessed_rate", None) or 0),
                "sample_rate": getattr(stream.codec_context, "sample_rate", 0),
            }
            for stream in container.streams
        ]
        for frame in container.decode(container.streams[0]):
            widths[getattr(frame, "width", 0)] += 1
            if widths.total() == count:
                break
    sys.stdout.write(json.dumps({"streams": streams, "widths": widths}) + "\n")


if __name__ == "__main__":
    main()
