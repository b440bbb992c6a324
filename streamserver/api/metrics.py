"""What ``/metrics`` shows: the table of names, and where each is read.

No label ever holds an id, an address or a stream's name: their number is not ours to bound.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from streamserver.api.event_streams import EventStreams
from streamserver.api.metrics_doors import (
    DOOR_METRICS,
    SLATE_METRICS,
    DoorCounts,
    SlateCounts,
    door_readers,
)
from streamserver.api.metrics_events import EVENT_METRICS, event_readers
from streamserver.api.metrics_renditions import RENDITION_METRICS, rendition_readers
from streamserver.api.metrics_webrtc import WEBRTC_METRICS, WebRtcCounters, webrtc_readers
from streamserver.api.process import ProcessStats
from streamserver.auth import Access as WhoMay
from streamserver.control.announcing import Announcer
from streamserver.control.facts import LAG_BUCKETS_US, LoopLag, ServerFacts
from streamserver.control.health import note_code
from streamserver.control.totals import Totals
from streamserver.errors import LocalProtocolError
from streamserver.events import EventLog
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import Action, SessionTable
from streamserver.hub.sessions import Protocol as SessionProtocol
from streamserver.hub.slicer import HOLD_BUCKETS_US, Slicer
from streamserver.hub.stream import StreamState
from streamserver.metrics import Buckets, Metric, MetricsRegistry, MetricType, Reading
from streamserver.outputs.destinations.manager import Destinations, DestinationTotals
from streamserver.outputs.destinations.states import DestinationState
from streamserver.outputs.renditions import Renditions
from streamserver.outputs.transcoding import VideoRenditions
from streamserver.webhooks.manager import Webhooks

__all__ = ["METRICS", "FrontCounters", "HasFailures", "MetricsSources", "ServerMetrics"]

_COUNTER, _GAUGE, _HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM


def _seconds(bounds_us: Sequence[int]) -> tuple[float, ...]:
    return tuple(bound / 1_000_000 for bound in bounds_us)


METRICS: Final = (
    Metric("streamserver_info", _GAUGE, "The running version; always 1.", ("version",)),
    Metric("streamserver_start_time_seconds", _GAUGE, "When the server began, Unix time."),
    Metric("streamserver_streams", _GAUGE, "Streams that have media.", ("state",)),
    Metric("streamserver_streams_started_total", _COUNTER, "Broadcasts that began."),
    Metric("streamserver_streams_ended_total", _COUNTER, "Broadcasts that ended."),
    Metric("streamserver_publishers", _GAUGE, "Publishers connected.", ("protocol",)),
    Metric("streamserver_viewers", _GAUGE, "Viewers connected.", ("protocol",)),
    Metric(
        "streamserver_sessions_total",
        _COUNTER,
        "Publishers and viewers accepted.",
        ("action", "protocol"),
    ),
    Metric(
        "streamserver_received_bytes_total",
        _COUNTER,
        "Bytes of media that came from publishers.",
        ("protocol",),
    ),
    Metric(
        "streamserver_sent_bytes_total",
        _COUNTER,
        "Bytes of media handed to viewers.",
        ("protocol",),
    ),
    Metric(
        "streamserver_dropped_frames_total",
        _COUNTER,
        "Frames lost by viewers that lagged.",
        ("protocol",),
    ),
    Metric("streamserver_packets_total", _COUNTER, "Packets appended to streams.", ("kind",)),
    Metric(
        "streamserver_media_notes_total",
        _COUNTER,
        "Oddities met in publishers' media.",
        ("note",),
    ),
    Metric("streamserver_log_bytes", _GAUGE, "Bytes of media held in memory.", ("log",)),
    Metric("streamserver_log_evicted_total", _COUNTER, "Packets that left a log at its bounds."),
    Metric("streamserver_reader_jumps_total", _COUNTER, "Jumps of lagging readers to a keyframe."),
    Metric("streamserver_reader_failures_total", _COUNTER, "Readers and timers that failed: bugs."),
    Metric(
        "streamserver_slicer_turn_seconds",
        _HISTOGRAM,
        "How long one turn of the fan-out held the event loop.",
        bounds=_seconds(HOLD_BUCKETS_US),
    ),
    Metric(
        "streamserver_loop_lag_seconds",
        _HISTOGRAM,
        "How late the event loop came to what was due.",
        bounds=_seconds(LAG_BUCKETS_US),
    ),
    Metric(
        "streamserver_http_requests_total",
        _COUNTER,
        "HTTP requests: fast from prebuilt bytes, foreign through the application.",
        ("way",),
    ),
    Metric("streamserver_http_parked_total", _COUNTER, "HTTP requests that waited for media."),
    Metric("streamserver_http_aborted_total", _COUNTER, "HTTP connections ended at a bound."),
    Metric("streamserver_hls_requests_total", _COUNTER, "HLS requests.", ("kind",)),
    Metric(
        "streamserver_rtmp_connections_total",
        _COUNTER,
        "RTMP connections that ended, by how.",
        ("outcome",),
    ),
    Metric(
        "streamserver_limit_refusals_total",
        _COUNTER,
        "Viewers refused and publishers refused or closed, by the bound that was reached.",
        ("limit",),
    ),
    *DOOR_METRICS,
    *SLATE_METRICS,
    *RENDITION_METRICS,
    *WEBRTC_METRICS,
    Metric("streamserver_destinations", _GAUGE, "Destinations of streams.", ("state",)),
    Metric("streamserver_destination_sent_bytes_total", _COUNTER, "Bytes that reached them."),
    Metric(
        "streamserver_destination_dropped_frames_total",
        _COUNTER,
        "Frames left out because a destination was too slow.",
    ),
    Metric(
        "streamserver_destination_reconnects_total",
        _COUNTER,
        "Attempts after the first of each broadcast.",
    ),
    Metric("streamserver_destination_failures_total", _COUNTER, "Attempts that failed.", ("kind",)),
    Metric(
        "streamserver_access_decisions_total",
        _COUNTER,
        "Who was let in and who was not, and who decided.",
        ("action", "decider", "outcome"),
    ),
    Metric("streamserver_access_failures_total", _COUNTER, "Failed tries: wrong credentials."),
    Metric("streamserver_access_banned", _GAUGE, "Addresses that are kept out."),
    Metric("streamserver_access_bans_total", _COUNTER, "Addresses that were banned."),
    Metric(
        "streamserver_access_ban_refusals_total",
        _COUNTER,
        "Connections and requests of banned addresses.",
    ),
    Metric(
        "streamserver_access_hook_calls_total",
        _COUNTER,
        "Questions to the access hooks, by how they ended.",
        ("hook", "outcome"),
    ),
    *EVENT_METRICS,
    Metric("process_cpu_seconds_total", _COUNTER, "Processor time, user and system."),
    Metric("process_resident_memory_bytes", _GAUGE, "Memory of the process in RAM."),
    Metric("process_open_fds", _GAUGE, "File descriptors in use."),
    Metric("process_max_fds", _GAUGE, "File descriptors allowed."),
    Metric("streamserver_tasks", _GAUGE, "Tasks of the event loop."),
)
"""Every metric of the server, in the order of the page."""

_Readers: TypeAlias = dict[str, Callable[[], Reading]]


class FrontCounters(Protocol):
    """What one HTTP front counts."""

    @property
    def fast(self) -> int:
        """Requests answered from prebuilt bytes."""

    @property
    def foreign(self) -> int:
        """Requests given to the application."""

    @property
    def parked(self) -> int:
        """Requests that waited for media."""

    @property
    def aborted(self) -> int:
        """Connections ended at a bound or deadline."""


class HasFailures(Protocol):
    """The hub's driver."""

    @property
    def failures(self) -> int:
        """Readers and tickers that raised."""


