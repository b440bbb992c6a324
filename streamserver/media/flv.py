"""FLV tag bodies, as RTMP audio and video messages carry them, and their enhanced forms.

Sources: Adobe Flash Video File Format 10.1, E.4.2 and E.4.3; Enhanced RTMP v2 ("E-RTMP" below).
What a body says is handed on; what its codec data says is for `streamserver.media.units`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, NamedTuple

from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Codec, Kind

__all__ = [
    "AudioConfig",
    "AudioEnd",
    "AudioFrame",
    "ChannelConfig",
    "ColorInfo",
    "FrameType",
    "Ignored",
    "TagItem",
    "VideoConfig",
    "VideoEnd",
    "VideoFrame",
    "parse_audio",
    "parse_tag",
    "parse_video",
]


class FrameType(IntEnum):
    """What the sender says about a video frame; what it is, its bitstream tells."""

    KEY = 1
    INTER = 2
    DISPOSABLE = 3
    GENERATED_KEY = 4
    COMMAND = 5


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """A video sequence header."""

    codec: Codec
    """The codec."""

    config: bytes
    """avcC, hvcC, av1C or vpcC as it came; not checked."""


class VideoFrame(NamedTuple):
    """Coded video of one instant. A tuple, like `AudioFrame`: every message makes one."""

    codec: Codec
    """The codec."""

    data: bytes
    """The coded bytes as they came."""

    composition_ms: int
    """What to add to the message's time for presentation, in milliseconds; may be negative."""

    frame_type: FrameType
    """What the sender says that it is."""

    nanos: int = 0
    """Nanoseconds to add to the presentation time, below a millisecond."""


@dataclass(frozen=True, slots=True)
class VideoEnd:
    """No more video will come until the next sequence header."""

    codec: Codec
    """The codec."""


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """Metadata of the video, colour mostly: AMF0 ``"colorInfo"`` and an object or undefined."""

    codec: Codec
    """The codec."""

    payload: bytes
    """The AMF0 values, unread."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """An audio sequence header."""

    codec: Codec
    """The codec."""

    config: bytes
    """AudioSpecificConfig or OpusHead as it came, may be empty; not checked."""


class AudioFrame(NamedTuple):
    """Coded audio."""

    codec: Codec
    """The codec."""

    data: bytes
    """The coded bytes as they came."""

    nanos: int = 0
    """Nanoseconds to add to the presentation time, below a millisecond."""


@dataclass(frozen=True, slots=True)
class AudioEnd:
    """No more audio will come until the next sequence header."""

    codec: Codec
    """The codec."""


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """How many channels the audio has (E-RTMP MultichannelConfig), for codecs without a header."""

    codec: Codec
    """The codec."""

    channels: int
    """Number of channels."""

    mask: int = 0
    """Speakers in native order, bit 0 front left; 0 when the order is another."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that this server has no use for; the stream lives on without it."""

    reason: str
    """What it was, for a counter's label or a log line; one of few texts."""


TagItem = (
    VideoConfig
    | VideoFrame
    | VideoEnd
    | ColorInfo
    | AudioConfig
    | AudioFrame
    | AudioEnd
    | ChannelConfig
    | Ignored
)
"""What a tag body holds."""

_FRAME_TYPES: Final = tuple(
    FrameType(number) if 1 <= number <= 5 else FrameType.INTER for number in range(8)
)
"""By number; 0, 6 and 7 are reserved, but a frame is a frame: its bitstream tells the rest."""

_LEGACY_VIDEO: Final = {7: Codec.H264, 12: Codec.H265, 13: Codec.AV1}
"""CodecID; 12 and 13 are what Chinese networks use, with the five bytes of AVC."""

_LEGACY_VIDEO_NAMES: Final = {
    2: "Sorenson H.263", 3: "screen video", 4: "VP6", 5: "VP6 with alpha", 6: "screen video 2",
    14: "H.266",
}  # fmt: skip

_LEGACY_AUDIO: Final = {2: Codec.MP3, 10: Codec.AAC, 13: Codec.OPUS, 14: Codec.MP3}
"""SoundFormat; 13 is Opus as SRS and its kin send it, with the two bytes of AAC."""

