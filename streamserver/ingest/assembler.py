"""From frames of a publisher to packets of a stream: tracks, epochs, time, and when to go live.

Knows no protocol: RTMP today, WebRTC and pulls later, all hand over codec configs and frames.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from streamserver.errors import RemoteProtocolError
from streamserver.hub.registry import Lease
from streamserver.media.packet import Packet
from streamserver.media.timeline import ms_to_ticks
from streamserver.media.track import VIDEO_CLOCK, Codec, Kind, Track
from streamserver.media.unit_kinds import NOTHING_TOLD
from streamserver.media.units import AccessUnit, UnitReader, make_reader, make_track

__all__ = ["Assembler", "Frame", "IngestCounters", "QuickReader", "UnderWay"]

_SETTLE_MS: Final = 1_000
"""Milliseconds of media after which a stream begins with the tracks that it has."""

_KEYFRAME_WAIT_MS: Final = 10_000
"""How long an announced video track may take to its first keyframe before audio begins alone."""

_HELD_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of frames held before a stream begins; beyond it, they are given up."""

_TICKS_PER_MS: Final = VIDEO_CLOCK // 1_000
"""Of a video track."""

_VIDEO: Final = Kind.VIDEO
_AUDIO: Final = Kind.AUDIO
"""Members of an enumeration are looked up slowly, and these for every packet."""

_TOLD_BY_FRAMES: Final = frozenset((Codec.VP8, Codec.VP9, Codec.MP3))
"""Codecs whose tracks are known from a frame, not from a config."""


class Frame(NamedTuple):
    """One coded frame as a protocol delivered it."""

    kind: Kind
    """Video or audio."""

    timestamp_ms: int
    """Decoding time on the publisher's clock: 32 bits, may wrap, jump and lie."""

    composition_ms: int
    """Presentation less decoding time, signed; 0 for audio."""

    data: bytes
    """The frame in the protocol's form."""

    key_hint: bool
    """Whether the protocol says that a decoder can begin here."""

    received_ns: int
    """Monotonic time of arrival."""

    rest: int | None = None
    """Ticks of the track to add to ``timestamp_ms``, less than a millisecond, for protocols with a
    finer clock; None for those that count milliseconds."""


QuickReader: TypeAlias = Callable[[bytes, bool], tuple[bytes, bool] | None]
"""`UnitReader.quick` of a track under way."""


class UnderWay(NamedTuple):
    """Tracks with whose usual frames nothing happens but a packet."""

    video: Track | None
    """The track of such packets; None while every frame of video needs `Assembler.push`."""

    lone_nals: bytes
    """See `UnitReader`."""

    video_quick: QuickReader
    """What reads the other frames of video."""

    audio: Track | None
    """Likewise of audio."""

    plain_firsts: bytes
    """See `UnitReader`."""

    audio_quick: QuickReader
    """What reads the other frames of audio."""

    audio_ticks: int
    """How long each frame of audio lasts, in ticks of the track."""

    audio_rate: int
    """Ticks of the audio track in a second."""


def _not_quick(data: bytes, key_hint: bool) -> None:
    """Reads nothing."""


_NOTHING_UNDER_WAY: Final = UnderWay(
    None, NOTHING_TOLD, _not_quick, None, NOTHING_TOLD, _not_quick, 0, 0
)


@dataclass(slots=True)
class IngestCounters:
    """What one publisher's media went through."""

    frames: int = 0
    """Frames appended."""

    damaged: int = 0
    """Frames and configs whose bytes made no sense; dropped."""

    waiting: int = 0
    """Frames dropped because no config or keyframe had come yet."""

    epochs: int = 0
    """Discontinuities begun."""


class _Placed(NamedTuple):
    """A frame in the log's form, at its place on the time line."""

    frame: Frame
    unit: AccessUnit
    time_ms: int

    @property
    def is_keyframe(self) -> bool:
        """Whether a decoder can begin with it."""
        return self.frame.kind is _VIDEO and self.unit.keyframe


class _Input:
    """One kind of track: what was announced last, and the track that packets get."""

    __slots__ = ("announced", "codec", "config", "newest_dts", "quick_ticks", "reader", "track")

    def __init__(self) -> None:
        self.codec: Codec | None = None
        self.config = b""
        self.reader: UnitReader | None = None
        self.announced: Track | None = None
        self.track: Track | None = None
        self.newest_dts = 0
        self.quick_ticks = 0

    def exact(self, dts: int, rest: int) -> int:
        """Adds what milliseconds do not tell; time that the time line held back stays in order."""
        self.newest_dts = max(self.newest_dts, dts + rest)
        return self.newest_dts

    def announce(self, codec: Codec, config: bytes) -> None:
        """Notes a config from the protocol; the same one again changes nothing.

        Raises `RemoteProtocolError` when it makes no sense, and then leaves all as it was.
        """
        if codec is self.codec and config == self.config:
            return
        reader = make_reader(codec, config)
        # What these codecs' configs do not tell, their first frame does.
        announced = None if codec in _TOLD_BY_FRAMES else make_track(codec, config)
        self.codec, self.config, self.reader = codec, config, reader
        self.announced, self.track = announced, None
        self.quick_ticks = reader.quick_ticks

    def read(self, data: bytes, *, key_hint: bool) -> AccessUnit | None:
        """Reads a frame; one that changes the track changes `announced`."""
        if self.reader is None or self.codec is None:
            return None
        unit = self.reader.read(data, key_hint=key_hint)
        if unit is not None and unit.config is not None:
            self.announced = make_track(self.codec, unit.config, first=unit.data)
            self.track = None
        return unit