def _nothing() -> Mapping[str, int]:
    return {}


def _zero() -> int:
    return 0


def _nobody() -> DoorCounts:
    return DoorCounts(handshakes={})


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSources:
    """The objects that count. The composition root gives them; what is not there reads as 0."""

    facts: ServerFacts
    """The server."""

    registry: Registry
    """The streams."""

    sessions: SessionTable
    """The sessions."""

    totals: Totals
    """Sums over what has gone."""

    slicer: Slicer
    """Turns of the fan-out."""

    driver: HasFailures
    """Failures of readers."""

    loop_lag: LoopLag
    """How late the loop is."""

    fronts: Sequence[FrontCounters] = ()
    """One for each HTTP listener; may grow."""

    hls_requests: Callable[[], Mapping[str, int]] = _nothing
    """HLS requests by kind (playlist, part, segment, init ...): a few fixed words."""

    rtmp_connections: Callable[[], Mapping[str, int]] = _nothing
    """RTMP connections that ended, by outcome: a few fixed words."""

    limit_refusals: Callable[[], Mapping[str, int]] = _nothing
    """Who was refused at a bound, by its key in ``[limits]``."""

    doors: Callable[[], DoorCounts] = _nobody
    """Those who were not let in yet."""

    slates: Callable[[], SlateCounts] = SlateCounts
    """Pictures in the place of publishers that are away."""

    feed_log_bytes: Callable[[], Mapping[str, int]] = _nothing
    """Bytes held by the logs of feeds, by feed (cmaf, ts ...)."""

    access: WhoMay | None = None
    """Who may."""

    destinations: Destinations | None = None
    """Where streams are sent on to."""

    renditions: Renditions | None = None
    """Audio in other codecs."""

    video_renditions: VideoRenditions | None = None
    """Pictures for browsers."""

    events: EventLog | None = None
    """What happened."""

    announcer: Announcer | None = None
    """Who says so."""

    event_streams: EventStreams | None = None
    """Who reads it."""

    webhooks: Webhooks | None = None
    """Where it is sent to."""

    webrtc: WebRtcCounters | None = None
    """Publishers and viewers over WebRTC."""

    reader_jumps: Callable[[], int] = _zero
    """How often readers that lagged jumped to a keyframe, of all readers ever."""


