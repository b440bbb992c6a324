"""One part: a ``moof`` and its ``mdat``. The hot path of the feed.

Samples come as flat lists that go into the table with one call. The payload is not copied: most
parts of a stream that few people watch are never asked for.
"""

from struct import Struct, pack
from typing import Final

import msgspec

__all__ = ["NON_SYNC", "SYNC", "AudioRun", "VideoRun", "fragment"]

SYNC: Final = 0x0200_0000
"""Sample flags of a keyframe: depends on no other (ISO/IEC 14496-12, 8.8.3.1)."""

NON_SYNC: Final = 0x0101_0000
"""Sample flags of any other frame: depends on others, is not a sync sample."""

_MOOF: Final = Struct(">I4sI4sII")
_MDAT: Final = Struct(">I4s")

# traf, tfhd, tfdt (64 bits) and trun in one go; what is the same in all of them stands packed.
_VIDEO_TRAF: Final = Struct(">I16sI 12sQI 8sIi")
_AUDIO_TRAF: Final = Struct(">I16sIII 12sQI 8sIi")

_BASE_IS_MOOF: Final = 0x02_0000
_DEFAULT_DURATION: Final = 0x08
_DEFAULT_FLAGS: Final = 0x20
_TFDT_64: Final = 0x0100_0000

# 8.8.8: data offset, then per sample; version 1 has signed composition offsets.
_TRUN_VIDEO: Final = 0x0100_0000 | 0x001 | 0x100 | 0x200 | 0x400 | 0x800
_TRUN_SIZES: Final = 0x0100_0000 | 0x001 | 0x200
_TRUN_DURATIONS: Final = _TRUN_SIZES | 0x100

_VIDEO_TFHD: Final = pack(">4sI4sI", b"traf", 16, b"tfhd", _BASE_IS_MOOF)
_AUDIO_TFHD: Final = pack(
    ">4sI4sI", b"traf", 24, b"tfhd", _BASE_IS_MOOF | _DEFAULT_DURATION | _DEFAULT_FLAGS
)
_TFDT: Final = pack(">I4sI", 20, b"tfdt", _TFDT_64)
_VIDEO_TRUN: Final = pack(">4sI", b"trun", _TRUN_VIDEO)
_SIZES_TRUN: Final = pack(">4sI", b"trun", _TRUN_SIZES)
_DURATIONS_TRUN: Final = pack(">4sI", b"trun", _TRUN_DURATIONS)


class VideoRun(msgspec.Struct, gc=False):
    """Video samples of one part, in decoding order."""

    track_id: int
    """Number of the track in the initialisation segment."""

    start: int
    """Decoding time of the first sample, in ticks of the track."""

    table: list[int]
    """Four numbers per sample: duration, size, flags, composition offset (signed)."""

    data: list[bytes]
    """The coded frames."""


class AudioRun(msgspec.Struct, gc=False):
    """Audio samples of one part."""

    track_id: int
    """Number of the track in the initialisation segment."""

    start: int
    """Decoding time of the first sample, in ticks of the track."""

    durations: list[int]
    """Ticks of each sample."""

    data: list[bytes]
    """The coded frames."""


def fragment(sequence: int, video: VideoRun | None, audio: AudioRun | None) -> list[bytes]:
    """The bytes of a part in pieces; ``sequence`` grows with every part of a stream."""
    size = _MOOF.size
    table = sizes = b""
    payload = 0
    uniform = True
    data: list[bytes] = []
    lengths: list[int] = []
    if video is not None:
        flat = video.table
        table = pack(f">{len(flat)}i", *flat)
        payload = sum(flat[1::4])
        size += _VIDEO_TRAF.size + len(table)
        data = video.data
    if audio is not None:
        durations, lengths = audio.durations, list(map(len, audio.data))
        uniform = durations.count(durations[0]) == len(durations)
        sizes = pack(f">{len(lengths)}I", *lengths) if uniform else _both(durations, lengths)
        size += _AUDIO_TRAF.size + len(sizes)
        data = data + audio.data
    head = _MOOF.pack(size, b"moof", 16, b"mfhd", 0, sequence & 0xFFFF_FFFF)
    # Audio's samples stand behind video's, and both behind the boxes.
    if video is not None:
        head += _video_traf(video, len(table), size + _MDAT.size) + table
    if audio is not None:
        head += _audio_traf(audio, len(sizes), size + _MDAT.size + payload, uniform) + sizes
        payload += sum(lengths)
    return [head + _MDAT.pack(_MDAT.size + payload, b"mdat"), *data]


def _both(durations: list[int], lengths: list[int]) -> bytes:
    flat = [0] * (2 * len(lengths))
    flat[0::2] = durations
    flat[1::2] = lengths
    return pack(f">{len(flat)}I", *flat)


def _video_traf(video: VideoRun, table: int, offset: int) -> bytes:
    return _VIDEO_TRAF.pack(
        64 + table, _VIDEO_TFHD, video.track_id, _TFDT, video.start,
        20 + table, _VIDEO_TRUN, len(video.data), offset,
    )  # fmt: skip


def _audio_traf(audio: AudioRun, table: int, offset: int, uniform: bool) -> bytes:
    return _AUDIO_TRAF.pack(
        72 + table, _AUDIO_TFHD, audio.track_id, audio.durations[0], SYNC, _TFDT, audio.start,
        20 + table, _SIZES_TRUN if uniform else _DURATIONS_TRUN, len(audio.data), offset,
    )  # fmt: skip
