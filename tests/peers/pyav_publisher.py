"""Publishes through FFmpeg 8's RTMP, the enhanced one included, or its WHIP, in real time.

``python -m tests.peers.pyav_publisher URL --video hevc --audio opus``; a process of its own, since
FFmpeg's RTMP blocks. With ``--then-size`` a second encoder writes into the same connection after
``--change-at`` seconds, as encoders do that follow a window's size.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, cast

import av
import numpy as np
from av.codec.context import Flags
from av.packet import PacketSideData

from tests.priority import be_ordinary

__all__ = ["main"]

_RATE: Final = 30
_GOP: Final = 60
_NEW_EXTRADATA: Final = 1
"""``AV_PKT_DATA_NEW_EXTRADATA``: the FLV muxer writes a sequence header before such a packet."""

_VIDEO: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "sc_threshold": "0"}),
    "hevc": ("libx265", {"preset": "ultrafast", "tune": "zerolatency",
                         "x265-params": "log-level=none:scenecut=0"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1:rc=2"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
}  # fmt: skip
_AUDIO: Final = {"aac": ("aac", 48000), "opus": ("libopus", 48000), "mp3": ("libmp3lame", 44100)}


@dataclass(frozen=True, slots=True)
class _Timed:
    """A packet and when it is due."""

    due_s: float
    packet: Any


def _configure(encoder: Any, codec: str, size: tuple[int, int]) -> None:
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(_RATE)
    encoder.time_base = Fraction(1, _RATE)
    encoder.gop_size = _GOP
    encoder.bit_rate = 800_000
    encoder.options = _VIDEO[codec][1]
    # FLV carries parameter sets in its headers.
    encoder.flags |= Flags.global_header


def _picture(size: tuple[int, int], index: int) -> av.VideoFrame:
    """A bar that wanders over a grey ramp."""
    width, height = size
    image = np.tile(np.linspace(40, 200, width, dtype=np.uint8), (height * 3 // 2, 1))
    image[height:] = 128
    at = index * 4 % (width - 16)
    image[:height, at : at + 16] = 235
    frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
    frame.pts = index
    frame.time_base = Fraction(1, _RATE)
    return frame


def _tone(at: int, samples: int, rate: int) -> av.AudioFrame:
    """A sine of 440 Hz on both channels; the encoder converts it to the format that it takes."""
    wave = np.sin(2 * np.pi * 440 * (at + np.arange(samples)) / rate) * 0.2
    frame = av.AudioFrame.from_ndarray(
        np.tile(wave.astype(np.float32), (2, 1)), format="fltp", layout="stereo"
    )
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = at
    return frame


def _pictures(options: argparse.Namespace, stream: Any) -> Iterator[_Timed]:
    size, encoder = options.size, stream.codec_context
    for index in itertools.count():
        announcement = None
        if options.then_size and index == options.change_at * _RATE:
            size = options.then_size
            encoder = av.CodecContext.create(_VIDEO[options.video][0], "w")
            _configure(encoder, options.video, size)
            encoder.open()
            header = encoder.extradata or b""
            # Its constructor is not in PyAV's stubs.
            announcement = cast(Any, PacketSideData)(_NEW_EXTRADATA, len(header))
            announcement.update(header)
        for packet in encoder.encode(_picture(size, index)):
            if announcement is not None:
                packet.set_sidedata(announcement)
            packet.stream = stream
            yield _Timed(index / _RATE, packet)


def _sounds(stream: Any) -> Iterator[_Timed]:
    encoder = stream.codec_context
    samples = encoder.frame_size or 960
    at = 0
    while True:
        for packet in encoder.encode(_tone(at, samples, encoder.sample_rate)):
            packet.stream = stream
            yield _Timed(at / encoder.sample_rate, packet)
        at += samples


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    """Publishes until it is ended, or for ``--seconds``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--video", choices=[*_VIDEO, "none"], default="h264")
    parser.add_argument("--audio", choices=[*_AUDIO, "none"], default="aac")
    parser.add_argument("--size", type=_size, default=(640, 360))
    parser.add_argument("--then-size", type=_size)
    parser.add_argument("--change-at", type=int, default=5, help="seconds; whole GOPs")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--token", default="", help="bearer token, for WHIP")
    parser.add_argument("--certificate", default="", help="PEM with certificate and key, for WHIP")
    options = parser.parse_args()
    form = "whip" if options.url.startswith("http") else "flv"
    how = {"authorization": options.token} if options.token else {}
    if options.certificate:
        how |= {"cert_file": options.certificate, "key_file": options.certificate}
    with av.open(options.url, "w", format=form, options=how) as container:
        sources = list(_sources(container, options))
        upcoming = [next(source) for source in sources]
        be_ordinary()
        began = time.monotonic()
        while True:
            which = min(range(len(sources)), key=lambda each: upcoming[each].due_s)
            timed = upcoming[which]
            if timed.due_s > options.seconds:
                return
            time.sleep(max(0.0, began + timed.due_s - time.monotonic()))
            container.mux(timed.packet)
            upcoming[which] = next(sources[which])


def _sources(
    container: av.container.OutputContainer, options: argparse.Namespace
) -> Iterator[Iterator[_Timed]]:
    if options.video != "none":
        video: Any = container.add_stream(_VIDEO[options.video][0], rate=_RATE)
        _configure(video.codec_context, options.video, options.size)
        yield _pictures(options, video)
    if options.audio != "none":
        name, rate = _AUDIO[options.audio]
        audio = container.add_stream(name, rate=rate, layout="stereo")
        yield _sounds(audio)


if __name__ == "__main__":
    main()