class ServerMetrics:
    """All metrics of a server, ready to be scraped."""

    def __init__(self, sources: MetricsSources) -> None:
        self.registry = MetricsRegistry()
        self._process = ProcessStats()
        readers = _server(sources) | _media(sources) | _loop(sources) | _doors(sources)
        readers |= rendition_readers(sources.renditions, sources.video_renditions)
        readers |= _destinations(sources.destinations) | _process(self._process)
        readers |= _access(sources.access)
        readers |= event_readers(
            sources.events, sources.announcer, sources.event_streams, sources.webhooks
        )
        readers |= webrtc_readers(sources.webrtc)
        readers |= door_readers(sources.doors, sources.slates)
        for metric in METRICS:
            self.registry.add(metric, readers.pop(metric.name))
        if readers:
            raise LocalProtocolError(f"read, but not in the table: {', '.join(readers)}")

    async def scrape(self) -> bytes:
        """The page. Costs O(streams + sessions)."""
        await asyncio.to_thread(self._process.refresh)
        return self.registry.render()


def _server(sources: MetricsSources) -> _Readers:
    facts, sessions, totals = sources.facts, sources.sessions, sources.totals
    return {
        "streamserver_info": lambda: {facts.version: 1},
        "streamserver_start_time_seconds": lambda: facts.started_wall_ns // 1_000_000 / 1000,
        "streamserver_streams": lambda: _streams_by_state(sources.registry),
        "streamserver_streams_started_total": lambda: totals.streams_started,
        "streamserver_streams_ended_total": lambda: totals.streams_ended,
        "streamserver_publishers": lambda: _publishers(sessions),
        "streamserver_viewers": lambda: _by_value(sessions.count()),
        "streamserver_sessions_total": lambda: totals.sessions_joined,
        "streamserver_received_bytes_total": totals.received_bytes,
        "streamserver_sent_bytes_total": totals.sent_bytes,
        "streamserver_dropped_frames_total": totals.dropped_frames,
    }


def _media(sources: MetricsSources) -> _Readers:
    totals = sources.totals
    return {
        "streamserver_packets_total": totals.packets,
        "streamserver_media_notes_total": lambda: _note_codes(totals.notes()),
        "streamserver_log_bytes": lambda: {
            "packets": _packet_bytes(sources.registry),
            **sources.feed_log_bytes(),
        },
        "streamserver_log_evicted_total": totals.evicted,
        "streamserver_reader_jumps_total": sources.reader_jumps,
        "streamserver_reader_failures_total": lambda: sources.driver.failures,
    }


