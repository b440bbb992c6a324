"""A child process that reads a stream over HLS, RTSP or SRT and writes it to its output as FLV.

FFmpeg's protocols block, and hold the interpreter's lock where we do not want them to: so each
source has a process of its own, which a source can hang or crash alone. Packets are copied; the FLV
muxer brings every codec into the form that RTMP messages have.

Its input is one JSON line, a `PullRequest`: not the command line, which every user of the machine
may read. When it fails, its last line on standard error says why, and its exit code is 1.
"""

import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import av
from av.error import FFmpegError

from streamserver.ffmpeg.command import CommandError, reading
from streamserver.ffmpeg.pull_request import PullRequest

__all__ = ["copy", "main"]

_VIDEO: Final = frozenset({"h264", "hevc", "av1", "vp9"})
_AUDIO: Final = frozenset({"aac", "opus", "mp3"})
_LONGEST_WAIT_S: Final = 10.0
"""A source whose times run further ahead has jumped: its beginning is taken anew."""


def copy(request: PullRequest, output: BinaryIO) -> None:
    """Copies until the source ends. Raises `FFmpegError`, `CommandError`, and `ValueError` without
    any media."""
    if request.command:
        with reading(request) as pipe, av.open(pipe, format="mpegts") as source:
            _copy(source, request, output)
        return
    timeout = (request.timeout_s, request.timeout_s)
    with av.open(request.url, options=request.options, timeout=timeout) as source:
        _copy(source, request, output)


def _copy(source: Any, request: PullRequest, output: BinaryIO) -> None:
    streams = [
        found
        for found in (_first(source.streams.video, _VIDEO), _first(source.streams.audio, _AUDIO))
        if found is not None
    ]
    if not streams:
        raise ValueError("the source has neither video nor audio of a codec that is served")
    # Without this the muxer's 32 KB would wait to be full.
    with av.open(_Plain(output), "w", format="flv", options={"flush_packets": "1"}) as target:
        outputs = {one.index: target.add_stream_from_template(one) for one in streams}
        packets: Iterator[Any] = source.demux(*streams)
        for packet in _paced(packets) if request.pace else packets:
            if packet.dts is None:  # the mark of the end
                continue
            packet.stream = outputs[packet.stream.index]
            target.mux(packet)


def _first(streams: Any, codecs: frozenset[str]) -> Any:
    return next((one for one in streams if one.codec_context.name in codecs), None)


def _paced(packets: Iterator[Any]) -> Iterator[Any]:
    begun_s: float | None = None
    for packet in packets:
        if packet.dts is not None:
            media_s = float(packet.dts * packet.time_base)
            now_s = time.monotonic()
            if (
                begun_s is None
                or not -_LONGEST_WAIT_S < begun_s + media_s - now_s < _LONGEST_WAIT_S
            ):
                begun_s = now_s - media_s
            time.sleep(max(0.0, begun_s + media_s - now_s))
        yield packet


class _Plain:
    """A pipe with nothing but ``write``: FFmpeg would try to seek in anything that can more."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def write(self, data: bytes) -> int:
        written = self._output.write(data)
        self._output.flush()
        return written


def main() -> int:
    """The child process."""
    # So that a command of its own ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    request = PullRequest.from_line(sys.stdin.buffer.readline())
    try:
        copy(request, sys.stdout.buffer)
    except BrokenPipeError:
        return 0
    except (FFmpegError, CommandError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        sys.stderr.write(f"{words}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
