"""What could be better about a stream, said so that its owner knows what to do."""

from collections.abc import Callable, Iterator
from typing import Final

from streamserver.control.models import Health, Severity
from streamserver.hub.stream import Stream, StreamState
from streamserver.media.track import Codec, Kind
from streamserver.outputs.webrtc.playable import why_unplayable

__all__ = ["KNOWN_NOTES", "health", "note_code"]

_LONG_KEYFRAME_INTERVAL_MS: Final = 4_000
"""Above this new viewers wait noticeably; encoders' default is up to 8.33 s (OBS)."""

_NO_MEDIA_AFTER_NS: Final = 2_000_000_000
"""A live publisher that sends nothing for this long is noticed by viewers."""

_AVERAGE_AFTER_NS: Final = 30_000_000_000
_FALLEN_TO_A: Final = 4
"""A stream of half a minute with a quarter of its average bit rate is noticed."""

_MANY_CHANGES: Final = 3
_CHANGE_EACH_NS: Final = 60_000_000_000
"""More than one change of tracks a minute is too many, from the third on."""

_FRAMES_AVERAGE_AFTER_S: Final = 20
_FRAMES_FALLEN_TO_A: Final = 2
"""A picture with less than half of its own frame rate, for five seconds, is seen to stutter."""

_DECLARED_WITHIN_A: Final = 4
"""More than a quarter beside what the encoder declares is another frame rate."""

_MANY_LEFT_OUT: Final = 20
"""Of so many pictures one may be left out of a conversion unnoticed."""

_SEVERITIES: Final = (Severity.ERROR, Severity.WARNING, Severity.INFO)

_SET_KEYFRAME_INTERVAL: Final = (
    "In OBS: Settings → Output → Output Mode: Advanced → Keyframe Interval: 2 s; "
    "in ffmpeg: -g with twice the frame rate."
)

KNOWN_NOTES: Final[dict[str, tuple[Severity, str]]] = {
    "timestamp_jump": (
        Severity.WARNING,
        "The encoder's timestamps jumped; viewers saw a short break. If it goes on, look for a "
        "source that restarts or a clock that is being set.",
    ),
    "frames_of_an_old_clock": (
        Severity.INFO,
        "Frames with timestamps from before a jump were left out.",
    ),
    "damaged_video": (
        Severity.WARNING,
        "Video frames arrived damaged and were left out. Look at the encoder and its connection.",
    ),
    "damaged_audio": (
        Severity.WARNING,
        "Audio frames arrived damaged and were left out. Look at the encoder and its connection.",
    ),
    "no_keyframe": (
        Severity.WARNING,
        "Much video came without a keyframe and could not be shown. " + _SET_KEYFRAME_INTERVAL,
    ),
}
"""The oddities with a sentence of their own: ``Stream.note(name)`` counts them."""

_IGNORED: Final = "ignored: "
"""Begins the name of a note about something left out; what follows says what."""

_MAX_NOTES: Final = 16
_MAX_NAME: Final = 100


def note_code(name: str) -> str:
    """The name of a note as one of few: known ones as they are, ``ignored``, or ``other``."""
    if name in KNOWN_NOTES:
        return name
    return "ignored" if name.startswith(_IGNORED) else "other"


def health(stream: Stream, now_ns: int) -> list[Health]:
    """All findings about a stream at a monotonic time, worst first."""
    found = [finding for rule in _RULES for finding in rule(stream, now_ns)]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _no_media(stream: Stream, now_ns: int) -> Iterator[Health]:
    silent_ns = now_ns - stream.last_packet_ns
    if stream.state is StreamState.LIVE and silent_ns > _NO_MEDIA_AFTER_NS:
        yield Health(
            code="no_media",
            severity=Severity.ERROR,
            message=f"The publisher is connected but has sent nothing for "
            f"{silent_ns // 1_000_000_000} s. Look at the encoder and its upload.",
        )


