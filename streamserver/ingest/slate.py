"""A slate: coded pictures and silence that fill a stream while its publisher is away. No IO."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.slate_request import SlateRequest
from streamserver.ffmpeg.testsource_frames import Record, RecordKind
from streamserver.hub.stream import Stream, StreamState
from streamserver.media.packet import Packet
from streamserver.media.timeline import ms_to_ticks
from streamserver.media.track import VIDEO_CLOCK, Codec, Kind, Track
from streamserver.media.units import AccessUnit, make_reader, make_track

__all__ = ["Slate", "SlateFeed", "request_for"]

_VIDEO: Final = frozenset((Codec.H264, Codec.VP8, Codec.VP9))
_AUDIO: Final = frozenset((Codec.AAC, Codec.OPUS))
_BY_NAME: Final = {codec.value: codec for codec in (*_VIDEO, *_AUDIO)}

_PROFILES: Final = {"Baseline": "baseline", "Constrained Baseline": "baseline", "Main": "main"}
"""What decoders of the stream know for sure; all others know High."""

_CHANNELS: Final = frozenset((1, 2, 6, 8))
_FALLBACK_RATE: Final = Fraction(30)
_SLOWEST, _FASTEST = Fraction(5), Fraction(60)
_LARGEST: Final = 3840 * 2160

_BACKDATED_MS: Final = 2_000
"""A slate that begins no later than this after the publisher's last packet leaves no hole."""

_STALLED_MS: Final = 2_000
"""Further behind than this, time is left out rather than filled in one go."""

_AAC_SAMPLES: Final = 1024
_OPUS_TICKS: Final = 960
"""What an encoder makes of each codec into one frame."""


def request_for(path: str, tracks: tuple[Track, ...]) -> SlateRequest | None:
    """What to ask of the encoders; None where a track's codec has none here.

    A stream without one of its tracks would be another stream.
    """
    request = SlateRequest(path=path)
    for track in tracks:
        if track.codec in _VIDEO:
            rate = track.frame_rate or _FALLBACK_RATE
            rate = min(max(rate, _SLOWEST), _FASTEST).limit_denominator(1001)
            width, height = track.width & ~1, track.height & ~1
            if min(width, height) < 16 or width * height > _LARGEST:
                return None
            request = replace(
                request,
                video=track.codec.value,
                profile=_PROFILES.get(track.profile, "high") if track.codec is Codec.H264 else "",
                width=width,
                height=height,
                frames=rate.numerator,
                seconds=rate.denominator,
            )
        elif track.codec in _AUDIO:
            request = replace(
                request,
                audio=track.codec.value,
                sample_rate=track.clock_rate,
                channels=track.channels if track.channels in _CHANNELS else 2,
            )
        else:
            return None
    return request if tracks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """Coded media that can be sent over and over. Shared by all streams that fit it."""

    tracks: tuple[Track, ...]
    """Video first; of no epoch yet."""

    pictures: tuple[AccessUnit, ...] = ()
    """The loop; the first is a keyframe."""

    frame_rate: Fraction = _FALLBACK_RATE
    """Pictures in a second."""

    silence: bytes = b""
    """One frame of the audio track."""

    silence_ticks: int = 0
    """How long that lasts, in ticks of the track."""

    def lanes(self, epoch: int) -> "list[_Lane]":
        """Its tracks in an epoch, each with what is to be sent; video first."""
        lanes = []
        for one in self.tracks:
            track = replace(one, epoch=epoch)
            if track.kind is Kind.VIDEO:
                lanes.append(_Lane(track, self.pictures, VIDEO_CLOCK / self.frame_rate))
            else:
                unit = AccessUnit(self.silence, True, self.silence_ticks)
                lanes.append(_Lane(track, (unit,), Fraction(self.silence_ticks)))
        return lanes

    @property
    def bytes(self) -> int:
        """What it weighs."""
        return sum(len(picture.data) for picture in self.pictures) + len(self.silence)

    @classmethod
    def of_records(cls, request: SlateRequest, records: Iterable[Record]) -> "Slate":
        """From what the child wrote. Raises `RemoteProtocolError` where that is not a slate."""
        pictures, video, silence, audio = _read(request, records)
        if (video is None) is bool(request.video) or (audio is None) is bool(request.audio):
            raise RemoteProtocolError("the slate lacks a track")
        if request.video and not (pictures and pictures[0].keyframe):
            raise RemoteProtocolError("the slate begins with no keyframe")
        return cls(
            tracks=tuple(track for track in (video, audio) if track is not None),
            pictures=tuple(pictures),
            frame_rate=request.frame_rate,
            silence=silence,
            silence_ticks=_OPUS_TICKS if request.audio == "opus" else _AAC_SAMPLES,
        )