class Assembler:
    """Feeds one lease.

    The stream becomes visible at its first keyframe with every expected track, or after one
    second of media with those that came. In a stream with video every epoch begins at a
    keyframe: frames of a track that changed are dropped until then, and counted.
    """

    def __init__(self, lease: Lease) -> None:
        self.counters = IngestCounters()
        self.lease = lease
        lease.stream.timeline.resume()
        self._inputs = {_VIDEO: _Input(), _AUDIO: _Input()}
        self._expected = frozenset((_VIDEO, _AUDIO))
        self._held: list[_Placed] = []
        self._held_bytes = 0
        self._live = False
        # See `under_way`; None when it has to be looked at again.
        self._under_way: UnderWay | None = None
        self.last_fault = ""
        """What was wrong with the last damaged frame, for the log."""

    @property
    def is_live(self) -> bool:
        """Whether packets are being appended."""
        return self._live

    @property
    def needs_keyframe(self) -> bool:
        """Whether nothing, or not every track, can go on before the next keyframe."""
        video, audio = self._inputs[_VIDEO], self._inputs[_AUDIO]
        if video.reader is None:
            return False
        if not self._live:
            return self._held_keyframe() is None
        return video.track is None or (audio.announced is not None and audio.track is None)

    def expect(self, kinds: Iterable[Kind]) -> None:
        """What the publisher's metadata announces; without a word, both kinds are expected."""
        self._expected = frozenset(kinds) or self._expected

    def configure(self, codec: Codec, config: bytes) -> None:
        """Takes a codec config; one that makes no sense is dropped and counted."""
        self._under_way = None
        try:
            self._inputs[codec.kind].announce(codec, config)
        except RemoteProtocolError as error:
            self.damaged(codec.kind, error)

    def push(self, frame: Frame) -> None:
        """Takes a frame; one that makes no sense is dropped and counted."""
        self._under_way = None
        kind = frame.kind
        stream = self.lease.stream
        stamp = stream.timeline.stamp(kind, frame.timestamp_ms, frame.received_ns)
        if stamp is None:
            stream.note("frames_of_an_old_clock")
            return
        if stamp.new_epoch and self._live:
            self._begin_anew()
        source = self._inputs[kind]
        try:
            unit = source.read(frame.data, key_hint=frame.key_hint)
        except RemoteProtocolError as error:
            self.damaged(kind, error)
            return
        if unit is None:
            self.counters.waiting += source.reader is None
        elif self._live:
            self._append(frame, unit, stamp.time_ms)
        else:
            self._hold(_Placed(frame, unit, stamp.time_ms))

    def under_way(self) -> UnderWay:
        """The tracks as they are now. To be asked for again after anything but `extend`."""
        if self._under_way is None:
            self._under_way = self._look_what_is_under_way()
        return self._under_way

    def extend(self, packets: Sequence[Packet]) -> None:
        """Takes packets of the tracks under way, which have their places on the time line."""
        if packets:
            self.counters.frames += len(packets)
            self.lease.extend(packets)

    def damaged(self, kind: Kind, error: RemoteProtocolError) -> None:
        """Counts a frame or config whose bytes made no sense; the stream lives on without it."""
        self.counters.damaged += 1
        self.lease.stream.note(f"damaged_{kind.value}")
        self.last_fault = str(error)

    def go_on(self) -> None:
        """Has the next keyframe begin an epoch: the publisher was away, and its clock went on."""
        self._under_way = None
        for source in self._inputs.values():
            source.track = None

    def flush(self) -> None:
        """Begins with what is there: the publisher ended before the stream was visible."""
        self._under_way = None
        if not self._live and self._held:
            self._begin_held()

    def _look_what_is_under_way(self) -> UnderWay:
        video, audio = self._inputs[_VIDEO], self._inputs[_AUDIO]
        if not self._live or self._audio_waits():
            return _NOTHING_UNDER_WAY
        return UnderWay(
            video.track,
            video.reader.lone_nals if video.reader is not None else NOTHING_TOLD,
            video.reader.quick if video.reader is not None else _not_quick,
            audio.track,
            audio.reader.plain_firsts if audio.reader is not None else NOTHING_TOLD,
            audio.reader.quick if audio.reader is not None else _not_quick,
            audio.quick_ticks,
            audio.track.clock_rate if audio.track is not None else 0,
        )

    def _begin_anew(self) -> None:
        """The publisher's clock jumped: no packet may carry a track of the old epoch."""
        # After `go_on` nothing was under way that could have jumped.
        if any(source.track is not None for source in self._inputs.values()):
            self.lease.stream.note("timestamp_jump")
        self.go_on()

    def _append(self, frame: Frame, unit: AccessUnit, time_ms: int) -> None:
        """Makes the packet, after the epoch that begins with it where one does."""
        source = self._inputs[frame.kind]
        is_video = frame.kind is _VIDEO
        if source.track is None:
            if is_video and unit.keyframe:
                self._begin_epoch((_VIDEO, _AUDIO))
            elif not is_video and not self._carries_video():
                self._begin_epoch((_AUDIO,))
            else:
                self.counters.waiting += 1
                return
        elif is_video and unit.keyframe and self._audio_waits():
            self._begin_epoch((_VIDEO, _AUDIO))
        track = source.track
        if track is None:
            return
        if is_video:
            dts = time_ms * _TICKS_PER_MS
            if frame.rest is not None:
                dts = source.exact(dts, frame.rest)
            pts = dts + frame.composition_ms * _TICKS_PER_MS
        else:
            dts = ms_to_ticks(time_ms, track.clock_rate)
            if frame.rest is not None:
                dts = source.exact(dts, frame.rest)
            pts = dts
        self.counters.frames += 1
        self.lease.append(
            Packet(track, pts, dts, unit.duration, unit.keyframe, unit.data, frame.received_ns)
        )

    def _carries_video(self) -> bool:
        return any(track.kind is _VIDEO for track in self.lease.stream.tracks)

    def _audio_waits(self) -> bool:
        """Whether an audio track that came or changed waits for a keyframe to join at."""
        audio = self._inputs[_AUDIO]
        return audio.track is None and audio.announced is not None

    def _hold(self, placed: _Placed) -> None:
        self._held.append(placed)
        self._held_bytes += len(placed.unit.data)
        if self._may_begin(placed.time_ms - self._held[0].time_ms):
            self._begin_held()
        elif self._held_bytes > _HELD_BYTES:
            self.counters.waiting += len(self._held)
            self.lease.stream.note("no_keyframe")
            self._held.clear()
            self._held_bytes = 0

    def _may_begin(self, waited_ms: int) -> bool:
        video, audio = self._inputs[_VIDEO].announced, self._inputs[_AUDIO].announced
        if video is not None and self._held_keyframe() is not None:
            return audio is not None or _AUDIO not in self._expected or waited_ms >= _SETTLE_MS
        if audio is None:
            return False
        if video is None:
            return _VIDEO not in self._expected or waited_ms >= _SETTLE_MS
        return waited_ms >= _KEYFRAME_WAIT_MS

    def _held_keyframe(self) -> _Placed | None:
        return next((placed for placed in self._held if placed.is_keyframe), None)

    def _begin_held(self) -> None:
        """Makes the stream visible and appends what was held, from the first keyframe on."""
        held, self._held, self._held_bytes = self._held, [], 0
        # A keyframe of a codec that gave way to another, whose first frame is awaited, begins none.
        has_video = self._inputs[_VIDEO].announced is not None
        first = next((placed for placed in held if has_video and placed.is_keyframe), None)
        if first is not None:
            first_ms = first.time_ms
            kept = [p for p in held if p.time_ms >= first_ms]
            kinds: tuple[Kind, ...] = (_VIDEO, _AUDIO)
        else:
            kept = [p for p in held if p.frame.kind is _AUDIO]
            if not kept or self._inputs[_AUDIO].announced is None:
                self.counters.waiting += len(held)
                return
            first, kinds = kept[0], (_AUDIO,)
        self.counters.waiting += len(held) - len(kept)
        self._live = True
        newest = min(kept, key=lambda p: p.frame.received_ns - p.time_ms * 1_000_000)
        self.lease.anchor(newest.time_ms, newest.frame.received_ns)
        self._begin_epoch(kinds)
        # The keyframe is where every reader begins, whatever came before it in the same burst.
        for placed in sorted(kept, key=lambda p: p is not first):
            self._append(*placed)

    def _begin_epoch(self, kinds: tuple[Kind, ...]) -> None:
        sources = [self._inputs[kind] for kind in kinds if self._inputs[kind].announced]
        announced = tuple(source.announced for source in sources if source.announced)
        if not announced or not self.lease.is_current:
            return
        epoch = self.lease.next_epoch(announced)
        for source in self._inputs.values():
            source.track = None
        for source in sources:
            if source.announced is not None:
                source.track = replace(source.announced, epoch=epoch)
        self.lease.begin_epoch(tuple(s.track for s in sources if s.track is not None))
        self.counters.epochs += 1