def _keyframes(stream: Stream, now_ns: int) -> Iterator[Health]:
    if not _has_video(stream):
        return
    log = stream.packets
    if log.newest_keyframe is None and log.evicted:
        yield Health(
            code="keyframe_lost",
            severity=Severity.ERROR,
            message=f"Since the last keyframe more came than the server holds "
            f"({log.max_ms / 1000:g} s or {log.max_bytes >> 20} MiB): whoever joins now waits "
            f"for the next one. {_SET_KEYFRAME_INTERVAL}",
        )
        return
    interval_ms = _interval_ms(stream)
    if interval_ms > _LONG_KEYFRAME_INTERVAL_MS:
        yield Health(
            code="keyframe_interval",
            severity=Severity.WARNING,
            message=f"Keyframes are {interval_ms / 1000:.1f} s apart: viewers wait that long to "
            f"join, and the delay grows. {_SET_KEYFRAME_INTERVAL}",
        )


def _webrtc(stream: Stream, now_ns: int) -> Iterator[Health]:
    reason, conversion = why_unplayable(stream.tracks, stream.packets), stream.conversion
    if reason is not None and conversion is None:
        yield Health(code="webrtc_unplayable", severity=Severity.INFO, message=reason)
    elif reason is not None:
        yield Health(
            code="webrtc_transcoded",
            severity=Severity.INFO,
            message="The server converts the video while somebody watches over WebRTC, which "
            f"costs processor time and delay. {reason}",
        )
    if conversion is None or not conversion.running:
        return
    if conversion.fault:
        yield Health(
            code="video_not_converted",
            severity=Severity.ERROR,
            message=f"Viewers over WebRTC see nothing: {conversion.fault}.",
        )
    if conversion.behind > conversion.packets_in // _MANY_LEFT_OUT:
        yield Health(
            code="video_conversion_behind",
            severity=Severity.WARNING,
            message="The server has too much to do to convert all pictures for WebRTC in time: "
            f"{conversion.behind} were left out so far. Fewer pixels or pictures a second would "
            "help.",
        )


def _notes(stream: Stream, now_ns: int) -> Iterator[Health]:
    for name, times in list(stream.health_notes.items())[:_MAX_NOTES]:
        severity, sentence = _describe(name)
        yield Health(
            code=note_code(name), severity=severity, message=f"{sentence} ({times} times so far)"
        )


def _describe(name: str) -> tuple[Severity, str]:
    if name in KNOWN_NOTES:
        return KNOWN_NOTES[name]
    # The rest of a name may quote the encoder.
    shown = name.removeprefix(_IGNORED)[:_MAX_NAME]
    if not name.startswith(_IGNORED):
        return Severity.INFO, f"Something odd was met in the media: {shown}."
    severity = Severity.WARNING if "not supported" in shown else Severity.INFO
    return severity, f"Something that the encoder sends is left out: {shown}."


def _pixels(stream: Stream, now_ns: int) -> Iterator[Health]:
    for track in stream.tracks:
        if track.kind is Kind.VIDEO and (track.chroma_format != "4:2:0" or track.bit_depth > 8):
            yield Health(
                code="pixel_format",
                severity=Severity.WARNING,
                message=f"The video is {track.chroma_format} with {track.bit_depth} bits: phones, "
                "televisions and WebRTC refuse that. Encode as 4:2:0 with 8 bits "
                "(OBS: Settings → Advanced → Color Format: NV12; ffmpeg: -pix_fmt yuv420p).",
            )


def _stopped(stream: Stream, now_ns: int) -> Iterator[Health]:
    if stream.state is not StreamState.LIVE or now_ns - stream.last_packet_ns > _NO_MEDIA_AFTER_NS:
        return  # nothing at all comes, which is told elsewhere
    if not stream.bit_rate(now_ns):
        return  # nor did the rest, for a moment
    for track in stream.tracks:
        stats = stream.stats.get(track.kind.value)
        # What never came may be about to begin.
        if stats is None or not stats.packets or stats.rate.bits_per_second(now_ns):
            continue
        if track.kind is Kind.VIDEO or track.kind is Kind.AUDIO:
            what = "picture" if track.kind is Kind.VIDEO else "sound"
            yield Health(
                code=f"{track.kind.value}_missing",
                severity=Severity.ERROR,
                message=f"The {what} stopped coming some seconds ago, the rest goes on. Look at "
                f"the source of the {what} in the encoder.",
            )


