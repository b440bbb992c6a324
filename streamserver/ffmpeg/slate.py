"""A child process that codes a slate: what viewers see while a publisher is away, to be repeated.

Its input is one JSON line, a `SlateRequest`. Its output are the records of
`streamserver.ffmpeg.testsource_frames`: pictures that begin with a keyframe and can follow
themselves, and one frame of silence, whose time stamps count samples of its own rate. The file is
the operator's, but a decoder is a large thing to let at it within the server; and coding takes a
second of a core, which no stream shall feel.

When it fails, its last line on standard error says why, and its exit code is 1.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice, pairwise, repeat
from typing import Any, Final

import av
from av.audio.codeccontext import AudioCodecContext
from av.codec.context import Flags
from av.error import FFmpegError
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext

from streamserver.ffmpeg.slate_request import MAX_SLATE_BYTES, SlateRequest
from streamserver.ffmpeg.testsource_frames import (
    PREAMBLE,
    VIDEO_CLOCK,
    Record,
    RecordKind,
    encode_record,
)

__all__ = ["main", "make_slate"]

_STILL_S: Final = 2
"""How much of a still picture is coded: one group of pictures."""

_LONGEST_S: Final = 10
"""How much of a file is taken."""

_GOP_S: Final = 2
_KBIT_S: Final = 2_500
"""Upper bound of the bit rate; a still picture needs it for its keyframes only."""

_NICENESS: Final = 10
_BT709: Final = 1
_LIMITED_RANGE: Final = 1
_SETTLED: Final = 16
"""Frames of silence after which an encoder has nothing left of how it began."""

_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}

_ENCODERS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    # annexb=0: length-prefixed access units and an avcC.
    "h264": ("libx264", {"preset": "veryfast", "tune": "zerolatency", "crf": "24"}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0"}),
    "aac": ("aac", {"aac_coder": "fast"}),
    "opus": ("libopus", {"frame_duration": "20"}),
}


def make_slate(request: SlateRequest) -> Iterator[Record]:
    """The records. Raises `FFmpegError`, `OSError`, and `ValueError` for what cannot be made."""
    if request.video:
        yield from _video(request)
    if request.audio:
        yield from _silence(request)


def _video(request: SlateRequest) -> Iterator[Record]:
    context = _open_video(request)
    if request.video == "h264":
        yield Record(RecordKind.VIDEO_CONFIG, bytes(context.extradata or b""))
    ticks = VIDEO_CLOCK / request.frame_rate
    number = 0
    for number, frame in enumerate(_frames(request)):
        frame.time_base, frame.pts = Fraction(1, VIDEO_CLOCK), int(number * ticks)
        # The kind of the source's picture would be asked of the encoder.
        frame.pict_type = av.video.frame.PictureType.NONE
        yield from _records(RecordKind.VIDEO, context.encode(frame))
    yield from _records(RecordKind.VIDEO, context.encode(None))


def _frames(request: SlateRequest) -> Iterator[av.VideoFrame]:
    """The file's pictures at the size and rate of the stream; black where its shape differs."""
    rate = request.frame_rate
    with av.open(request.path) as source:
        if not source.streams.video:
            raise ValueError("the slate has no picture")
        stream = source.streams.video[0]
        frames = source.decode(stream)
        begin = list(islice(frames, 2))
        if not begin:
            raise ValueError("the slate has no picture that can be decoded")
        is_still = len(begin) == 1
        graph = _graph(stream, request, None if is_still else rate)
        pictures = _through(graph, chain(begin, frames))
        if is_still:
            yield from repeat(next(pictures), int(_STILL_S * rate))
        else:
            yield from islice(pictures, int(_LONGEST_S * rate))


