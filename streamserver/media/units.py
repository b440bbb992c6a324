"""From the bytes of one message to the form that a `Packet` holds.

A reader per track checks each access unit, finds out whether a decoder can begin there, and takes
away what the container does not want: start codes, parameter sets, delimiters, ADTS headers. In the
common case nothing is in the way and the same bytes object comes back.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final, NamedTuple, Protocol, Self

from streamserver.errors import RemoteProtocolError
from streamserver.media import aac, av1, h264, h265, mp3, opus, vp8, vp9
from streamserver.media.errors import DamagedFrameError
from streamserver.media.nal import (
    MAX_NALS,
    has_start_code,
    join_nals,
    split_annex_b,
    split_prefixed,
    unpack_u32,
)
from streamserver.media.track import Codec, Track
from streamserver.media.unit_kinds import (
    DELIMITER,
    FRAME,
    KEY,
    LONE_NALS,
    NOT_ADTS,
    NOTHING_TOLD,
    REMOVED,
    SEI,
    TABLE_H264,
    TABLE_H265,
)

__all__ = ["AccessUnit", "UnitReader", "make_reader", "make_track"]


class AccessUnit(NamedTuple):
    """One access unit or audio frame, ready for a `Packet`. A tuple, as there are so many."""

    data: bytes
    """The coded bytes, in the form of `Packet.data`."""

    keyframe: bool
    """Whether a decoder can begin here; True for audio."""

    duration: int = 0
    """Ticks of the track that it lasts, where the coded bytes tell: audio. 0 for video."""

    config: bytes | None = None
    """Not None when the track is no longer right from this unit on: what to give `make_track`,
    together with ``data``, for the track that is."""


class UnitReader(Protocol):
    """Reads the access units of one track, in order."""

    __slots__ = ()

    @property
    def quick_ticks(self) -> int:
        """How long each unit of `quick` lasts, in ticks of the track; 0 when unknown."""
        return 0

    @property
    def lone_nals(self) -> bytes:
        """By the first byte of a NAL unit that is all of a picture, behind its length of 4 bytes:
        0 where `quick` has to be asked, else the picture is told: `LONE_FRAME`, or `LONE_KEY`.

        To be asked for again after each `read`."""
        return NOTHING_TOLD

    @property
    def plain_firsts(self) -> bytes:
        """By the first byte of audio: whether its bytes are the unit; 0 where `quick` has to be
        asked."""
        return NOTHING_TOLD

    def quick(self, data: bytes, key_hint: bool) -> tuple[bytes, bool] | None:
        """Bytes and keyframe of the unit that `read` would make, where that is all to be told.

        None for all else, no bytes among it: ask `read`. Changes nothing.
        """
        return None

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """Makes a unit of the coded bytes of one message; None when nothing of it is left.

        ``key_hint`` is what the container says about the frame. Raises `DamagedFrameError`; the
        reader can go on with the next message.
        """


def make_track(codec: Codec, config: bytes, epoch: int = 0, first: bytes = b"") -> Track:
    """The track that a decoder configuration describes.

    ``first`` is the first unit, for those codecs whose configuration tells no size (VP8, VP9) or
    that have none (MP3): their readers ask for a new track with it. Raises `RemoteProtocolError`.
    """
    match codec:
        case Codec.H264:
            return h264.track_from_avcc(config, epoch)
        case Codec.H265:
            return h265.track_from_hvcc(config, epoch)
        case Codec.AV1:
            return av1.track_from_av1c(config, epoch)
        case Codec.VP8:
            return vp8.track_from_vp8(config, epoch, first)
        case Codec.VP9:
            return vp9.track_from_vpcc(config, epoch, first)
        case Codec.AAC:
            return aac.track_from_asc(config, epoch)
        case Codec.OPUS:
            return opus.track_from_opus_head(config, epoch)
        case Codec.MP3:
            return mp3.track_from_mp3(first, epoch)


def make_reader(codec: Codec, config: bytes) -> UnitReader:
    """The reader for units that come with this configuration, as it came.

    Not for the configuration of a `Track`, which may have been rewritten: lengths of NAL units are
    read by the one that the peer sent. Raises `RemoteProtocolError`.
    """
    return _READERS[codec](config)


class _Config(Protocol):
    """What the configurations of H.264 and H.265 have in common."""

    @property
    def length_size(self) -> int: ...

    def merged(self, nals: Iterable[bytes]) -> Self: ...

    def to_bytes(self) -> bytes: ...


_NALS: Final = range(MAX_NALS)


class _NalReader(UnitReader):
    """H.264 and H.265: they differ in a table and in their parameter sets."""

    __slots__ = ("_changed", "_config", "_lone", "_recovery", "_table")

    def __init__(
        self,
        config: _Config,
        table: bytes,
        recovery: Callable[[bytes], int | None] | None = None,
    ) -> None:
        self._config = config
        self._table = table
        self._lone = table.translate(LONE_NALS)
        self._recovery = recovery
        self._changed = False

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        unit = self.quick(data, key_hint)
        return self._rewrite(data, key_hint) if unit is None else AccessUnit(*unit)

    @property
    def lone_nals(self) -> bytes:
        """See `UnitReader`."""
        if self._changed or self._config.length_size != 4:
            return NOTHING_TOLD
        return self._lone

    def quick(self, data: bytes, key_hint: bool) -> tuple[bytes, bool] | None:
        """See `UnitReader`."""
        if self._changed or self._config.length_size != 4:
            return None
        table, position, end, seen = self._table, 0, len(data), 0
        # What was taken from MPEG-TS has a delimiter before each picture.
        if end > 4 and table[data[4]] & DELIMITER:
            position = 4 + unpack_u32(data)[0]
        start = position
        for _ in _NALS:
            if position + 4 >= end:
                break
            size = unpack_u32(data, position)[0]
            # An empty unit has no type; the slow way leaves it out.
            seen |= table[data[position + 4]] if size else REMOVED
            position += 4 + size
        asks = seen & REMOVED or (key_hint and seen & SEI and not seen & KEY)
        if position != end or asks or not seen & FRAME:
            return None
        return data[start:] if start else data, seen & KEY != 0

    def _rewrite(self, data: bytes, key_hint: bool) -> AccessUnit | None:
        try:
            nals = self._split(data)
            seen = 0
            for nal in nals:
                seen |= self._table[nal[0]]
            if seen & REMOVED:
                self._take_parameter_sets(nals)
            key = bool(seen & KEY) or (key_hint and self._can_recover(nals))
            # Parameter sets may come alone: their news then waits for the next picture.
            if not seen & FRAME:
                return None
            config = self._config.to_bytes() if self._changed else None
        except DamagedFrameError:
            raise
        except RemoteProtocolError as error:
            raise DamagedFrameError(str(error)) from None
        self._changed = False
        kept = join_nals(nal for nal in nals if not self._table[nal[0]] & REMOVED)
        return AccessUnit(kept, key, config=config)

    def _split(self, data: bytes) -> list[bytes]:
        # A length can look like a start code, so the lengths are tried first.
        try:
            return split_prefixed(data, self._config.length_size)
        except DamagedFrameError:
            if has_start_code(data):
                return split_annex_b(data)
            raise

    def _take_parameter_sets(self, nals: list[bytes]) -> None:
        merged = self._config.merged(nals)
        if merged is not self._config:
            self._config = merged
            self._changed = True

    def _can_recover(self, nals: list[bytes]) -> bool:
        if self._recovery is None:
            return False
        sei = (nal for nal in nals if self._table[nal[0]] & SEI)
        return any(self._recovery(nal) == 0 for nal in sei)


def _h264_reader(config: bytes) -> UnitReader:
    return _NalReader(h264.AvcConfig.parse(config), TABLE_H264, h264.recovery_frames)


def _h265_reader(config: bytes) -> UnitReader:
    return _NalReader(h265.HevcConfig.parse(config), TABLE_H265)


_AV1_REWRITTEN: Final = frozenset(
    (av1.OBU_SEQUENCE_HEADER, av1.OBU_TEMPORAL_DELIMITER, av1.OBU_PADDING)
)

_AV1_DELIMITER: Final = b"\x12\x00"


class _Av1Reader(UnitReader):
    """AV1: temporal units in the low-overhead format."""

    __slots__ = ("_header", "_obu")

    def __init__(self, config: bytes) -> None:
        av1.track_from_av1c(config)
        self._obu = av1.sequence_header_of(config[4:])
        self._header = av1.parse_obu(self._obu) if self._obu else None

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        obus = list(av1.split_obus(data))
        config = None
        frame = header = False
        keyframe = False
        for obu in obus:
            if obu.kind == av1.OBU_SEQUENCE_HEADER:
                header = True
                config = self._take_header(data[obu.start : obu.end]) or config
            elif obu.kind in (av1.OBU_FRAME, av1.OBU_FRAME_HEADER) and not frame:
                frame = True
                keyframe = self._begins_key_frame(data, obu)
        if not frame:
            return None
        kept = self._without_delimiter(data, obus)
        # Binding 2.4: a sync sample begins with a sequence header.
        if keyframe and not header and self._obu is not None:
            kept = self._obu + kept
        return AccessUnit(kept, keyframe, config=config)

    def _take_header(self, obu: bytes) -> bytes | None:
        """The new av1C, if this sequence header changes what the track tells."""
        if obu == self._obu:
            return None
        try:
            header = av1.parse_obu(obu)
            config = av1.build_av1c(obu)
        except RemoteProtocolError as error:
            raise DamagedFrameError(str(error)) from None
        # Encoders differ between their own headers in coding tools (SVT-AV1 does): the one in the
        # stream counts for decoders, and is no reason for a discontinuity.
        same = self._header is not None and header.picture == self._header.picture
        self._obu, self._header = obu, header
        return None if same else config

    def quick(self, data: bytes, key_hint: bool) -> tuple[bytes, bool] | None:
        """See `UnitReader`. The frames between key frames are."""
        # FFmpeg leaves the delimiter, of two bytes, before each.
        start = 2 if data.startswith(_AV1_DELIMITER) else 0
        first = None
        try:
            for obu in av1.split_obus(data):
                if obu.kind in _AV1_REWRITTEN and obu.start >= start:
                    return None
                if first is None and obu.kind in (av1.OBU_FRAME, av1.OBU_FRAME_HEADER):
                    first = obu
        except DamagedFrameError:
            return None
        if first is None or self._begins_key_frame(data, first):
            return None
        return data[start:], False

    def _begins_key_frame(self, data: bytes, obu: av1.Obu) -> bool:
        reduced = self._header is not None and self._header.reduced
        return av1.is_shown_key_frame(data[obu.payload : obu.end][:1], reduced=reduced)

    @staticmethod
    def _without_delimiter(data: bytes, obus: list[av1.Obu]) -> bytes:
        unwanted = (av1.OBU_TEMPORAL_DELIMITER, av1.OBU_PADDING)
        kept = [obu for obu in obus if obu.kind not in unwanted]
        start, end = kept[0].start, kept[-1].end
        # They stand at the ends of a unit; one slice does then.
        if all(before.end == after.start for before, after in pairwise(kept)):
            return data[start:end]
        return b"".join(data[obu.start : obu.end] for obu in kept)


class _Vp9Reader(UnitReader):
    """VP9: its size, and without vpcC all else, is known from key frames only."""

    __slots__ = ("_config", "_size")

    def __init__(self, config: bytes) -> None:
        if config:
            vp9.VpConfig.parse(config)
        self._config = config
        self._size = (0, 0)

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        header = vp9.parse_frame(data)
        config = None
        if header.keyframe and (header.width, header.height) != self._size:
            self._size = header.width, header.height
            config = self._config
        return AccessUnit(data, header.keyframe, config=config)


class _Vp8Reader(UnitReader):
    """VP8: its size is known from key frames only."""

    __slots__ = ("_size",)

    def __init__(self, config: bytes) -> None:
        self._size = (0, 0)

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        config = None
        keyframe = vp8.is_keyframe(data)
        if keyframe and (size := vp8.keyframe_size(data)) != self._size:
            self._size = size
            config = b""
        return AccessUnit(data, keyframe, config=config)


class _AacReader(UnitReader):
    """AAC: raw frames, which some encoders leave in their ADTS headers."""

    __slots__ = ("_samples",)

    def __init__(self, config: bytes) -> None:
        self._samples = aac.AacConfig.parse(config).samples_per_frame

    @property
    def quick_ticks(self) -> int:
        """See `UnitReader`."""
        return self._samples

    @property
    def plain_firsts(self) -> bytes:
        """See `UnitReader`. An ADTS header begins with 0xFF."""
        return NOT_ADTS

    def quick(self, data: bytes, key_hint: bool) -> tuple[bytes, bool] | None:
        """See `UnitReader`."""
        return None if not data or (data[0] == 0xFF and aac.is_adts(data)) else (data, True)

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        if aac.is_adts(data):
            data = aac.strip_adts(data)
        return AccessUnit(data, True, self._samples) if data else None


class _OpusReader(UnitReader):
    """Opus: every packet tells how long it lasts."""

    __slots__ = ()

    def __init__(self, config: bytes) -> None:
        if config:
            opus.OpusHead.parse(config)

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        return AccessUnit(data, True, opus.packet_samples(data)) if data else None


class _Mp3Reader(UnitReader):
    """MP3: every frame tells its format."""

    __slots__ = ("_format",)

    def __init__(self, config: bytes) -> None:
        self._format = (0, 0)

    def read(self, data: bytes, *, key_hint: bool = False) -> AccessUnit | None:
        """See `UnitReader`."""
        if not data:
            return None
        header = mp3.parse_frame(data)
        config = None
        if (header.sample_rate, header.channels) != self._format:
            self._format = header.sample_rate, header.channels
            config = b""
        return AccessUnit(data, True, header.samples, config)


_READERS: Final[dict[Codec, Callable[[bytes], UnitReader]]] = {
    Codec.H264: _h264_reader,
    Codec.H265: _h265_reader,
    Codec.AV1: _Av1Reader,
    Codec.VP8: _Vp8Reader,
    Codec.VP9: _Vp9Reader,
    Codec.AAC: _AacReader,
    Codec.OPUS: _OpusReader,
    Codec.MP3: _Mp3Reader,
}
