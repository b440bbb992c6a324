"""Tracks and packets as FLV tag bodies, which RTMP messages carry too: `media.flv` backwards.

Sources: Adobe Flash Video File Format 10.1, E.4.2 and E.4.3; Enhanced RTMP v2 ("E-RTMP" below);
where they leave a choice, what FFmpeg writes. The message's time is `Packet.dts_ms`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Colour, Kind, Track
from streamserver.media.vp9 import VpConfig

__all__ = [
    "FOUR_CCS",
    "Dialect",
    "audio_body",
    "audio_config_body",
    "audio_head",
    "carries",
    "end_body",
    "metadata",
    "video_body",
    "video_config_body",
    "video_head",
]


class Dialect(StrEnum):
    """The forms in which a far side reads bodies."""

    LEGACY = "legacy"
    """FLV 10.1: H.264, AAC and MP3; every player and platform."""

    ENHANCED = "enhanced"
    """The same for these three, since everybody reads it; FourCC headers for all other codecs."""


FOUR_CCS: Final = {
    Codec.H264: "avc1",
    Codec.H265: "hvc1",
    Codec.AV1: "av01",
    Codec.VP9: "vp09",
    Codec.VP8: "vp08",
    Codec.AAC: "mp4a",
    Codec.OPUS: "Opus",
    Codec.MP3: ".mp3",
}
"""How enhanced RTMP names a codec, in ``fourCcList`` for example."""

_LEGACY_IDS: Final = {Codec.H264: 7, Codec.AAC: 10, Codec.MP3: 2}
"""CodecID of video and SoundFormat of audio."""

# The first byte of a legacy video body: frame type 1 (key) or 2 (inter) and CodecID 7.
_AVC_KEY: Final = 0x17
_AVC_INTER: Final = 0x27

# With AVCPacketType 1, and the composition time to be added.
_AVC_KEY_NALS: Final = _AVC_KEY << 32 | 1 << 24
_AVC_INTER_NALS: Final = _AVC_INTER << 32 | 1 << 24

# And of an enhanced one: the flag, a frame type, and the packet type to be added.
_EX_KEY: Final = 0x90
_EX_INTER: Final = 0xA0
_EX_AUDIO: Final = 0x90
"""SoundFormat 9; the same number by chance."""

_SEQUENCE_START: Final = 0
_CODED_FRAMES: Final = 1
_SEQUENCE_END: Final = 2
_CODED_FRAMES_X: Final = 3

_EX_CODES: Final = {
    codec: four_cc.encode() for codec, four_cc in FOUR_CCS.items() if codec not in _LEGACY_IDS
}
"""The codecs that are written with an enhanced header."""

_AAC_FLAGS: Final = 0xAF
"""E.4.2.1: AAC says 44 kHz, 16 bit and stereo, whatever it is."""

_AAC_RAW: Final = bytes((_AAC_FLAGS, 1))

_FULL_BOX: Final = bytes((1, 0, 0, 0))
"""Version and flags before vpcC: a FullBox in ISO files, and FFmpeg leaves them in place."""

_VP8_CONFIG: Final = VpConfig(0, 10, 8, 1, Colour(2, 2, 2, full_range=False)).to_bytes()
"""VP8 comes without one, but a sequence start has to say something."""

_MP3_RATES: Final = ((40_000, 3), (20_000, 2), (10_000, 1), (0, 0))
"""Lowest sample rate and the rate bits: 44, 22, 11 and 5.5 kHz. 48 kHz has no bits of its own."""

_CTS_LIMIT: Final = 1 << 23


def carries(track: Track, dialect: Dialect) -> bool:
    """Whether a dialect has a form for the track."""
    return dialect is Dialect.ENHANCED or track.codec in _LEGACY_IDS


def video_config_body(track: Track, dialect: Dialect) -> bytes | None:
    """The sequence header of a video track; None when the dialect cannot carry it."""
    codec, config = track.codec, track.config
    if codec is Codec.H264:
        return bytes((_AVC_KEY, 0, 0, 0, 0)) + config
    if not _carries_video(track, dialect):
        return None
    if codec is Codec.VP9:
        config = _FULL_BOX + config
    elif codec is Codec.VP8:
        config = _FULL_BOX + _VP8_CONFIG
    return bytes((_EX_KEY | _SEQUENCE_START,)) + _EX_CODES[codec] + config


def audio_config_body(track: Track, dialect: Dialect) -> bytes | None:
    """The sequence header of an audio track; None when the dialect cannot carry it, and for MP3,
    which has none."""
    if track.codec is Codec.AAC:
        return bytes((_AAC_FLAGS, 0)) + track.config
    if track.codec is Codec.OPUS and dialect is Dialect.ENHANCED:
        return bytes((_EX_AUDIO | _SEQUENCE_START,)) + _EX_CODES[Codec.OPUS] + track.config
    return None


def video_body(packet: Packet, dialect: Dialect) -> bytes | None:
    """The body of a coded picture; None when the dialect cannot carry it."""
    head = video_head(packet, dialect)
    return None if head is None else head + packet.data


def video_head(packet: Packet, dialect: Dialect) -> bytes | None:
    """What stands before the packet's own bytes in the body of a coded picture; None when the
    dialect cannot carry it."""
    track = packet.track
    codec = track.codec
    if codec is Codec.H264:
        rate = track.clock_rate
        cts = packet.pts * 1000 // rate - packet.dts * 1000 // rate
        if cts and not -_CTS_LIMIT <= cts < _CTS_LIMIT:
            cts = _clipped(cts)
        first = _AVC_KEY_NALS if packet.keyframe else _AVC_INTER_NALS
        return (first | cts & 0xFF_FFFF).to_bytes(5, "big")
    if not _carries_video(track, dialect):
        return None
    first = _EX_KEY if packet.keyframe else _EX_INTER
    four_cc = _EX_CODES[codec]
    if codec is not Codec.H265:
        # E-RTMP ExVideoTagBody: only AVC and HEVC have a composition time.
        return bytes((first | _CODED_FRAMES,)) + four_cc
    composition = _composition(packet)
    if composition == b"\0\0\0":
        return bytes((first | _CODED_FRAMES_X,)) + four_cc
    return bytes((first | _CODED_FRAMES,)) + four_cc + composition


def audio_body(packet: Packet, dialect: Dialect) -> bytes | None:
    """The body of coded sound; None when the dialect cannot carry it."""
    head = audio_head(packet, dialect)
    return None if head is None else head + packet.data


def audio_head(packet: Packet, dialect: Dialect) -> bytes | None:
    """As `video_head`, of coded sound."""
    track = packet.track
    if track.codec is Codec.AAC:
        return _AAC_RAW
    if track.codec is Codec.MP3:
        return bytes((_mp3_flags(track),))
    if track.codec is Codec.OPUS and dialect is Dialect.ENHANCED:
        return bytes((_EX_AUDIO | _CODED_FRAMES,)) + _EX_CODES[Codec.OPUS]
    return None


def end_body(track: Track, dialect: Dialect) -> bytes | None:
    """The end of a track's sequence; None where there is no such thing: AAC, MP3, and what the
    dialect cannot carry."""
    if track.codec is Codec.H264:
        return bytes((_AVC_KEY, 2, 0, 0, 0))
    four_cc = _EX_CODES.get(track.codec)
    if four_cc is None or dialect is Dialect.LEGACY:
        return None
    first = _EX_KEY if track.kind is Kind.VIDEO else _EX_AUDIO
    return bytes((first | _SEQUENCE_END,)) + four_cc


def metadata(
    tracks: Iterable[Track], encoder: str = "streamserver"
) -> dict[str, float | str | bool]:
    """The values of ``onMetaData`` (E.5): the first track of each kind.

    Players take the size of the picture from here before the first frame; what is unknown is left
    out. Numbers of AMF are doubles, so the frame rate is the one float of this package. Codecs
    are numbers: CodecID or SoundFormat, else the FourCC read as one (E-RTMP).
    """
    values: dict[str, float | str | bool] = {}
    for track in tracks:
        if track.kind is Kind.VIDEO and "videocodecid" not in values:
            values["videocodecid"] = _codec_id(track.codec)
            if track.width and track.height:
                values |= {"width": track.width, "height": track.height}
            if track.frame_rate is not None:
                values["framerate"] = float(track.frame_rate)
        elif track.kind is Kind.AUDIO and "audiocodecid" not in values:
            values["audiocodecid"] = _codec_id(track.codec)
            if track.sample_rate:
                values["audiosamplerate"] = track.sample_rate
            if track.channels:
                values |= {"audiochannels": track.channels, "stereo": track.channels == 2}
    return values | {"encoder": encoder}


def _carries_video(track: Track, dialect: Dialect) -> bool:
    return track.kind is Kind.VIDEO and carries(track, dialect)


def _composition(packet: Packet) -> bytes:
    """E.4.3.1 CompositionTime: milliseconds from decoding to showing, SI24.

    The difference of rounded times, so that the sum with the message's time is exact again.
    """
    cts = packet.pts * 1000 // packet.track.clock_rate - packet.dts_ms
    return (_clipped(cts) & 0xFF_FFFF).to_bytes(3, "big")


def _clipped(cts: int) -> int:
    return max(-_CTS_LIMIT, min(cts, _CTS_LIMIT - 1))


def _mp3_flags(track: Track) -> int:
    # E.4.2.1: format, rate, 16 bits, stereo. MP3 at 8 kHz has a format of its own (14), which
    # FFmpeg does not read; every decoder believes the frame's own header.
    rate = next(bits for lowest, bits in _MP3_RATES if track.sample_rate >= lowest)
    return _LEGACY_IDS[Codec.MP3] << 4 | rate << 2 | 2 | (track.channels > 1)


def _codec_id(codec: Codec) -> int:
    return _LEGACY_IDS.get(codec) or int.from_bytes(FOUR_CCS[codec].encode())
