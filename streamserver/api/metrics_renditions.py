"""What ``/metrics`` shows of sound and pictures that are converted."""

from collections.abc import Callable, Mapping
from typing import Final

from streamserver.hub.stream import RenditionStats, VideoRenditionStats
from streamserver.metrics import Metric, MetricType, Reading
from streamserver.outputs.renditions import Renditions
from streamserver.outputs.transcoding import VideoRenditions

__all__ = ["RENDITION_METRICS", "rendition_readers"]

_COUNTER, _GAUGE = MetricType.COUNTER, MetricType.GAUGE

RENDITION_METRICS: Final = (
    Metric("streamserver_audio_renditions", _GAUGE, "Streams' audio being converted."),
    Metric(
        "streamserver_audio_rendition_packets_total",
        _COUNTER,
        "Audio packets converted (in, out), or left out: dropped (too much to do), late, missed.",
        ("outcome",),
    ),
    Metric(
        "streamserver_audio_rendition_cpu_seconds_total",
        _COUNTER,
        "Processor time of the conversion.",
    ),
    Metric("streamserver_video_renditions", _GAUGE, "Streams' video being converted for WebRTC."),
    Metric(
        "streamserver_video_rendition_frames_total",
        _COUNTER,
        "Frames converted (in, out), or left out: skipped (decoded only, too late to be shown), "
        "dropped (too much to do), late, missed, damaged.",
        ("outcome",),
    ),
    Metric(
        "streamserver_video_rendition_restarts_total",
        _COUNTER,
        "Processes of the conversion that ended or hung and were followed by another.",
    ),
    Metric(
        "streamserver_video_rendition_cpu_seconds_total",
        _COUNTER,
        "Processor time of the conversion, in processes of its own.",
    ),
)


def rendition_readers(
    audio: Renditions | None, video: VideoRenditions | None
) -> dict[str, Callable[[], Reading]]:
    """Where each is read; without renditions all are 0."""
    return _audio(audio) | _video(video)


def _audio(renditions: Renditions | None) -> dict[str, Callable[[], Reading]]:
    def totals() -> RenditionStats:
        return RenditionStats() if renditions is None else renditions.totals()

    def packets() -> Mapping[str, int]:
        sums = totals()
        return {
            "in": sums.packets_in,
            "out": sums.packets_out,
            "dropped": sums.dropped,
            "late": sums.late,
            "missed": sums.missed,
        }

    return {
        "streamserver_audio_renditions": lambda: 0 if renditions is None else len(renditions),
        "streamserver_audio_rendition_packets_total": packets,
        "streamserver_audio_rendition_cpu_seconds_total": lambda: totals().busy_ns / 1e9,
    }


def _video(renditions: VideoRenditions | None) -> dict[str, Callable[[], Reading]]:
    def totals() -> VideoRenditionStats:
        return VideoRenditionStats() if renditions is None else renditions.totals()

    def frames() -> Mapping[str, int]:
        sums = totals()
        return {
            "in": sums.packets_in,
            "out": sums.pictures_out,
            "skipped": sums.skipped,
            "dropped": sums.dropped,
            "late": sums.late,
            "missed": sums.missed,
            "damaged": sums.damaged,
        }

    return {
        "streamserver_video_renditions": lambda: 0 if renditions is None else len(renditions),
        "streamserver_video_rendition_frames_total": frames,
        "streamserver_video_rendition_restarts_total": lambda: totals().restarts,
        "streamserver_video_rendition_cpu_seconds_total": lambda: totals().busy_us / 1e6,
    }