_LEGACY_AUDIO_NAMES: Final = {
    0: "PCM", 1: "ADPCM", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser",
    7: "G.711 A-law", 8: "G.711 mu-law", 11: "Speex",
}  # fmt: skip

_VIDEO_FOUR_CC: Final = {
    b"avc1": Codec.H264,
    b"hvc1": Codec.H265,
    b"av01": Codec.AV1,
    b"vp09": Codec.VP9,
    b"vp08": Codec.VP8,
}

_AUDIO_FOUR_CC: Final = {b"mp4a": Codec.AAC, b"Opus": Codec.OPUS, b".mp3": Codec.MP3}

_KNOWN_FOUR_CC: Final = frozenset((b"vvc1", b"hev1", b"fLaC", b"ac-3", b"ec-3"))
"""Codecs that deserve their name in a log line; others are a stranger's bytes."""


class _VideoPacket(IntEnum):
    """E-RTMP VideoPacketType."""

    SEQUENCE_START = 0
    CODED_FRAMES = 1
    SEQUENCE_END = 2
    CODED_FRAMES_X = 3
    METADATA = 4
    MPEG2TS_SEQUENCE_START = 5
    MULTITRACK = 6


class _AudioPacket(IntEnum):
    """E-RTMP AudioPacketType."""

    SEQUENCE_START = 0
    CODED_FRAMES = 1
    SEQUENCE_END = 2
    MULTICHANNEL_CONFIG = 4
    MULTITRACK = 5


class _Multitrack(IntEnum):
    """E-RTMP AvMultitrackType."""

    ONE_TRACK = 0
    MANY_TRACKS = 1
    MANY_TRACKS_MANY_CODECS = 2


_MOD_EX: Final = 7
"""The packet type of a modifier, the same for audio and video."""

_MAX_MOD_EX: Final = 16
"""Modifiers of one message; one exists."""

_EMPTY: Final = Ignored("empty message")


def parse_tag(kind: Literal[Kind.AUDIO, Kind.VIDEO], body: bytes) -> tuple[TagItem, ...]:
    """What an audio or video message holds: one item, except for multitrack messages.

    Raises `DamagedFrameError`, and nothing else.
    """
    return parse_video(body) if kind is Kind.VIDEO else parse_audio(body)


def parse_video(body: bytes) -> tuple[TagItem, ...]:
    """What a video message holds. Raises `DamagedFrameError`."""
    if not body:
        return (_EMPTY,)
    first = body[0]
    if first & 0x80:
        return _parse_video_ex(body)
    # E.4.3.1: frame type and codec, then for AVC a packet type and a composition time.
    codec = _LEGACY_VIDEO.get(first & 0x0F)
    frame_type = _FRAME_TYPES[first >> 4]
    if frame_type is FrameType.COMMAND:
        return (Ignored("seek command"),)
    if codec is None:
        name = _LEGACY_VIDEO_NAMES.get(first & 0x0F, "of an unknown number")
        return (Ignored(f"codec {name} is not supported"),)
    if len(body) < 5:
        raise DamagedFrameError("the video message ends too early")
    packet_type = body[1]
    if packet_type == 1:
        if len(body) == 5:
            return (_EMPTY,)
        return (VideoFrame(codec, body[5:], _signed_24(body, 2), frame_type),)
    if packet_type == 0:
        return (VideoConfig(codec, body[5:]),)
    return (VideoEnd(codec) if packet_type == 2 else Ignored("unknown packet type"),)


