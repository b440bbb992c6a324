"""What a publisher sent, counted: enough to tell whether anything was lost on the way."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import (
    AudioConfig,
    AudioFrame,
    FrameType,
    TagItem,
    VideoConfig,
    VideoFrame,
    parse_audio,
    parse_video,
)
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.events import DataReceived
from streamserver.rtmp.message import VIDEO, Message

__all__ = ["MediaCounts", "SinkPublication"]

_SHOWN_OF_A_KEY: Final = 4


@dataclass(slots=True)
class MediaCounts:
    """The audio or the video of one publication."""

    codec: str = ""
    """What its bodies say; empty before the first that can be read."""

    headers: int = 0
    """Sequence headers."""

    frames: int = 0
    """Coded frames."""

    keyframes: int = 0
    """Those that the sender calls keyframes; every audio frame is none."""

    bytes: int = 0
    """Bodies of all messages, headers included."""

    damaged: int = 0
    """Messages that cannot be read."""

    first_ms: int | None = None
    """Time stamp of the first frame, as on the wire."""

    last_ms: int = 0
    """Time stamp of the newest frame; unwrapped, so it may pass 2^32."""

    longest_gap_ms: int = 0
    """The largest step between the time stamps of two frames in a row."""

    backward_steps: int = 0
    """Frames whose time stamp is before that of the frame before."""

    longest_silence_ms: int = 0
    """The longest time in which no frame arrived, by our clock."""

    _last_ns: int = field(default=0, repr=False)

    @property
    def span_ms(self) -> int:
        """From the first frame's time stamp to the newest one's."""
        return 0 if self.first_ms is None else self.last_ms - self.first_ms

    def take_frame(self, timestamp_ms: int, now_ns: int) -> None:
        """Counts one coded frame with its time stamp modulo 2^32."""
        self.frames += 1
        if self.first_ms is None:
            self.first_ms = self.last_ms = timestamp_ms
        else:
            # RTMP 1.0, 5.3.1: serial arithmetic; what is less than 2^31 ahead lies ahead.
            step = ((timestamp_ms - self.last_ms + 2**31) & 0xFFFFFFFF) - 2**31
            self.last_ms += step
            self.backward_steps += step < 0
            self.longest_gap_ms = max(self.longest_gap_ms, step)
            silence_ms = (now_ns - self._last_ns) // 1_000_000
            self.longest_silence_ms = max(self.longest_silence_ms, silence_ms)
        self._last_ns = now_ns


@dataclass(slots=True, eq=False)
class SinkPublication:
    """One accepted publisher, from its acceptance to its end."""

    remote: str
    """Its address and port."""

    app: str
    """The application, exactly as it was sent."""

    key: str = field(repr=False)
    """The stream key, exactly as it was sent: a secret."""

    tc_url: str = field(repr=False)
    """``tcUrl`` of connect as sent; may hold a password."""

    encoder: str
    """What the publisher calls itself."""

    four_ccs: tuple[str, ...]
    """Codecs of enhanced RTMP that it announced."""

    accepted_ns: int
    """When it was accepted, on the sink's monotonic clock."""

    messages: deque[Message] = field(repr=False)
    """The newest messages, as many as the settings ask for."""

    video: MediaCounts = field(default_factory=MediaCounts)
    """Its video."""

    audio: MediaCounts = field(default_factory=MediaCounts)
    """Its audio."""

    data_messages: int = 0
    """Messages with metadata and other data."""

    metadata: Mapping[str, AmfValue] | None = None
    """The newest ``onMetaData``; None before it."""

    begins_with_keyframe: bool | None = None
    """Whether a decoder could begin with the first video frame: a keyframe behind its sequence
    header. None before it."""

    bytes: int = 0
    """Bodies of all media messages."""

    ended: str | None = None
    """Why it is over; None while it lasts."""

    @property
    def masked(self) -> str:
        """``app/key`` with what is secret left out: for lines that people see."""
        app, _, query = self.app.partition("?")
        shown = self.key[:_SHOWN_OF_A_KEY]
        return f"{app}{'?…' if query else ''}/{shown}{'…' if shown != self.key else ''}"

    @property
    def frames(self) -> int:
        """Coded frames of both kinds."""
        return self.video.frames + self.audio.frames

    def take(self, message: Message, now_ns: int) -> None:
        """Counts one message."""
        is_video = message.type_id == VIDEO
        counts = self.video if is_video else self.audio
        size = len(message.body)
        counts.bytes += size
        self.bytes += size
        self.messages.append(message)
        try:
            items = parse_video(message.body) if is_video else parse_audio(message.body)
        except DamagedFrameError:
            counts.damaged += 1
            return
        for item in items:
            self._count(counts, item, message.timestamp, now_ns)

    def take_data(self, data: DataReceived) -> None:
        """Counts metadata and other data."""
        self.data_messages += 1
        found = next((value for value in data.values if isinstance(value, dict)), None)
        if data.name == "onMetaData" and found is not None:
            self.metadata = found

    def _count(self, counts: MediaCounts, item: TagItem, timestamp_ms: int, now_ns: int) -> None:
        match item:
            case VideoConfig(codec) | AudioConfig(codec):
                counts.headers += 1
                counts.codec = codec
            case VideoFrame():
                is_key = item.frame_type is FrameType.KEY
                if self.begins_with_keyframe is None:
                    self.begins_with_keyframe = is_key and counts.headers > 0
                counts.keyframes += is_key
                counts.codec = item.codec
                counts.take_frame(timestamp_ms, now_ns)
            case AudioFrame():
                counts.codec = item.codec
                counts.take_frame(timestamp_ms, now_ns)
