"""From RTMP messages to frames: what an FLV tag body says, handed to the assembler."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streamserver.errors import RemoteProtocolError
from streamserver.hub.registry import Lease
from streamserver.ingest.assembler import Assembler, Frame
from streamserver.ingest.rtmp_usual import usual_packets
from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import (
    AudioConfig,
    AudioFrame,
    ChannelConfig,
    FrameType,
    Ignored,
    TagItem,
    VideoConfig,
    VideoFrame,
    parse_audio,
    parse_video,
)
from streamserver.media.flv_heads import Heads, frame_heads
from streamserver.media.opus import OpusHead
from streamserver.media.track import Codec, Kind
from streamserver.rtmp.message import VIDEO, Message

__all__ = ["RtmpIngest"]

_NEEDS_CONFIG = frozenset((Codec.H264, Codec.H265, Codec.AV1, Codec.AAC))
"""Codecs whose frames mean nothing before a sequence header."""

_VIDEO: Final = Kind.VIDEO
_AUDIO: Final = Kind.AUDIO
"""Members of an enumeration are looked up slowly, and these for every message."""

_CODEC_KEYS = {"videocodecid": _VIDEO, "audiocodecid": _AUDIO}
"""Keys of onMetaData that announce a track."""

_HINTS = frozenset((FrameType.KEY, FrameType.GENERATED_KEY))


class RtmpIngest:
    """Feeds one lease with the messages of one RTMP publisher."""

    def __init__(self, lease: Lease) -> None:
        self.assembler = Assembler(lease)
        self._codecs: dict[Kind, Codec | None] = {_VIDEO: None, _AUDIO: None}
        # Of messages with a frame of these codecs: video, audio.
        self._heads: tuple[Heads, Heads] = ({}, {})

    def media(self, messages: Sequence[Message], now_ns: int) -> None:
        """Takes audio and video messages that arrived together at ``now_ns``, in order.

        What is damaged is dropped and counted. Usual messages become packets together; any other is
        read in full, after those before it.
        """
        assembler, todo = self.assembler, iter(messages)
        while True:
            tracks, timeline = assembler.under_way(), assembler.lease.stream.timeline
            packets, odd = usual_packets(todo, self._heads, tracks, timeline, now_ns)
            assembler.extend(packets)
            if odd is None:
                return
            self._message(odd, now_ns)

    def _message(self, message: Message, now_ns: int) -> None:
        """Takes any message."""
        type_id, timestamp_ms, _, body = message
        is_video = type_id == VIDEO
        try:
            items = parse_video(body) if is_video else parse_audio(body)
        except DamagedFrameError as error:
            self.assembler.damaged(_VIDEO if is_video else _AUDIO, error)
            return
        for item in items:
            self._take(item, timestamp_ms, now_ns)

    def metadata(self, values: Sequence[Any]) -> None:
        """Takes onMetaData: only whether it announces video and audio, since its numbers lie."""
        for value in values:
            if isinstance(value, Mapping):
                announced = [kind for key, kind in _CODEC_KEYS.items() if value.get(key)]
                self.assembler.expect(announced)

    def _take(self, item: TagItem, timestamp_ms: int, now_ns: int) -> None:
        if isinstance(item, VideoFrame):
            codec, data, composition_ms, frame_type, _ = item
            if codec is self._codecs[_VIDEO] or self._ready(codec):
                hint = frame_type in _HINTS
                frame = Frame(_VIDEO, timestamp_ms, composition_ms, data, hint, now_ns)
                self.assembler.push(frame)
            return
        if isinstance(item, AudioFrame):
            codec, data, _ = item
            if codec is self._codecs[_AUDIO] or self._ready(codec):
                self.assembler.push(Frame(_AUDIO, timestamp_ms, 0, data, True, now_ns))
            return
        match item:
            case VideoConfig(codec, config) | AudioConfig(codec, config):
                self._follow(codec)
                self.assembler.configure(codec, config)
            case ChannelConfig(Codec.OPUS, channels):
                try:
                    head = OpusHead.of_channels(channels).to_bytes()
                except RemoteProtocolError as error:
                    self.assembler.lease.stream.note(f"ignored: {error}")
                    return
                self._follow(Codec.OPUS)
                self.assembler.configure(Codec.OPUS, head)
            case Ignored(reason):
                self.assembler.lease.stream.note(f"ignored: {reason}")

    def _ready(self, codec: Codec) -> bool:
        """Whether frames of another codec than announced can be read.

        Those without headers begin by themselves.
        """
        if codec in _NEEDS_CONFIG:
            self.assembler.counters.waiting += 1
            return False
        self._follow(codec)
        self.assembler.configure(codec, b"")
        return True

    def _follow(self, codec: Codec) -> None:
        """Frames of this codec are what is to come."""
        self._codecs[codec.kind] = codec
        video, audio = self._heads
        heads = frame_heads(codec)
        self._heads = (heads, audio) if codec.kind is _VIDEO else (video, heads)