def parse_audio(body: bytes) -> tuple[TagItem, ...]:
    """What an audio message holds; one without sound is no error. Raises `DamagedFrameError`."""
    if not body:
        return (_EMPTY,)
    # E.4.2.1: the bits for rate, size and channels are fixed for AAC and wrong for the rest.
    sound_format = body[0] >> 4
    if sound_format == 9:
        return _parse_audio_ex(body)
    codec = _LEGACY_AUDIO.get(sound_format)
    if codec is None:
        name = _LEGACY_AUDIO_NAMES.get(sound_format, "of an unknown number")
        return (Ignored(f"codec {name} is not supported"),)
    if codec is Codec.MP3:
        return (AudioFrame(codec, body[1:]),) if len(body) > 1 else (_EMPTY,)
    if len(body) < 2:
        return (_EMPTY,)
    if body[1] == 0:
        return (AudioConfig(codec, body[2:]),)
    if body[1] != 1:
        return (Ignored("unknown packet type"),)
    return (AudioFrame(codec, body[2:]),) if len(body) > 2 else (_EMPTY,)


class _Ex(NamedTuple):
    """The part of an enhanced header that all tracks of a message share."""

    packet_type: int
    frame_type: FrameType
    nanos: int


def _parse_video_ex(body: bytes) -> tuple[TagItem, ...]:
    packet_type, position, nanos = _read_mod_ex(body, body[0] & 0x0F)
    frame_type = _FRAME_TYPES[body[0] >> 4 & 7]
    # E-RTMP ExVideoTagHeader: a command has no body, but metadata is metadata with any frame type
    # (FFmpeg sends it as 0xD4).
    if frame_type is FrameType.COMMAND and packet_type != _VideoPacket.METADATA:
        return (Ignored("seek command"),)
    if packet_type == _VideoPacket.MULTITRACK:
        return _parse_multitrack(body, position, Kind.VIDEO, frame_type, nanos)
    four_cc, position = _read_four_cc(body, position)
    return (_video_item(_Ex(packet_type, frame_type, nanos), four_cc, body[position:]),)


def _parse_audio_ex(body: bytes) -> tuple[TagItem, ...]:
    packet_type, position, nanos = _read_mod_ex(body, body[0] & 0x0F)
    if packet_type == _AudioPacket.MULTITRACK:
        return _parse_multitrack(body, position, Kind.AUDIO, FrameType.KEY, nanos)
    four_cc, position = _read_four_cc(body, position)
    return (_audio_item(_Ex(packet_type, FrameType.KEY, nanos), four_cc, body[position:]),)


def _read_mod_ex(body: bytes, packet_type: int) -> tuple[int, int, int]:
    """Undoes modifiers: the real packet type, the position after them, and the nanoseconds."""
    position, nanos = 1, 0
    for _ in range(_MAX_MOD_EX):
        if packet_type != _MOD_EX:
            return packet_type, position, nanos
        # E-RTMP: the size minus 1 in a byte, 256 stands for a size minus 1 in two more; then the
        # data, and only then its type and the next packet type.
        size = _byte(body, position) + 1
        position += 1
        if size == 256:
            size = (_byte(body, position) << 8 | _byte(body, position + 1)) + 1
            position += 2
        data = body[position : position + size]
        position += size
        types = _byte(body, position)
        position += 1
        if types >> 4 == 0 and size >= 3:  # TimestampOffsetNano
            nanos = min(int.from_bytes(data[:3]), 999_999)
        packet_type = types & 0x0F
    raise DamagedFrameError("too many modifiers in one message")


def _parse_multitrack(
    body: bytes, position: int, kind: Kind, frame_type: FrameType, nanos: int
) -> tuple[TagItem, ...]:
    # E-RTMP Multitrack: its form and the packet type in a byte; the codec once, unless each track
    # has its own; then tracks of an id, a size (unless there is but one) and a body.
    form, packet_type = _byte(body, position) >> 4, _byte(body, position) & 0x0F
    position += 1
    nested = _VideoPacket.MULTITRACK if kind is Kind.VIDEO else _AudioPacket.MULTITRACK
    if form > _Multitrack.MANY_TRACKS_MANY_CODECS or packet_type in (nested, _MOD_EX):
        raise DamagedFrameError("the multitrack message has an unknown form")
    ex = _Ex(packet_type, frame_type, nanos)
    four_cc = b""
    if form != _Multitrack.MANY_TRACKS_MANY_CODECS:
        four_cc, position = _read_four_cc(body, position)
    items: list[TagItem] = []
    while position < len(body) and len(items) < 256:
        if form == _Multitrack.MANY_TRACKS_MANY_CODECS:
            four_cc, position = _read_four_cc(body, position)
        track_id = _byte(body, position)
        position += 1
        end = len(body)
        if form != _Multitrack.ONE_TRACK:
            if position + 3 > len(body):
                raise DamagedFrameError("the multitrack message ends too early")
            end = position + 3 + int.from_bytes(body[position : position + 3])
            position += 3
        if end > len(body):
            raise DamagedFrameError("a track is longer than its multitrack message")
        items.append(_track_item(kind, ex, four_cc, track_id, body[position:end]))
        position = end
    return tuple(items) or (_EMPTY,)


