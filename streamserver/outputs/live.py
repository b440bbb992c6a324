"""Live viewers of RTMP and FLV: one fan-out per stream, format and dialect."""

from collections.abc import Callable
from enum import StrEnum

from streamserver.clock import Clock
from streamserver.feeds.body import BodyFeed, Header
from streamserver.feeds.flv_tags import FlvFormat
from streamserver.feeds.framed import Format, FramedFeed
from streamserver.feeds.wire import WireFormat
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedHold, FeedPool
from streamserver.hub.keyframes import STEADY_MS
from streamserver.hub.sources import OwnPackets, Sources
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.flv_writer import Dialect
from streamserver.media.track import Track
from streamserver.outputs.fanout import FanOut, FanOutSettings, FanOutStats
from streamserver.outputs.viewer import Viewer

__all__ = ["Form", "LiveOutput", "LiveViewer"]


class Form(StrEnum):
    """The bytes around the bodies."""

    RTMP = "rtmp"
    """Chunks of message stream 1."""

    FLV = "flv"
    """Tags of a file."""


class _Group:
    """A fan-out, its share in the feed, and its wish for keyframes."""

    __slots__ = ("_unwish", "fan_out", "hold")

    def __init__(
        self, fan_out: FanOut, hold: FeedHold[FramedFeed], unwish: Callable[[], None]
    ) -> None:
        self.fan_out = fan_out
        self.hold = hold
        self._unwish = unwish

    def close(self) -> None:
        self.fan_out.close()
        self.hold.release()
        self._unwish()


class LiveViewer:
    """A viewer in its fan-out, until `leave`."""

    __slots__ = ("_fan_out", "_viewer")

    def __init__(self, fan_out: FanOut, viewer: Viewer) -> None:
        self._fan_out = fan_out
        self._viewer = viewer

    @property
    def header(self) -> Header | None:
        """What its decoder has got; None before its first keyframe."""
        return self._viewer.place.header

    def leave(self) -> None:
        """Sends nothing any more. A second call does nothing."""
        self._fan_out.remove(self._viewer)

    def pause(self, *, paused: bool) -> None:
        """Sends nothing for now, or goes on at the newest keyframe."""
        self._fan_out.pause(self._viewer, paused=paused)

    def choose(self, choose: "Callable[..., bytes | None] | None") -> None:
        """Gives it items of its own, or with None what all get."""
        self._fan_out.choose(self._viewer, choose)

    def wait_for_transport(self) -> None:
        """Something else was left in the transport: what follows must not overtake it."""
        self._fan_out.part(self._viewer)


class LiveOutput:
    """All fan-outs of the process."""

    def __init__(
        self,
        *,
        driver: Driver,
        feeds: FeedPool,
        clock: Clock,
        bounds: LogBounds,
        settings: FanOutSettings,
        chunk_size: int,
        sources: Sources | None = None,
    ) -> None:
        """``bounds`` are those of each feed's log, ``chunk_size`` what RTMP sessions announce.

        Without ``sources`` viewers get streams as their publishers send them.
        """
        self.stats = FanOutStats()
        self.settings = settings
        self._driver = driver
        self._feeds = feeds
        self._sources = sources or OwnPackets()
        self._now_ns = clock.monotonic_ns
        self._bounds = bounds
        self._formats: dict[Form, Format] = {
            Form.RTMP: WireFormat(chunk_size),
            Form.FLV: FlvFormat(),
        }
        self._groups: dict[tuple[Stream, Form, Dialect], _Group] = {}

    @property
    def viewers(self) -> int:
        """Viewers of all fan-outs."""
        return sum(len(group.fan_out) for group in self._groups.values())

    def held_bytes(self) -> dict[str, int]:
        """Bytes in the logs that viewers read, by format; nearly all are the packets' own, once."""
        held = dict.fromkeys((form.value for form in Form), 0)
        for (_, form, _), group in self._groups.items():
            held[form.value] += group.hold.feed.log.bytes
        return held

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """What viewers get of a stream, as far as a dialect carries it."""
        return self._sources.tracks(stream)

    def join(self, stream: Stream, form: Form, dialect: Dialect, viewer: Viewer) -> LiveViewer:
        """Lets a viewer in; what is in memory since the newest keyframe goes out at once."""
        key = (stream, form, dialect)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._open(stream, form, dialect)
        group.fan_out.add(viewer)
        return LiveViewer(group.fan_out, viewer)

    def tick(self, now_ns: int) -> None:
        """Looks after viewers that lag, and drops what has none."""
        for key, group in list(self._groups.items()):
            group.fan_out.tick(now_ns)
            if not len(group.fan_out):
                del self._groups[key]
                group.close()

    def _open(self, stream: Stream, form: Form, dialect: Dialect) -> _Group:
        schedule, bounds = self._driver.schedule, self._bounds
        source = self._sources.hold(stream)
        packets, tracks_of = source.packets, source.tracks_of
        bodies = self._feeds.hold(
            packets,
            ("body", dialect),
            lambda: BodyFeed(packets, tracks_of, dialect, bounds, schedule, lag_ms=source.lag_ms),
            parent=source.share,
            push=False,
        )
        log, how = bodies.feed.log, self._formats[form]
        framed = self._feeds.hold(
            log, form, lambda: FramedFeed(log, how, bounds, schedule), parent=bodies, push=False
        )
        fan_out = FanOut(
            framed.feed,
            self.settings,
            self.stats,
            wake=packets.wake,
            ask=packets.ask,
            pump=framed.pump,
            slicer=self._driver.slicer,
            later=self._driver.later,
            now_ns=self._now_ns,
        )
        return _Group(fan_out, framed, stream.keyframes.want(STEADY_MS))
