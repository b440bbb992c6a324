"""Sample entries: what a decoder must know, one box per codec (ISO/IEC 14496-12, 8.5.2)."""

from collections.abc import Callable
from struct import pack
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.feeds.cmaf.boxes import box, descriptor, full_box
from streamserver.media.aac import AacConfig
from streamserver.media.track import Codec, Track

__all__ = ["can_carry", "sample_entry", "timescale"]

_MPEG4_AUDIO: Final = 0x40
_MPEG1_AUDIO: Final = 0x6B
_MPEG2_AUDIO: Final = 0x69
"""ObjectTypeIndication values of the MPEG-4 registration authority."""

_CHROMA_VPCC: Final = {"4:0:0": 1, "4:2:0": 1, "4:2:2": 2, "4:4:4": 3}
"""chromaSubsampling of the VP codec configuration record."""


def can_carry(track: Track) -> bool:
    """Whether this feed writes tracks of that codec. VP8 has no place in CMAF."""
    return track.codec in _ENTRIES


def timescale(track: Track) -> int:
    """Ticks per second of a track inside the file.

    For AAC it is the core's rate, for all others the track's own clock, so that a frame of audio
    always is a whole number of ticks. Raises `RemoteProtocolError` for a malformed config.
    """
    if track.codec is Codec.AAC:
        return AacConfig.parse(track.config).core_rate
    return track.clock_rate


def sample_entry(track: Track) -> bytes:
    """The sample entry of a track. Raises `RemoteProtocolError` when its config is malformed."""
    return _ENTRIES[track.codec](track)


def _visual(kind: bytes, track: Track, *boxes: bytes) -> bytes:
    # 12.1.3: resolution 72 dpi, one frame per sample, no compressor name, depth 24.
    return box(
        kind,
        pack(">6xH16xHHIIIH", 1, track.width, track.height, 0x480000, 0x480000, 0, 1),
        bytes(32),
        pack(">Hh", 24, -1),
        *boxes,
        _colour(track),
    )


def _colour(track: Track) -> bytes:
    colour = track.colour
    if colour is None:
        return b""
    # 12.1.5, on-screen colours: the numbers of the bitstream and the range flag.
    numbers = pack(">HHH", colour.primaries, colour.transfer, colour.matrix)
    return box(b"colr", b"nclx", numbers, b"\x80" if colour.full_range else b"\x00")


def _audio(kind: bytes, channels: int, rate: int, *boxes: bytes) -> bytes:
    # 12.2.3: the rate is 16.16; one that does not fit is left to the decoder's config.
    fixed = rate << 16 if rate < 1 << 16 else 0
    return box(kind, pack(">6xH8xHH4xI", 1, channels, 16, fixed), *boxes)


def _require(track: Track, size: int) -> bytes:
    if len(track.config) < size:
        raise RemoteProtocolError(f"the {track.codec} configuration ends too early")
    return track.config


def _avc1(track: Track) -> bytes:
    return _visual(b"avc1", track, box(b"avcC", _require(track, 7)))


def _hvc1(track: Track) -> bytes:
    # hvc1, not hev1: parameter sets are in the config, and Safari plays no other.
    return _visual(b"hvc1", track, box(b"hvcC", _require(track, 23)))


def _av01(track: Track) -> bytes:
    return _visual(b"av01", track, box(b"av1C", _require(track, 4)))


def _vp09(track: Track) -> bytes:
    config = _require(track, 8) if track.config else _vpcc(track)
    return _visual(b"vp09", track, full_box(b"vpcC", 1, 0, config))


def _vpcc(track: Track) -> bytes:
    """A VP codec configuration record from what is known of the track.

    Level 0 stands for unknown, colour number 2 for unspecified.
    """
    wide, deep = track.chroma_format not in ("4:2:0", "4:0:0"), track.bit_depth > 8
    profile = (2 if deep else 0) + (1 if wide else 0)
    colour = track.colour
    subsampling = _CHROMA_VPCC.get(track.chroma_format, 1)
    packed = track.bit_depth << 4 | subsampling << 1 | bool(colour and colour.full_range)
    numbers = (colour.primaries, colour.transfer, colour.matrix) if colour else (2, 2, 2)
    return bytes((profile, 0, packed, *numbers, 0, 0))


def _elementary(kind: int, specific: bytes) -> bytes:
    """An esds box (ISO/IEC 14496-14, 5.6): stream type 5 is audio, rates are left unknown."""
    info = descriptor(5, specific) if specific else b""
    decoder = descriptor(4, pack(">BB3xII", kind, 5 << 2 | 1, 0, 0), info)
    return full_box(b"esds", 0, 0, descriptor(3, bytes(3), decoder, descriptor(6, b"\x02")))


def _mp4a(track: Track) -> bytes:
    specific = _require(track, 2)
    esds = _elementary(_MPEG4_AUDIO, specific)
    return _audio(b"mp4a", track.channels or 2, timescale(track), esds)


def _mp3(track: Track) -> bytes:
    # The halved and quartered rates below 32 kHz are MPEG-2's.
    kind = _MPEG1_AUDIO if track.clock_rate >= 32_000 else _MPEG2_AUDIO
    return _audio(b"mp4a", track.channels or 2, track.clock_rate, _elementary(kind, b""))


def _opus(track: Track) -> bytes:
    head = _require(track, 19)
    if head[:8] != b"OpusHead":
        raise RemoteProtocolError("the Opus configuration is no OpusHead")
    # OpusHead (RFC 7845, 5.1) is little-endian, dOps (Opus in ISOBMFF, 4.3.2) big-endian and
    # of version 0; the channel mapping is the same in both.
    pre_skip = int.from_bytes(head[10:12], "little")
    rate = int.from_bytes(head[12:16], "little")
    gain = int.from_bytes(head[16:18], "little")
    mapping = head[18:21] + head[21 : 21 + head[9]] if head[18] else head[18:19]
    dops = box(b"dOps", pack(">BBHIH", 0, head[9], pre_skip, rate, gain), mapping)
    return _audio(b"Opus", head[9], 48_000, dops)


_ENTRIES: Final[dict[Codec, Callable[[Track], bytes]]] = {
    Codec.H264: _avc1,
    Codec.H265: _hvc1,
    Codec.AV1: _av01,
    Codec.VP9: _vp09,
    Codec.AAC: _mp4a,
    Codec.OPUS: _opus,
    Codec.MP3: _mp3,
}
