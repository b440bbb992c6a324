"""The initialisation segment: ``ftyp`` and a ``moov`` without samples (ISO/IEC 23000-19, 7.3.1)."""

from struct import pack
from typing import Final

from streamserver.feeds.cmaf.boxes import box, full_box
from streamserver.feeds.cmaf.entries import sample_entry, timescale
from streamserver.media.track import Codec, Kind, Track

__all__ = ["init_segment"]

_UNITY: Final = pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
"""The transformation matrix that changes nothing."""

_UNDETERMINED: Final = 0x55C4
"""The language ``und``, three letters of five bits (8.4.2)."""

_MOVIE_TIMESCALE: Final = 1_000


def init_segment(tracks: tuple[Track, ...]) -> bytes:
    """Describes tracks, numbered from 1 in their order.

    No edit lists: the times in the parts are the stream's log times, for all tracks alike.
    Raises `RemoteProtocolError` when the config of a track is malformed.
    """
    count = len(tracks)
    # 8.2.2: rate 1.0, volume 1.0, no duration, the id that the next track would get.
    times = pack(">IIIIIH10x", 0, 0, _MOVIE_TIMESCALE, 0, 0x10000, 0x100)
    mvhd = full_box(b"mvhd", 0, 0, times, _UNITY, bytes(24), pack(">I", count + 1))
    traks = [_trak(number, track) for number, track in enumerate(tracks, 1)]
    # 8.8.3: one description per track, everything else is said by each fragment.
    trexs = [
        full_box(b"trex", 0, 0, pack(">5I", number, 1, 0, 0, 0)) for number in range(1, count + 1)
    ]
    return _ftyp(tracks) + box(b"moov", mvhd, *traks, box(b"mvex", *trexs))


def _ftyp(tracks: tuple[Track, ...]) -> bytes:
    brands = [b"iso6", b"cmfc", b"mp41"]
    if any(track.codec is Codec.AV1 for track in tracks):
        # AV1 in ISOBMFF, 2.1: the brand is required.
        brands.append(b"av01")
    return box(b"ftyp", b"iso6", bytes(4), *brands)


def _trak(number: int, track: Track) -> bytes:
    video = track.kind is Kind.VIDEO
    # 8.3.2: enabled and in the presentation; video has a size, audio has a volume.
    tkhd = full_box(
        b"tkhd",
        0,
        3,
        pack(">IIIII8xHHHH", 0, 0, number, 0, 0, 0, 0 if video else 1, 0 if video else 0x100, 0),
        _UNITY,
        pack(">II", track.width << 16, track.height << 16) if video else bytes(8),
    )
    mdhd = full_box(b"mdhd", 0, 0, pack(">IIIIHH", 0, 0, timescale(track), 0, _UNDETERMINED, 0))
    handler, name = (b"vide", b"video\0") if video else (b"soun", b"audio\0")
    hdlr = full_box(b"hdlr", 0, 0, pack(">I4s12x", 0, handler), name)
    media_header = full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4))
    dref = full_box(b"dref", 0, 0, pack(">I", 1), full_box(b"url ", 0, 1))
    minf = box(b"minf", media_header, box(b"dinf", dref), _empty_table(track))
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, minf))


def _empty_table(track: Track) -> bytes:
    return box(
        b"stbl",
        full_box(b"stsd", 0, 0, pack(">I", 1), sample_entry(track)),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
