"""A child process that makes H.264 for browsers of the pictures that it is sent.

It reads and writes the records of `streamserver.ffmpeg.transcode_wire`, and ends with its input.
What a hostile picture can do to a decoder, it does here: to one stream's conversion, and no more.
"""

import os
import resource
import signal
import sys
import time
from typing import BinaryIO, Final

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.transcode_wire import (
    Begin,
    Coded,
    Fault,
    KeyframeWanted,
    RecordReader,
    Taken,
    to_bytes,
)
from streamserver.ffmpeg.video import VideoTranscoder

__all__ = ["main", "serve"]

_NICE: Final = 5
"""So that all that is only passed on comes first."""

_MAX_MEMORY: Final = 1024 * 1024 * 1024
"""4096x2160 with eight pictures that others refer to takes 430 MB, 1280x720 takes 120."""

_READ_BYTES: Final = 64 * 1024


def serve(source: int, target: BinaryIO) -> None:
    """Answers records from a file descriptor until its end."""
    reader, worker = RecordReader(), _Worker(target)
    while data := os.read(source, _READ_BYTES):
        for record in reader.feed(data):
            if isinstance(record, Begin):
                worker.begin(record)
            elif isinstance(record, Coded):
                worker.take(record)
            elif isinstance(record, KeyframeWanted):
                worker.want_keyframe()


class _Worker:
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._transcoder: VideoTranscoder | None = None
        self._damaged = 0
        self._busy_ns = time.process_time_ns()

    def begin(self, begin: Begin) -> None:
        self._damaged = 0
        self._transcoder = None
        try:
            self._transcoder = VideoTranscoder(begin)
        except RemoteProtocolError as error:
            self._target.write(to_bytes(Fault(str(error))))

    def want_keyframe(self) -> None:
        if self._transcoder is not None:
            self._transcoder.want_keyframe()

    def take(self, coded: Coded) -> None:
        transcoder = self._transcoder
        if transcoder is not None:
            try:
                for made in transcoder.feed(coded):
                    self._target.write(to_bytes(made))
            except RemoteProtocolError as error:
                self._target.write(to_bytes(Fault(str(error))))
                self._transcoder = None
        now_ns = time.process_time_ns()
        damaged = 0 if transcoder is None else transcoder.damaged
        taken = Taken(damaged - self._damaged, (now_ns - self._busy_ns) // 1000)
        self._damaged, self._busy_ns = damaged, now_ns
        self._target.write(to_bytes(taken))
        self._target.flush()


def main() -> int:
    """The child process."""
    # The end of its input says when to end; Ctrl-C is for the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    # What asks for more ends with an error here, and not the server with the machine's memory.
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY, _MAX_MEMORY))
    try:
        serve(sys.stdin.fileno(), sys.stdout.buffer)
    except BrokenPipeError:
        # Nobody reads any more; what is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