def _bit_rate(stream: Stream, now_ns: int) -> Iterator[Health]:
    lived_ns = now_ns - stream.origin_ns
    if stream.state is not StreamState.LIVE or lived_ns < _AVERAGE_AFTER_NS:
        return
    whole = sum(one.bytes for one in stream.stats.values()) * 8 * 1_000_000_000 // lived_ns
    now = stream.bit_rate(now_ns)
    if 0 < now * _FALLEN_TO_A < whole:
        yield Health(
            code="bit_rate_low",
            severity=Severity.WARNING,
            message=f"The bit rate has fallen to {now // 1000} kbit/s, from {whole // 1000} on "
            "average. Unless the picture stands still, look at the encoder's upload and load.",
        )


def _frame_rate(stream: Stream, now_ns: int) -> Iterator[Health]:
    recent, average = stream.frames.recent_mhz(), stream.frames.average_mhz()
    if stream.state is not StreamState.LIVE or recent is None or not average:
        return
    if stream.frames.seconds >= _FRAMES_AVERAGE_AFTER_S and recent * _FRAMES_FALLEN_TO_A < average:
        yield Health(
            code="frame_rate_low",
            severity=Severity.WARNING,
            message=f"The picture has {recent / 1000:.1f} frames a second, {average / 1000:.1f} on "
            "average. Unless it stands still, the encoder or its camera is overloaded (OBS: View → "
            "Stats): take a faster preset or a smaller picture, or give the camera more light.",
        )
        return
    rate = next((one.frame_rate for one in stream.tracks if one.kind is Kind.VIDEO), None)
    if rate is None:
        return
    declared = int(rate * 1000)
    if min(abs(recent - declared), abs(average - declared)) * _DECLARED_WITHIN_A > declared:
        yield Health(
            code="frame_rate_differs",
            severity=Severity.INFO,
            message=f"The picture has {recent / 1000:.1f} frames a second, and the encoder "
            f"declares {declared / 1000:g}: some players stutter by that. Set the frame rate that "
            "the source has (OBS: Settings → Video → FPS; ffmpeg: -r).",
        )


def _changes(stream: Stream, now_ns: int) -> Iterator[Health]:
    lived_ns = now_ns - stream.origin_ns
    if stream.epoch >= _MANY_CHANGES and lived_ns < stream.epoch * _CHANGE_EACH_NS:
        yield Health(
            code="tracks_keep_changing",
            severity=Severity.WARNING,
            message=f"The publisher began anew or changed its picture's size or codec "
            f"{stream.epoch} times: players stumble each time. Send one size and codec, and look "
            "at the encoder's connection.",
        )


def _renditions(stream: Stream, now_ns: int) -> Iterator[Health]:
    for codec, stats in list(stream.renditions.items()):
        if stats.source is None:
            continue
        theirs, ours = _CODEC_NAMES[stats.source], _CODEC_NAMES[codec]
        if stats.fault:
            yield Health(
                code="audio_not_converted",
                severity=Severity.ERROR,
                message=f"Viewers who need {ours} hear nothing: {stats.fault}. "
                "Look at the encoder's audio settings.",
            )
            continue
        if stats.dropped:
            yield Health(
                code="audio_conversion_behind",
                severity=Severity.WARNING,
                message="The server has too much to do to convert all audio in time: "
                f"{stats.dropped} packets were left out so far.",
            )
        yield Health(
            code="audio_converted",
            severity=Severity.INFO,
            message=f"The publisher's audio is {theirs}. It is converted to {ours} for "
            f"{_CONVERTED_FOR[codec]}.",
        )


_CODEC_NAMES: Final = {Codec.AAC: "AAC", Codec.OPUS: "Opus", Codec.MP3: "MP3"}
_CONVERTED_FOR: Final = {
    Codec.AAC: "HLS, RTMP, FLV and destinations",
    Codec.OPUS: "WebRTC viewers",
}


_RULES: Final[tuple[Callable[[Stream, int], Iterator[Health]], ...]] = (
    _no_media,
    _stopped,
    _keyframes,
    _pixels,
    _bit_rate,
    _frame_rate,
    _changes,
    _webrtc,
    _renditions,
    _notes,
)


def _has_video(stream: Stream) -> bool:
    return any(track.kind is Kind.VIDEO for track in stream.tracks)


def _interval_ms(stream: Stream) -> int:
    """The last interval, or the running one where that is longer already."""
    newest = stream.packets.newest_keyframe
    running_ms = 0 if newest is None else stream.packets.age_ms(newest)
    return max(stream.keyframe_interval_ms, running_ms)
