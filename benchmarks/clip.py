"""The media that every case sends: 720p30 H.264 at 2.5 Mbit/s with AAC at 128 kbit/s, as FLV tags.

Made once with PyAV and kept in the temporary directory, so that a run measures servers and not
encoders.
"""

import functools
import io
import pickle
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["Clip", "load"]

_WIDTH, _HEIGHT, _FPS, _GOP, _SECONDS = 1280, 720, 30, 60, 20
_VIDEO_BITS, _AUDIO_BITS = 2_520_000, 128_000


@dataclass(frozen=True, slots=True)
class Clip:
    """A loop of media as RTMP message bodies."""

    headers: tuple[tuple[int, bytes], ...]
    """Message type and body of the metadata-free sequence headers."""

    messages: tuple[tuple[int, int, bytes], ...]
    """Message type, time in ms from 0, and body."""

    duration_ms: int
    """Length of the loop."""

    @property
    def bit_rate(self) -> int:
        """Bits per second of media."""
        return sum(len(body) for _, _, body in self.messages) * 8_000 // self.duration_ms


@functools.cache
def load() -> Clip:
    """The clip, from the cache or freshly encoded (a few seconds)."""
    path = Path(tempfile.gettempdir()) / "streamserver-benchmark-clip-v1.pickle"
    if path.exists():
        clip = pickle.loads(path.read_bytes())
        return Clip(*clip)
    headers, messages = _split(_encode())
    clip = (headers, messages, _SECONDS * 1000)
    path.write_bytes(pickle.dumps(clip))
    return Clip(*clip)


def _encode() -> bytes:
    sink = io.BytesIO()
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (_HEIGHT * 3 // 2, _WIDTH), dtype=np.uint8)
    with av.open(sink, "w", format="flv") as output:
        video = output.add_stream("libx264", rate=_FPS)
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        video.bit_rate = _VIDEO_BITS
        video.codec_context.gop_size = _GOP
        video.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "x264-params": f"keyint={_GOP}:min-keyint={_GOP}:scenecut=0:nal-hrd=cbr",
            "maxrate": str(_VIDEO_BITS),
            "minrate": str(_VIDEO_BITS),
            "bufsize": str(_VIDEO_BITS // 2),
        }
        audio = output.add_stream("aac", rate=48_000, layout="stereo")
        audio.bit_rate = _AUDIO_BITS
        for index in range(_SECONDS * _FPS):
            picture = np.roll(noise, index * 7, axis=1) // 3
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, _FPS)
            output.mux(video.encode(frame))
            samples = rng.normal(0, 0.1, (2, 1600)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = 48_000, index * 1600
            sound.time_base = Fraction(1, 48_000)
            output.mux(audio.encode(sound))
        output.mux(video.encode())
        output.mux(audio.encode())
    return sink.getvalue()


def _split(flv: bytes) -> tuple[tuple[tuple[int, bytes], ...], tuple[tuple[int, int, bytes], ...]]:
    headers: list[tuple[int, bytes]] = []
    messages: list[tuple[int, int, bytes]] = []
    at = 13
    while at + 11 <= len(flv):
        kind, size = flv[at], int.from_bytes(flv[at + 1 : at + 4], "big")
        ms = int.from_bytes(flv[at + 4 : at + 7], "big") | flv[at + 7] << 24
        body = flv[at + 11 : at + 11 + size]
        at += 15 + size
        if kind in (8, 9) and len(body) > 5:
            if body[1] == 0:
                headers.append((kind, body))
            elif ms < _SECONDS * 1000:
                messages.append((kind, ms, body))
    return tuple(headers), tuple(messages)
