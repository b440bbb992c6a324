"""Small clips of real media for tests, made with PyAV and read back as an ingest would.

``encode`` makes FLV bytes with FFmpeg's own muxer (enhanced RTMP bodies for HEVC, AV1, VP9 and
Opus), ``tags`` takes them apart into message bodies, ``read_flv`` turns them into tracks and
packets. The named clips at the end are made once per session.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import av
import numpy as np

from streamserver.media import flv, opus
from streamserver.media.packet import Packet
from streamserver.media.timeline import Timeline, ms_to_ticks
from streamserver.media.track import Kind, Track
from streamserver.media.units import AccessUnit, UnitReader, make_reader, make_track
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests.priority import be_ordinary

__all__ = [
    "Clip",
    "Tag",
    "audio_only",
    "av1_aac",
    "encode",
    "h264_aac",
    "hevc_aac",
    "read_flv",
    "tags",
    "video_only",
    "vp9_opus",
]

# SVT-AV1 takes its verbosity from here only.
os.environ.setdefault("SVT_LOG", "0")

_VIDEO_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "tune": "stillimage"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


@dataclass(frozen=True, slots=True)
class Tag:
    """One FLV tag that is audio or video: what an RTMP message carries."""

    kind: Kind
    timestamp_ms: int
    body: bytes

    def message(self) -> Message:
        """The RTMP message that carries it."""
        type_id = VIDEO if self.kind is Kind.VIDEO else AUDIO
        return Message(type_id, self.timestamp_ms, 1, self.body)


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip in the forms that tests want."""

    flv: bytes
    tracks: tuple[Track, ...]
    packets: tuple[Packet, ...]

    def of(self, kind: Kind) -> list[Packet]:
        """The packets of one kind."""
        return [packet for packet in self.packets if packet.track.kind is kind]

    def track(self, kind: Kind) -> Track:
        """The last track of one kind."""
        return next(track for track in reversed(self.tracks) if track.kind is kind)


