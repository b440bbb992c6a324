"""Publishes the demonstration's picture, with its machine-readable clock, smaller and over RTMP.

``python -m tests.peers.clock_publisher URL``: 640x360, so that a machine that decodes it many
times over still keeps time. Runs until it is ended.
"""

import sys
import time
from fractions import Fraction
from typing import Final

import av
import numpy as np

from streamserver.ffmpeg.testsource_clock import BlockClock
from streamserver.ffmpeg.testsource_picture import Planes, TestPicture
from streamserver.ffmpeg.testsource_sound import TestSound

__all__ = ["CLOCK", "main"]

_WIDTH: Final = 640
_HEIGHT: Final = 360
_RATE: Final = 30
_AUDIO_RATE: Final = 48_000
_SAMPLES: Final = 1024

CLOCK: Final = BlockClock.for_picture(_WIDTH, _HEIGHT)
"""Where the clock is in the picture."""


def _planes(frame: av.VideoFrame) -> Planes:
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        views.append(rows[:, : plane.width])
    return Planes(*views)


def _publish(container: av.container.OutputContainer) -> None:
    video = container.add_stream(
        "libx264", rate=_RATE, options={"preset": "ultrafast", "tune": "zerolatency"}
    )
    video.width, video.height, video.gop_size = _WIDTH, _HEIGHT, 2 * _RATE
    video.bit_rate = 600_000
    audio = container.add_stream("aac", rate=_AUDIO_RATE, layout="stereo")
    frame = av.VideoFrame(_WIDTH, _HEIGHT, "yuv420p")
    picture, sound = TestPicture(_planes(frame), _RATE), TestSound()
    first = int(time.time() * _RATE) + 1
    index = samples = 0
    while True:
        time.sleep(max(0.0, (first + index) / _RATE - time.time()))
        picture.draw(first + index)
        frame.pts, frame.time_base = index, Fraction(1, _RATE)
        container.mux(video.encode(frame))
        index += 1
        while (samples + _SAMPLES) * _RATE <= index * _AUDIO_RATE:
            heard = sound.samples(first * _AUDIO_RATE // _RATE + samples, _SAMPLES)
            tone = av.AudioFrame.from_ndarray(heard, format="fltp", layout="stereo")
            tone.sample_rate, tone.pts = _AUDIO_RATE, samples
            tone.time_base = Fraction(1, _AUDIO_RATE)
            container.mux(audio.encode(tone))
            samples += _SAMPLES


def main() -> None:
    """Publishes until the server or a signal ends it."""
    with av.open(sys.argv[1], "w", format="flv") as container:
        _publish(container)


if __name__ == "__main__":
    main()
