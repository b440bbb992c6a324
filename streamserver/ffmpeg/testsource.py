"""A live test source in a process of its own: picture, clock and tone, in H.264 and AAC.

::

    python -m streamserver.ffmpeg.testsource --width 1280 --height 720 --fps 30 --bit-rate 2500000

writes the records of `streamserver.ffmpeg.testsource_frames` on standard output, in real time,
until that closes or the parent process has gone. Pictures lie on the UTC grid of the frame rate:
every full second begins with a picture, and the beep begins with its first sample.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from streamserver.ffmpeg.testsource_frames import (
    AUDIO_CLOCK,
    PREAMBLE,
    VIDEO_CLOCK,
    Record,
    RecordKind,
    encode_record,
)
from streamserver.ffmpeg.testsource_picture import MIN_HEIGHT, MIN_WIDTH, Planes, TestPicture
from streamserver.ffmpeg.testsource_sound import TestSound

__all__ = ["SourceSettings", "TestSource", "main", "run"]

GOP_SECONDS: Final = 2
"""From one keyframe to the next."""

MAX_LAG_NS: Final = 1_000_000_000
"""Further behind than this, pictures are left out rather than hurried."""

_AAC_SAMPLES: Final = 1024
_NICENESS: Final = 5
_BT709: Final = 1
_LIMITED_RANGE: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """What to make. Raises ValueError for what cannot be made."""

    width: int = 1280
    """Pixels, even."""

    height: int = 720
    """Pixels, even."""

    fps: int = 30
    """Frames per second; divides both clocks, so that every time stamp is exact."""

    bit_rate: int = 2_500_000
    """Video bits per second, an upper bound: a still picture needs less."""

    audio_bit_rate: int = 128_000
    """Audio bits per second."""

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2:
            raise ValueError("width and height must be even")
        if not (MIN_WIDTH <= self.width <= 3840 and MIN_HEIGHT <= self.height <= 2160):
            raise ValueError(f"the picture must be {MIN_WIDTH}x{MIN_HEIGHT} to 3840x2160")
        if not 1 <= self.fps <= 120 or VIDEO_CLOCK % self.fps or AUDIO_CLOCK % self.fps:
            raise ValueError("fps must be a divisor of 6000 up to 120, such as 24, 25, 30, 50, 60")
        if self.bit_rate < 100_000:
            raise ValueError("the bit rate must be 100000 or more")


class TestSource:
    """Makes the records of one picture after the other; knows no clock and no pipe."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, settings: SourceSettings, first: int = 0) -> None:
        """``first`` is the number of the first picture, counted from the Unix epoch."""
        self.first = first
        self._settings = settings
        self._next = 0
        self._next_sample = 0
        self._frame = av.VideoFrame(settings.width, settings.height, "yuv420p")
        self._frame.time_base = Fraction(1, VIDEO_CLOCK)
        self._picture = TestPicture(_planes(self._frame), settings.fps)
        self._sound = TestSound()
        self._video = _open_video(settings)
        self._audio = _open_audio(settings)

    def configs(self) -> list[Record]:
        """The decoder configurations, which precede everything."""
        return [
            Record(RecordKind.VIDEO_CONFIG, bytes(self._video.extradata or b"")),
            Record(RecordKind.AUDIO_CONFIG, bytes(self._audio.extradata or b"")),
        ]

    @property
    def position(self) -> int:
        """How many pictures after the first one the next one is."""
        return self._next

    def skip(self, pictures: int) -> None:
        """Leaves pictures out, and the sound that belongs to them."""
        self._next += pictures
        samples = self._next * AUDIO_CLOCK // self._settings.fps
        self._next_sample = max(self._next_sample, samples)

    def step(self) -> Iterator[Record]:
        """The next picture, after the audio frames that have ended by its time."""
        until = self._next * AUDIO_CLOCK // self._settings.fps
        while self._next_sample + _AAC_SAMPLES <= until:
            yield from self._encode_audio()
        yield from self._encode_video()

    def _encode_video(self) -> Iterator[Record]:
        self._picture.draw(self.first + self._next)
        self._frame.pts = self._next * (VIDEO_CLOCK // self._settings.fps)
        self._next += 1
        for packet in self._video.encode(self._frame):
            yield _record(RecordKind.VIDEO, packet)

    def _encode_audio(self) -> Iterator[Record]:
        origin = self.first * AUDIO_CLOCK // self._settings.fps
        samples = self._sound.samples(origin + self._next_sample, _AAC_SAMPLES)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = AUDIO_CLOCK
        frame.time_base = Fraction(1, AUDIO_CLOCK)
        frame.pts = self._next_sample
        self._next_sample += _AAC_SAMPLES
        for packet in self._audio.encode(frame):
            # The encoder's first frame only primes the decoder and lies before the beginning.
            if packet.pts is not None and packet.pts >= 0:
                yield _record(RecordKind.AUDIO, packet)


def run(
    settings: SourceSettings,
    write: Callable[[bytes], object],
    *,
    wall_ns: Callable[[], int] = time.time_ns,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
    sleep_ns: Callable[[int], None] = lambda ns: time.sleep(ns / 1e9),
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Writes records in real time while ``alive()``; whatever ``write`` raises ends it.

    The wall clock is read once, to lie on its grid; from then on the monotonic clock paces, by
    the picture's number, so that nothing adds up to a drift.
    """
    fps = settings.fps
    # Built before the clock is read: opening the encoders takes longer than a picture may.
    source = TestSource(settings)
    now = wall_ns()
    source.first = now * fps // 1_000_000_000 + 1
    begin = monotonic_ns() + source.first * 1_000_000_000 // fps - now
    write(PREAMBLE + b"".join(map(encode_record, source.configs())))
    while alive():
        ahead = begin + source.position * 1_000_000_000 // fps - monotonic_ns()
        if ahead > 0:
            sleep_ns(ahead)
        elif -ahead > MAX_LAG_NS:
            source.skip(-ahead * fps // 1_000_000_000)
        write(b"".join(map(encode_record, source.step())))


def main(arguments: list[str] | None = None) -> int:
    """The child process. Answers its exit code."""
    parser = argparse.ArgumentParser(prog="python -m streamserver.ffmpeg.testsource")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--bit-rate", type=int, default=2_500_000)
    parser.add_argument("--nice", type=int, default=_NICENESS)
    options = vars(parser.parse_args(arguments))
    niceness = options.pop("nice")
    try:
        settings = SourceSettings(**options)
    except ValueError as error:
        parser.error(str(error))
    # Ctrl-C reaches the whole process group; the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(niceness)
    parent = os.getppid()
    # Unbuffered: a record that waits in a buffer is latency.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as pipe:
        try:
            run(settings, lambda data: _write_all(pipe.fileno(), data), alive=_child_of(parent))
        except BrokenPipeError:
            return 0
    return 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _child_of(parent: int) -> Callable[[], bool]:
    return lambda: os.getppid() == parent


def _record(kind: RecordKind, packet: "av.Packet[Any]") -> Record:
    if packet.pts is None or packet.dts is None:
        raise ValueError("the encoder gave a packet without a time")
    return Record(kind, bytes(packet), packet.pts, packet.dts, packet.is_keyframe)


def _planes(frame: av.VideoFrame) -> Planes:
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        views.append(rows[:, : plane.width])
    return Planes(*views)


def _open_video(settings: SourceSettings) -> VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    if not isinstance(context, VideoCodecContext):
        raise TypeError("libx264 is no video codec here")
    context.width, context.height = settings.width, settings.height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, VIDEO_CLOCK)
    context.framerate = Fraction(settings.fps)
    context.bit_rate = settings.bit_rate
    context.max_b_frames = 0
    # One thread: slices for several would cost bits, and this source shall be a quiet neighbour.
    context.thread_count = 1
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    context.flags |= Flags.global_header
    gop = GOP_SECONDS * settings.fps
    kbit = settings.bit_rate // 1000
    context.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "main",
        # annexb=0: length-prefixed access units and an avcC.
        "x264-params": f"annexb=0:keyint={gop}:min-keyint={gop}:scenecut=0:"
        f"vbv-maxrate={kbit}:vbv-bufsize={kbit}",
    }
    context.open()
    return context


def _open_audio(settings: SourceSettings) -> AudioCodecContext:
    context = av.CodecContext.create("aac", "w")
    if not isinstance(context, AudioCodecContext):
        raise TypeError("aac is no audio codec here")
    context.sample_rate = AUDIO_CLOCK
    context.layout = "stereo"
    context.format = "fltp"
    context.bit_rate = settings.audio_bit_rate
    context.time_base = Fraction(1, AUDIO_CLOCK)
    context.flags |= Flags.global_header
    # The default coder costs three times as much, and nobody can hear it on a test tone.
    context.options = {"aac_coder": "fast"}
    context.open()
    return context


if __name__ == "__main__":
    sys.exit(main())
