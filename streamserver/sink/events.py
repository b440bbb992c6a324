"""What a sink tells while it runs, as a line for people or a JSON object for programs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.logging_setup import escape_controls
from streamserver.sink.publication import SinkPublication

__all__ = ["SinkEvent", "Totals", "as_json", "as_text", "ended", "progress", "published"]

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class SinkEvent:
    """One thing that happened."""

    name: str
    """``listening``, ``connected``, ``published``, ``progress`` or ``ended``."""

    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The rest; keys carry their unit, stream keys are masked."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A publication at one moment, to make rates of the difference."""

    at_ns: int
    """When."""

    frames: int = 0
    """Video frames."""

    bytes: int = 0
    """Bytes of both kinds."""

    @classmethod
    def of(cls, publication: SinkPublication, now_ns: int) -> "Totals":
        """Now."""
        return cls(now_ns, publication.video.frames, publication.bytes)


def published(publication: SinkPublication) -> SinkEvent:
    """A publisher was accepted."""
    return SinkEvent(
        "published",
        {
            "remote": publication.remote,
            "stream": publication.masked,
            "encoder": publication.encoder,
            "four_ccs": " ".join(publication.four_ccs),
        },
    )


def progress(publication: SinkPublication, before: Totals, now: Totals) -> SinkEvent:
    """What came since the last time."""
    elapsed_ns = max(now.at_ns - before.at_ns, 1)
    return SinkEvent(
        "progress",
        {
            "remote": publication.remote,
            "stream": publication.masked,
            "time_s": round((now.at_ns - publication.accepted_ns) / 1e9, 1),
            "fps": round((now.frames - before.frames) * 1e9 / elapsed_ns, 1),
            "kbit_s": round((now.bytes - before.bytes) * 8e6 / elapsed_ns),
            **_counts(publication),
        },
    )


def ended(remote: str, reason: str, publication: SinkPublication | None) -> SinkEvent:
    """A connection is over; with all that came, if it published."""
    facts: dict[str, Fact] = {"remote": remote, "reason": reason}
    if publication is not None:
        facts |= {"stream": publication.masked, **_counts(publication)}
    return SinkEvent("ended", facts)


def _counts(publication: SinkPublication) -> dict[str, Fact]:
    video, audio = publication.video, publication.audio
    return {
        "video_codec": video.codec,
        "video_frames": video.frames,
        "keyframes": video.keyframes,
        "begins_with_keyframe": publication.begins_with_keyframe,
        "audio_codec": audio.codec,
        "audio_frames": audio.frames,
        "bytes": publication.bytes,
        "media_ms": max(video.span_ms, audio.span_ms),
        "longest_video_gap_ms": video.longest_gap_ms,
        "longest_audio_gap_ms": audio.longest_gap_ms,
        "longest_silence_ms": max(video.longest_silence_ms, audio.longest_silence_ms),
        "backward_steps": video.backward_steps + audio.backward_steps,
        "damaged": video.damaged + audio.damaged,
    }


def as_json(event: SinkEvent) -> str:
    """One JSON object on one line."""
    return json.dumps({"event": event.name, **event.facts}, ensure_ascii=False)


def as_text(event: SinkEvent) -> str:
    """One line for people."""
    line = _LINES[event.name].format_map(_Shown(event))
    # What is not known leaves no hole.
    return " ".join(line.split())


class _Shown(dict[str, str]):
    """The facts as they stand in a line; what is not there is nothing."""

    def __init__(self, event: SinkEvent) -> None:
        super().__init__({name: _plain(value) for name, value in event.facts.items()})
        counted = _COUNTED if "video_frames" in event.facts else ""
        if event.facts.get("begins_with_keyframe") is False:
            counted += ", NOT begun at a keyframe"
        for fault, words in _FAULTS.items():
            if event.facts.get(fault):
                counted += f", {self[fault]} {words}"
        self["counted"] = counted.format_map(self)

    def __missing__(self, name: str) -> str:
        return ""


def _plain(value: Fact) -> str:
    # A peer's words stand in these lines.
    return "" if value is None else escape_controls(str(value))


_COUNTED: Final = (
    "{video_frames} {video_codec} frames ({keyframes} keyframes), {audio_frames} {audio_codec} "
    "frames, longest gap {longest_video_gap_ms}/{longest_audio_gap_ms} ms"
)
_FAULTS: Final = {"backward_steps": "steps back", "damaged": "damaged"}
_LINES: Final = {
    "listening": "listening at {url}",
    "connected": "{remote} connected",
    "published": "{remote} publishes {stream} {encoder}",
    "progress": "{remote} {stream} {time_s} s: {fps} fps, {kbit_s} kbit/s, {counted}",
    "ended": "{remote} {stream} ended: {reason}. {counted}",
}