def _loop(sources: MetricsSources) -> _Readers:
    slicer, lag = sources.slicer, sources.loop_lag
    return {
        "streamserver_slicer_turn_seconds": lambda: Buckets(
            slicer.hold_histogram, slicer.held_ns / 1_000_000_000
        ),
        "streamserver_loop_lag_seconds": lambda: Buckets(
            lag.histogram, lag.total_ns / 1_000_000_000
        ),
    }


def _doors(sources: MetricsSources) -> _Readers:
    fronts = sources.fronts
    return {
        "streamserver_http_requests_total": lambda: {
            "fast": sum(front.fast for front in fronts),
            "foreign": sum(front.foreign for front in fronts),
        },
        "streamserver_http_parked_total": lambda: sum(front.parked for front in fronts),
        "streamserver_http_aborted_total": lambda: sum(front.aborted for front in fronts),
        "streamserver_hls_requests_total": sources.hls_requests,
        "streamserver_rtmp_connections_total": sources.rtmp_connections,
        "streamserver_limit_refusals_total": sources.limit_refusals,
    }


def _destinations(destinations: Destinations | None) -> _Readers:
    def totals() -> DestinationTotals:
        return DestinationTotals() if destinations is None else destinations.totals()

    def states() -> Mapping[str, int]:
        there = () if destinations is None else destinations.all()
        return dict.fromkeys(map(str, DestinationState), 0) | Counter(
            one.state.value for one in there
        )

    return {
        "streamserver_destinations": states,
        "streamserver_destination_sent_bytes_total": lambda: totals().bytes_sent,
        "streamserver_destination_dropped_frames_total": lambda: totals().dropped_frames,
        "streamserver_destination_reconnects_total": lambda: totals().reconnects,
        "streamserver_destination_failures_total": lambda: (
            {} if destinations is None else dict(destinations.failures)
        ),
    }


def _access(access: WhoMay | None) -> _Readers:
    if access is None:
        return {
            "streamserver_access_decisions_total": _nothing,
            "streamserver_access_failures_total": _zero,
            "streamserver_access_banned": _zero,
            "streamserver_access_bans_total": _zero,
            "streamserver_access_ban_refusals_total": _zero,
            "streamserver_access_hook_calls_total": _nothing,
        }
    bans = access.bans

    def decisions() -> dict[tuple[str, ...], int]:
        return dict(access.decider.decisions.items())

    def hook_calls() -> dict[tuple[str, ...], int]:
        return {
            (hook.name, outcome): count
            for hook in access.hooks
            for outcome, count in hook.stats.outcomes.items()
        }

    return {
        "streamserver_access_decisions_total": decisions,
        "streamserver_access_failures_total": lambda: bans.failures,
        "streamserver_access_banned": lambda: len(bans.bans()),
        "streamserver_access_bans_total": lambda: bans.banned,
        "streamserver_access_ban_refusals_total": lambda: bans.refused,
        "streamserver_access_hook_calls_total": hook_calls,
    }


def _process(process: ProcessStats) -> _Readers:
    return {
        "process_cpu_seconds_total": lambda: process.cpu_seconds,
        "process_resident_memory_bytes": lambda: process.resident_bytes,
        "process_open_fds": lambda: process.open_fds,
        "process_max_fds": lambda: process.max_fds,
        "streamserver_tasks": lambda: len(asyncio.all_tasks()),
    }


def _by_value(counts: Mapping[SessionProtocol, int]) -> dict[str, int]:
    return {protocol.value: count for protocol, count in counts.items()}


def _streams_by_state(registry: Registry) -> Mapping[str, int]:
    counts = {StreamState.LIVE.value: 0, StreamState.INTERRUPTED.value: 0}
    for stream in registry.streams():
        counts[stream.state.value] = counts.get(stream.state.value, 0) + 1
    return counts


def _publishers(sessions: SessionTable) -> Mapping[str, int]:
    return Counter(
        session.protocol.value for session in sessions.all() if session.action is Action.PUBLISH
    )


def _packet_bytes(registry: Registry) -> int:
    return sum(stream.packets.bytes for stream in registry.streams())


def _note_codes(notes: Mapping[str, int]) -> Mapping[str, int]:
    """A label's values must be few; names of notes may quote the encoder."""
    counts: Counter[str] = Counter()
    for note, times in notes.items():
        counts[note_code(note)] += times
    return counts