def _graph(stream: av.VideoStream, request: SlateRequest, rate: Fraction | None) -> Graph:
    size = f"{request.width}:{request.height}"
    graph = Graph()
    filters = [graph.add_buffer(template=stream)]
    filters += [
        graph.add("scale", f"{size}:force_original_aspect_ratio=decrease:out_color_matrix=bt709"),
        graph.add("format", "yuv420p"),
        graph.add("pad", f"{size}:-1:-1"),
        graph.add("setsar", "1"),
    ]
    if rate is not None:
        filters.append(graph.add("fps", str(rate)))
    filters.append(graph.add("buffersink"))
    for one, other in pairwise(filters):
        one.link_to(other)
    graph.configure()
    return graph


def _through(graph: Graph, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    for frame in frames:
        graph.push(frame)
        yield from _ready(graph)
    graph.push(None)
    yield from _ready(graph)


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame


def _silence(request: SlateRequest) -> Iterator[Record]:
    """The configuration, and one frame that says nothing."""
    context = _open_audio(request)
    config = bytes(context.extradata or b"")
    samples = context.frame_size
    packets: list[Any] = []
    for number in range(_SETTLED):
        frame = av.AudioFrame(context.format.name, context.layout.name, samples)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = request.sample_rate, number * samples
        frame.time_base = Fraction(1, request.sample_rate)
        packets += context.encode(frame)
    yield Record(RecordKind.AUDIO_CONFIG, config)
    yield Record(RecordKind.AUDIO, bytes(packets[-1]), 0, 0, True)


def _open_video(request: SlateRequest) -> VideoCodecContext:
    name, options = _ENCODERS[request.video]
    context = av.CodecContext.create(name, "w")
    if not isinstance(context, VideoCodecContext):
        raise ValueError(f"{name} is no video codec here")
    context.width, context.height, context.pix_fmt = request.width, request.height, "yuv420p"
    context.time_base = Fraction(1, VIDEO_CLOCK)
    context.framerate = request.frame_rate
    # WebRTC shows no B-frames, and a group of pictures that is repeated cannot begin with one.
    context.max_b_frames = 0
    context.gop_size = gop = max(1, int(_GOP_S * request.frame_rate))
    context.thread_count = 1
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    context.flags |= Flags.global_header
    if request.video == "h264":
        options = options | {
            "profile": request.profile or "high",
            "x264-params": f"annexb=0:keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:"
            f"vbv-maxrate={_KBIT_S}:vbv-bufsize={_KBIT_S}",
        }
    else:
        context.bit_rate = _KBIT_S * 1000 // 2
    context.options = options
    context.open()
    return context


def _open_audio(request: SlateRequest) -> AudioCodecContext:
    name, options = _ENCODERS[request.audio]
    context = av.CodecContext.create(name, "w")
    if not isinstance(context, AudioCodecContext):
        raise ValueError(f"{name} is no audio codec here")
    context.sample_rate = request.sample_rate
    context.layout = _LAYOUTS.get(request.channels, "stereo")
    context.format = "fltp" if request.audio == "aac" else "flt"
    context.time_base = Fraction(1, request.sample_rate)
    context.flags |= Flags.global_header
    context.options = options
    context.open()
    return context


def _records(kind: RecordKind, packets: list[Any]) -> Iterator[Record]:
    for packet in packets:
        if packet.pts is None or packet.dts is None:
            raise ValueError("the encoder gave a packet without a time")
        yield Record(kind, bytes(packet), packet.pts, packet.dts, packet.is_keyframe)


def _write(request: SlateRequest, write: Callable[[bytes], object]) -> None:
    left = MAX_SLATE_BYTES
    for record in make_slate(request):
        data = encode_record(record)
        left -= len(data)
        if left < 0:
            raise ValueError(f"the slate becomes more than {MAX_SLATE_BYTES >> 20} MiB")
        write(data)


def main() -> int:
    """The child process. Answers its exit code."""
    # Ctrl-C reaches the whole process group; the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    request = SlateRequest.from_line(sys.stdin.buffer.readline())
    output = sys.stdout.buffer
    try:
        output.write(PREAMBLE)
        _write(request, output.write)
        output.flush()
    except BrokenPipeError:
        return 0
    except (FFmpegError, OSError, ValueError) as error:
        sys.stderr.write(f"{getattr(error, 'strerror', None) or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
