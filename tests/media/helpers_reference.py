"""What FFmpeg makes of the same bytes, to hold our parsers against."""

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import av

from streamserver.media.flv import (
    AudioConfig,
    AudioFrame,
    TagItem,
    VideoConfig,
    VideoFrame,
    parse_audio,
    parse_video,
)
from streamserver.media.track import Codec, Kind
from tests.media_factory import encode, tags


@dataclass(frozen=True)
class Sample:
    """A tiny clip, its first sequence header, and FFmpeg's view of its stream."""

    flv: bytes
    config: bytes
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


@cache
def video_sample(
    codec: str, pix_fmt: str = "yuv420p", width: int = 64, height: int = 48, **options: str
) -> Sample:
    """Three frames of one encoder; ``options`` are its own."""
    data = encode(
        video=codec, audio=None, seconds=0.12, fps=25, gop=3, size=(width, height),
        pix_fmt=pix_fmt, options=options,
    )  # fmt: skip
    return _sample(data, Kind.VIDEO)


@cache
def audio_sample(codec: str, sample_rate: int = 48_000, layout: str = "stereo") -> Sample:
    """A tenth of a second of one encoder."""
    data = encode(video=None, audio=codec, seconds=0.1, sample_rate=sample_rate, layout=layout)
    return _sample(data, Kind.AUDIO)


def _sample(data: bytes, kind: Kind) -> Sample:
    items: list[TagItem] = []
    for tag in tags(data):
        items += parse_video(tag.body) if kind is Kind.VIDEO else parse_audio(tag.body)
    configs = [item.config for item in items if isinstance(item, VideoConfig | AudioConfig)]
    frames = [item.data for item in items if isinstance(item, VideoFrame | AudioFrame)]
    config = configs[0] if configs else b""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams[0]
        # Numbers only leave this block: PyAV's objects do not outlive their container.
        if kind is Kind.VIDEO:
            picture: Any = next(iter(container.decode(stream)))
            return Sample(data, config, width=picture.width, height=picture.height)
    if configs and isinstance(items[0], AudioConfig) and items[0].codec is Codec.AAC:
        # A decoder of its own: the FLV header's idea of rate and channels is not meant here.
        context: Any = av.CodecContext.create("aac", "r")
        context.extradata = config
        sound = next(out for frame in frames for out in context.decode(av.Packet(frame)))
        channels = sound.layout.nb_channels
        return Sample(data, config, sample_rate=sound.sample_rate, channels=channels)
    return Sample(data, config)