def _track_item(kind: Kind, ex: _Ex, four_cc: bytes, track_id: int, data: bytes) -> TagItem:
    # The first track of each kind is the stream; others are for later renditions.
    if track_id:
        return Ignored(f"{kind} track {track_id}")
    return _video_item(ex, four_cc, data) if kind is Kind.VIDEO else _audio_item(ex, four_cc, data)


def _video_item(ex: _Ex, four_cc: bytes, data: bytes) -> TagItem:
    codec = _VIDEO_FOUR_CC.get(four_cc)
    if codec is None:
        return _unsupported(four_cc)
    match ex.packet_type:
        case _VideoPacket.CODED_FRAMES | _VideoPacket.CODED_FRAMES_X:
            composition = 0
            # Only these two have frames that are shown in another order than sent.
            if ex.packet_type == _VideoPacket.CODED_FRAMES and codec in (Codec.H264, Codec.H265):
                if len(data) < 3:
                    raise DamagedFrameError("the video message ends too early")
                composition, data = _signed_24(data, 0), data[3:]
            if not data:
                return _EMPTY
            return VideoFrame(codec, data, composition, ex.frame_type, ex.nanos)
        case _VideoPacket.SEQUENCE_START:
            return VideoConfig(codec, data)
        case _VideoPacket.SEQUENCE_END:
            return VideoEnd(codec)
        case _VideoPacket.METADATA:
            return ColorInfo(codec, data)
        case _VideoPacket.MPEG2TS_SEQUENCE_START:
            return Ignored("MPEG-2 TS sequence start")
    return Ignored("unknown packet type")


def _audio_item(ex: _Ex, four_cc: bytes, data: bytes) -> TagItem:
    codec = _AUDIO_FOUR_CC.get(four_cc)
    if codec is None:
        return _unsupported(four_cc)
    match ex.packet_type:
        case _AudioPacket.CODED_FRAMES:
            return AudioFrame(codec, data, ex.nanos) if data else _EMPTY
        case _AudioPacket.SEQUENCE_START:
            return AudioConfig(codec, data)
        case _AudioPacket.SEQUENCE_END:
            return AudioEnd(codec)
        case _AudioPacket.MULTICHANNEL_CONFIG:
            return _channel_config(codec, data)
    return Ignored("unknown packet type")


def _channel_config(codec: Codec, data: bytes) -> TagItem:
    # E-RTMP: order (0 unspecified, 1 native, 2 custom) and count; a mask of speakers if native.
    if len(data) < 2 or not data[1]:
        raise DamagedFrameError("the channel configuration ends too early")
    mask = int.from_bytes(data[2:6]) if data[0] == 1 else 0
    return ChannelConfig(codec, data[1], mask)


def _unsupported(four_cc: bytes) -> Ignored:
    name = four_cc.decode() if four_cc in _KNOWN_FOUR_CC else "of an unknown name"
    return Ignored(f"codec {name} is not supported")


def _byte(body: bytes, position: int) -> int:
    if position >= len(body):
        raise DamagedFrameError("the message ends too early")
    return body[position]


def _read_four_cc(body: bytes, position: int) -> tuple[bytes, int]:
    if position + 4 > len(body):
        raise DamagedFrameError("the message ends before its codec")
    return body[position : position + 4], position + 4


def _signed_24(data: bytes, position: int) -> int:
    return (int.from_bytes(data[position : position + 3]) ^ 0x80_0000) - 0x80_0000