def _picture(index: int, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    """A gradient that moves, so that encoders have something to do in every frame."""
    x = np.arange(width, dtype=np.uint16)[None, :] + 4 * index
    y = np.arange(height, dtype=np.uint16)[:, None]
    image = np.stack([(x + y) % 256, (x + 0 * y) % 256, (y + 0 * x) % 256], axis=2)
    frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
    return frame.reformat(format=pix_fmt)


def _add_video(
    container: Any, codec: str, fps: int, gop: int, b_frames: int, size: tuple[int, int],
    pix_fmt: str, options: dict[str, str],
) -> Any:  # fmt: skip
    merged = _VIDEO_OPTIONS.get(codec, {}) | {"g": str(gop)}
    if codec in ("libx264", "libx265"):
        merged["bf"] = str(b_frames)
    if codec == "libx264":
        merged["sc_threshold"] = "0"
    if codec == "libx265":
        merged["x265-params"] += f":keyint={gop}:min-keyint={gop}:bframes={b_frames}"
    stream = container.add_stream(codec, rate=fps, options=merged | options)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt
    return stream


def _mux_video(container: Any, stream: Any, fps: int, seconds: float) -> Iterator[float]:
    for index in range(int(seconds * fps)):
        frame = _picture(index, stream.width, stream.height, stream.pix_fmt)
        frame.pts = index
        container.mux(stream.encode(frame))
        yield index / fps
    container.mux(stream.encode(None))


def _mux_audio(container: Any, stream: Any, rate: int, seconds: float) -> Iterator[float]:
    size = stream.codec_context.frame_size or 1024
    for start in range(0, int(seconds * rate), size):
        at = np.arange(start, start + size)
        tone = (np.sin(2 * np.pi * 440 * at / rate) * 0.2).astype(np.float32)
        channels = stream.codec_context.layout.nb_channels
        planar = stream.format.is_planar
        samples = np.tile(tone, (channels, 1)) if planar else np.repeat(tone, channels)[None, :]
        layout = stream.codec_context.layout.name
        frame = av.AudioFrame.from_ndarray(samples, format=stream.format.name, layout=layout)
        frame.sample_rate, frame.pts = rate, start
        container.mux(stream.encode(frame))
        yield start / rate
    container.mux(stream.encode(None))


def encode(
    *,
    video: str | None = "libx264",
    audio: str | None = "aac",
    seconds: float = 2.0,
    fps: int = 30,
    gop: int = 30,
    b_frames: int = 0,
    size: tuple[int, int] = (320, 180),
    pix_fmt: str = "yuv420p",
    sample_rate: int = 48_000,
    layout: str = "stereo",
    options: dict[str, str] | None = None,
) -> bytes:
    """An FLV file of moving gradients and a tone; ``video`` and ``audio`` are PyAV's encoders."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flv") as container:
        lanes: list[Iterator[float]] = []
        if video:
            stream = _add_video(container, video, fps, gop, b_frames, size, pix_fmt, options or {})
            lanes.append(_mux_video(container, stream, fps, seconds))
        if audio:
            sound: Any = container.add_stream(audio, rate=sample_rate)
            sound.layout = layout
            sound.format = "flt" if audio == "libopus" else "fltp"
            sound.codec_context.open()
            lanes.append(_mux_audio(container, sound, sample_rate, seconds))
        _interleave(lanes)
    be_ordinary()
    return buffer.getvalue()


def _interleave(lanes: list[Iterator[float]]) -> None:
    """Advances whichever lane is behind, so that no encoder runs away from the other."""
    heads = dict.fromkeys(range(len(lanes)), 0.0)
    while heads:
        index = min(heads, key=lambda lane: heads[lane])
        try:
            heads[index] = next(lanes[index])
        except StopIteration:
            del heads[index]


def tags(data: bytes) -> Iterator[Tag]:
    """The audio and video tags of an FLV file (FLV 10.1 E.3 and E.4.1)."""
    position = 9 + 4
    while position + 11 <= len(data):
        kind, size = data[position] & 0x1F, int.from_bytes(data[position + 1 : position + 4])
        low, high = data[position + 4 : position + 7], data[position + 7]
        body = data[position + 11 : position + 11 + size]
        if kind in (8, 9):
            track_kind = Kind.AUDIO if kind == 8 else Kind.VIDEO
            yield Tag(track_kind, high << 24 | int.from_bytes(low), body)
        position += 11 + size + 4


class _Reader:
    """The least that an ingest does."""

    def __init__(self) -> None:
        self.tracks: dict[Kind, Track] = {}
        self.seen: list[Track] = []
        self.packets: list[Packet] = []
        self._readers: dict[Kind, UnitReader] = {}
        self._timeline = Timeline()

    def take(self, tag: Tag) -> None:
        """Reads one message."""
        for item in (
            flv.parse_video(tag.body) if tag.kind is Kind.VIDEO else flv.parse_audio(tag.body)
        ):
            match item:
                case flv.VideoConfig(codec, config) | flv.AudioConfig(codec, config):
                    self._readers[tag.kind] = make_reader(codec, config)
                    self._set_track(make_track(codec, config))
                case flv.ChannelConfig(codec, channels) if tag.kind not in self._readers:
                    self._set_track(
                        make_track(codec, opus.OpusHead.of_channels(channels).to_bytes())
                    )
                case flv.VideoFrame() | flv.AudioFrame():
                    self._take_frame(tag, item)

    def _set_track(self, track: Track) -> None:
        self.tracks[track.kind] = track
        self.seen.append(track)

    def _take_frame(self, tag: Tag, item: flv.VideoFrame | flv.AudioFrame) -> None:
        if tag.kind not in self._readers:  # MP3 comes without configuration
            self._readers[tag.kind] = make_reader(item.codec, b"")
        hint = isinstance(item, flv.VideoFrame) and item.frame_type is flv.FrameType.KEY
        unit = self._readers[tag.kind].read(item.data, key_hint=hint)
        if unit is None:
            return
        if unit.config is not None:
            self._set_track(make_track(item.codec, unit.config, first=unit.data))
        composition = item.composition_ms if isinstance(item, flv.VideoFrame) else 0
        self._append(tag, unit, composition)

    def _append(self, tag: Tag, unit: AccessUnit, composition_ms: int) -> None:
        received_ns = tag.timestamp_ms * 1_000_000
        stamp = self._timeline.stamp(tag.kind, tag.timestamp_ms, received_ns)
        assert stamp is not None, "a clip of FFmpeg's has a steady clock"
        track = self.tracks[tag.kind]
        dts = ms_to_ticks(stamp.time_ms, track.clock_rate)
        pts = ms_to_ticks(stamp.time_ms + composition_ms, track.clock_rate)
        packet = Packet(track, pts, dts, unit.duration, unit.keyframe, unit.data, received_ns)
        self.packets.append(packet)


def read_flv(data: bytes) -> Clip:
    """Tracks and packets of an FLV file, in the order of sending, times of `Timeline`."""
    reader = _Reader()
    for tag in tags(data):
        reader.take(tag)
    used = {id(packet.track) for packet in reader.packets}
    tracks = [track for track in reader.seen if id(track) in used]
    tracks.sort(key=lambda track: track.kind is not Kind.VIDEO)
    return Clip(data, tuple(tracks), tuple(reader.packets))


@cache
def h264_aac(*, seconds: float = 2.0, b_frames: int = 0, gop: int = 30) -> Clip:
    """320x180 at 30 frames per second, a keyframe each second, and 48 kHz stereo."""
    return read_flv(encode(seconds=seconds, b_frames=b_frames, gop=gop))


@cache
def hevc_aac(*, seconds: float = 2.0, b_frames: int = 0) -> Clip:
    """The same in HEVC, as enhanced RTMP."""
    return read_flv(encode(video="libx265", seconds=seconds, b_frames=b_frames))


@cache
def av1_aac(*, seconds: float = 2.0) -> Clip:
    """The same in AV1, as enhanced RTMP."""
    return read_flv(encode(video="libsvtav1", seconds=seconds))


@cache
def vp9_opus(*, seconds: float = 2.0) -> Clip:
    """The same in VP9 with Opus, as enhanced RTMP."""
    return read_flv(encode(video="libvpx-vp9", audio="libopus", seconds=seconds))


@cache
def audio_only(*, seconds: float = 2.0, codec: str = "aac", sample_rate: int = 48_000) -> Clip:
    """Sound alone; ``codec`` is ``aac``, ``libopus`` or ``libmp3lame``."""
    return read_flv(encode(video=None, audio=codec, seconds=seconds, sample_rate=sample_rate))


@cache
def video_only(*, seconds: float = 2.0, b_frames: int = 0) -> Clip:
    """H.264 alone."""
    return read_flv(encode(audio=None, seconds=seconds, b_frames=b_frames))
