"""From RTMP messages to frames: what an FLV tag body says, handed to the assembler."""

from collections.abc import Mapping, Sequence
from typing import Any

from streamserver.errors import RemoteProtocolError
from streamserver.hub.registry import Lease
from streamserver.ingest.assembler import Assembler, Frame
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
from streamserver.media.opus import OpusHead
from streamserver.media.track import Codec, Kind
from streamserver.rtmp.message import VIDEO, Message

__all__ = ["RtmpIngest"]

_NEEDS_CONFIG = frozenset((Codec.H264, Codec.H265, Codec.AV1, Codec.AAC))
"""Codecs whose frames mean nothing before a sequence header."""

_CODEC_KEYS = {"videocodecid": Kind.VIDEO, "audiocodecid": Kind.AUDIO}
"""Keys of onMetaData that announce a track."""

_HINTS = frozenset((FrameType.KEY, FrameType.GENERATED_KEY))


class RtmpIngest:
    """Feeds one lease with the messages of one RTMP publisher."""

    def __init__(self, lease: Lease) -> None:
        self.assembler = Assembler(lease)
        self._codecs: dict[Kind, Codec | None] = {Kind.VIDEO: None, Kind.AUDIO: None}

    def media(self, messages: Sequence[Message], now_ns: int) -> None:
        """Takes audio and video messages that arrived together at ``now_ns``, in order.

        What is damaged is dropped and counted.
        """
        for message in messages:
            self._message(message, now_ns)

    def _message(self, message: Message, now_ns: int) -> None:
        type_id, timestamp_ms, _, body = message
        is_video = type_id == VIDEO
        try:
            items = parse_video(body) if is_video else parse_audio(body)
        except DamagedFrameError as error:
            self.assembler.damaged(Kind.VIDEO if is_video else Kind.AUDIO, error)
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
            if codec is self._codecs[Kind.VIDEO] or self._ready(codec):
                hint = frame_type in _HINTS
                frame = Frame(Kind.VIDEO, timestamp_ms, composition_ms, data, hint, now_ns)
                self.assembler.push(frame)
            return
        if isinstance(item, AudioFrame):
            codec, data, _ = item
            if codec is self._codecs[Kind.AUDIO] or self._ready(codec):
                self.assembler.push(Frame(Kind.AUDIO, timestamp_ms, 0, data, True, now_ns))
            return
        match item:
            case VideoConfig(codec, config) | AudioConfig(codec, config):
                self._codecs[codec.kind] = codec
                self.assembler.configure(codec, config)
            case ChannelConfig(Codec.OPUS, channels):
                try:
                    head = OpusHead.of_channels(channels).to_bytes()
                except RemoteProtocolError as error:
                    self.assembler.lease.stream.note(f"ignored: {error}")
                    return
                self._codecs[Kind.AUDIO] = Codec.OPUS
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
        self._codecs[codec.kind] = codec
        self.assembler.configure(codec, b"")
        return True
