"""Feeds librtmp (GStreamer's ``rtmpsink``) in real time with time stamps that encoders really send.

``python -m tests.peers.librtmp_publisher URL``. librtmp writes chunks of 128 bytes, audio and video
on one chunk stream, and nearly every time as a delta to the message before: time that steps back
becomes a negative delta, time beyond 4 h 39 min an extended one.
"""

import argparse
import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from streamserver.media.track import Kind
from tests import media_factory

__all__ = ["main"]

_CLIP_MS: Final = 4_000
"""The clip's length: whole groups of pictures."""

_FLV_HEADER: Final = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"


def _tag(kind: Kind, timestamp_ms: int, body: bytes) -> bytes:
    """One FLV tag with its trailing size (FLV 10.1, annex E.4)."""
    low, high = timestamp_ms & 0xFFFFFF, timestamp_ms >> 24 & 0xFF
    head = bytes([9 if kind is Kind.VIDEO else 8]) + len(body).to_bytes(3, "big")
    head += low.to_bytes(3, "big") + bytes([high]) + bytes(3)
    return head + body + (len(head) + len(body)).to_bytes(4, "big")


def _timed(late_audio_ms: int) -> Iterator[tuple[int, Kind, int, bytes]]:
    """When each message of an endless repetition of the clip is due, and what it is."""
    clip = list(media_factory.tags(media_factory.h264_aac(seconds=_CLIP_MS / 1000).flv))
    for turn in itertools.count():
        messages = [
            (
                turn * _CLIP_MS + tag.timestamp_ms + (tag.kind is Kind.AUDIO) * late_audio_ms,
                tag.kind,
                turn * _CLIP_MS + tag.timestamp_ms,
                tag.body,
            )
            for tag in clip
            if tag.timestamp_ms < _CLIP_MS
        ]
        yield from sorted(messages, key=lambda message: message[0])


def main() -> None:
    """Publishes until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--offset-ms", type=int, default=0, help="the first time stamp")
    parser.add_argument("--late-audio-ms", type=int, default=0, help="audio follows the video")
    parser.add_argument("--restart", action="store_true", help="each repetition begins at 0 again")
    options = parser.parse_args()
    sink = subprocess.Popen(
        [
            *("gst-launch-1.0", "-q", "fdsrc", "fd=0", "blocksize=1048576"),
            *("!", "video/x-flv", "!", "rtmpsink", f"location={options.url}"),
        ],
        stdin=subprocess.PIPE,
    )
    assert sink.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        sink.stdin.write(_FLV_HEADER)
        began = time.monotonic()
        for due_ms, kind, time_ms, body in _timed(options.late_audio_ms):
            time.sleep(max(0.0, began + due_ms / 1000 - time.monotonic()))
            stamp = time_ms % _CLIP_MS if options.restart else time_ms
            sink.stdin.write(_tag(kind, options.offset_ms + stamp, body))
            # A tag per read: librtmp cannot take a header in two pieces.
            sink.stdin.flush()
    sink.wait()


if __name__ == "__main__":
    main()
