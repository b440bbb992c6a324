"""What ``/metrics`` shows of WebRTC."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from streamserver.metrics import Metric, MetricType, Reading

__all__ = ["WEBRTC_METRICS", "LinkCounts", "WebRtcCounters", "webrtc_readers"]

_COUNTER, _GAUGE = MetricType.COUNTER, MetricType.GAUGE

WEBRTC_METRICS: Final = (
    Metric("streamserver_webrtc_peers", _GAUGE, "Connections over WebRTC.", ("action",)),
    Metric("streamserver_webrtc_packets_total", _COUNTER, "RTP packets of media.", ("action",)),
    Metric(
        "streamserver_webrtc_lost_packets_total",
        _COUNTER,
        "RTP packets that did not arrive at the first try.",
        ("action",),
    ),
    Metric(
        "streamserver_webrtc_recovered_packets_total",
        _COUNTER,
        "RTP packets that were sent again.",
        ("action",),
    ),
    Metric(
        "streamserver_webrtc_nacks_total",
        _COUNTER,
        "RTP packets that were asked for again.",
        ("action",),
    ),
    Metric(
        "streamserver_webrtc_plis_total", _COUNTER, "Keyframes that were asked for.", ("action",)
    ),
    Metric(
        "streamserver_webrtc_transport_total",
        _COUNTER,
        "What the WebRTC port has seen and dropped, by what became of it.",
        ("outcome",),
    ),
)


class LinkCounts(Protocol):
    """What was counted on connections over WebRTC."""

    packets: int
    """RTP packets."""

    lost: int
    """Of them, those that did not arrive at the first try."""

    recovered: int
    """Packets that were sent again."""

    nacks: int
    """Packets that were asked for again."""

    plis: int
    """Keyframes that were asked for."""


class WebRtcCounters(Protocol):
    """``endpoints.webrtc.RtcEndpoint``."""

    def peer_counts(self) -> Mapping[str, int]:
        """Connections by what they do."""

    def link_sums(self) -> Mapping[str, LinkCounts]:
        """What was counted on all connections ever, by what they do."""

    def transport_counts(self) -> Mapping[str, int]:
        """What the port has seen, by a few fixed words."""


def webrtc_readers(webrtc: WebRtcCounters | None) -> dict[str, Callable[[], Reading]]:
    """Where each is read; without WebRTC there is nothing to read."""

    def counts(read: Callable[[LinkCounts], int]) -> Callable[[], Reading]:
        return lambda: (
            {} if webrtc is None else {way: read(one) for way, one in webrtc.link_sums().items()}
        )

    return {
        "streamserver_webrtc_peers": lambda: {} if webrtc is None else webrtc.peer_counts(),
        "streamserver_webrtc_packets_total": counts(lambda one: one.packets),
        "streamserver_webrtc_lost_packets_total": counts(lambda one: one.lost),
        "streamserver_webrtc_recovered_packets_total": counts(lambda one: one.recovered),
        "streamserver_webrtc_nacks_total": counts(lambda one: one.nacks),
        "streamserver_webrtc_plis_total": counts(lambda one: one.plis),
        "streamserver_webrtc_transport_total": lambda: (
            {} if webrtc is None else webrtc.transport_counts()
        ),
    }