def _read(
    request: SlateRequest, records: Iterable[Record]
) -> tuple[list[AccessUnit], Track | None, bytes, Track | None]:
    pictures: list[AccessUnit] = []
    video: Track | None = None
    audio: Track | None = None
    silence = b""
    codec = _BY_NAME.get(request.video, Codec.H264)
    reader = None if codec is Codec.H264 else make_reader(codec, b"")
    for record in records:
        match record.kind:
            case RecordKind.VIDEO_CONFIG:
                reader, video = make_reader(codec, record.data), make_track(codec, record.data)
            case RecordKind.AUDIO_CONFIG:
                audio = make_track(_BY_NAME[request.audio], record.data)
            case RecordKind.AUDIO:
                silence = record.data
            case RecordKind.VIDEO:
                if reader is None:
                    raise RemoteProtocolError("a picture of the slate came before its config")
                unit = reader.read(record.data, key_hint=record.keyframe)
                if unit is None:
                    continue
                if unit.config is not None and video is None:
                    video = make_track(codec, unit.config, first=unit.data)
                pictures.append(unit)
    return pictures, video, silence, audio


class _Lane:
    """One track of a slate, as far as it has been sent."""

    def __init__(self, track: Track, units: tuple[AccessUnit, ...], step: Fraction) -> None:
        self.track = track
        self._units = units
        self._step = step
        self._sent = 0

    @property
    def next_ms(self) -> int:
        """When the next unit is due, from the slate's beginning."""
        return self._ticks() * 1000 // self.track.clock_rate

    def take(self, base_ms: int, now_ns: int) -> Packet:
        """The next unit as a packet; ``base_ms`` is the log time of the slate's beginning."""
        unit, track = self._units[self._sent % len(self._units)], self.track
        dts = ms_to_ticks(base_ms, track.clock_rate) + self._ticks()
        self._sent += 1
        return Packet(track, dts, dts, unit.duration, unit.keyframe, unit.data, now_ns)

    def _ticks(self) -> int:
        # From the number, so that nothing adds up to a drift.
        return int(self._sent * self._step)


class SlateFeed:
    """Fills one stream with a slate, in an epoch of its own, until media of a publisher comes.

    Its media goes on where the publisher's ended, at the pace of the clock. The publisher's goes on
    where the slate's ended, because the stream's time line knows how far that went.
    """

    def __init__(self, stream: Stream, slate: Slate, now_ns: int) -> None:
        """Begins the epoch. The stream must be interrupted."""
        timeline = stream.timeline
        timeline.resume()
        due_ms = timeline.due_ms(now_ns)
        self._stream = stream
        self._base_ms = max(timeline.end_ms, due_ms - _BACKDATED_MS)
        # What the clock must show for a unit that is due at the slate's beginning.
        self._base_ns = now_ns + (self._base_ms - due_ms) * 1_000_000
        self._lanes = slate.lanes(stream.epoch + 1)
        stream.begin_epoch(tuple(lane.track for lane in self._lanes))

    @property
    def is_wanted(self) -> bool:
        """Whether nobody's media has come since."""
        stream = self._stream
        return stream.state is StreamState.INTERRUPTED and stream.timeline.is_pending

    def pump(self, now_ns: int) -> bool:
        """Appends what is due; False when the slate is over."""
        if not self.is_wanted:
            return False
        passed_ms = (now_ns - self._base_ns) // 1_000_000
        if (behind_ms := passed_ms - self._next.next_ms) > _STALLED_MS + _BACKDATED_MS:
            # The process stood still: all that is to come moves on.
            self._base_ms += behind_ms
            self._base_ns += behind_ms * 1_000_000
            passed_ms -= behind_ms
        while (lane := self._next).next_ms <= passed_ms:
            self._stream.fill(lane.take(self._base_ms, now_ns))
        end_ms = max(one.next_ms for one in self._lanes)
        self._stream.timeline.take_up(self._base_ms + end_ms + 1)
        return True

    @property
    def _next(self) -> _Lane:
        return min(self._lanes, key=lambda lane: lane.next_ms)
