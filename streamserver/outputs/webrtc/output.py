"""Viewers over WebRTC: one fan-out per stream."""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from streamserver.clock import Clock
from streamserver.errors import UnplayableError
from streamserver.feeds.rtp import RtpFeed, RtpSource
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedHold, FeedPool
from streamserver.hub.sessions import Session
from streamserver.hub.stream import LogBounds, Stream
from streamserver.media.track import Codec, Kind, Track
from streamserver.outputs.webrtc.allowance import Allowance
from streamserver.outputs.webrtc.fanout import WebRtcFanOut
from streamserver.outputs.webrtc.peers import SendBuffer, SendingPeer
from streamserver.outputs.webrtc.playable import Form, why_not_offered, why_unplayable
from streamserver.outputs.webrtc.reports import StreamTime
from streamserver.outputs.webrtc.settings import WebRtcSettings, WebRtcStats
from streamserver.outputs.webrtc.viewer import WebRtcViewer
from streamserver.rtp.parameters import MediaLine

__all__ = [
    "ARENA_BYTES",
    "CNAME",
    "ConvertedSource",
    "Converts",
    "HeldSource",
    "PlainSource",
    "Watched",
    "WebRtcOutput",
]

ARENA_BYTES: Final = 64 * 1024
"""Room for one item with its tags: 48 packets of 1200 bytes and 20 more."""

CNAME: Final = "streamserver"
"""Binds the sources of a viewer. A connection has only ours, so one name does for all."""

_FIRST_SEQUENCE: Final = 1 << 15
"""First sequence numbers are below this, so that none wraps soon: see `SequenceMap`."""


class Watched(Protocol):
    """A viewer that was let in: ``control.watching.Watch``."""

    @property
    def stream(self) -> Stream:
        """What it watches."""

    @property
    def session(self) -> Session:
        """Its session."""

    def close(self) -> None:
        """It has left. A second call does nothing."""


class HeldSource(RtpSource, Protocol):
    """A share in packets with sound that WebRTC carries."""

    def release(self) -> None:
        """Gives it back."""


class ConvertedSource(HeldSource, Protocol):
    """A share in packets with pictures that every browser plays."""

    def request_keyframe(self) -> bool:
        """Asks who converts for a keyframe; answers whether that can be done."""


class Converts(Protocol):
    """Who makes such pictures: ``outputs.transcoding.VideoRenditions``."""

    def check(self, stream: Stream) -> None:
        """Raises `RefusedError` where a stream cannot be converted now."""

    def hold(self, stream: Stream) -> ConvertedSource:
        """A share in a stream with its pictures converted."""

    def tracks(self, stream: Stream) -> tuple[Track, ...]:
        """The tracks that it would have now, as far as they are known."""


def _own_tracks(stream: Stream) -> tuple[Track, ...]:
    return stream.tracks


class PlainSource:
    """A stream's own packets: other sound than Opus is not heard."""

    def __init__(self, stream: Stream) -> None:
        self.packets = stream.packets

    def release(self) -> None:
        """Nothing was taken."""


class _Group:
    """A fan-out and its shares in what it reads."""

    __slots__ = ("fan_out", "hold", "source")

    def __init__(self, fan_out: WebRtcFanOut, hold: FeedHold[RtpFeed], source: HeldSource) -> None:
        self.fan_out = fan_out
        self.hold = hold
        self.source = source


class WebRtcOutput:
    """All fan-outs over WebRTC of the process."""

    def __init__(
        self,
        *,
        driver: Driver,
        feeds: FeedPool,
        clock: Clock,
        bounds: LogBounds,
        arena: SendBuffer,
        settings: WebRtcSettings | None = None,
        source: Callable[[Stream], HeldSource] = PlainSource,
        tracks: Callable[[Stream], tuple[Track, ...]] = _own_tracks,
        converts: Converts | None = None,
        request_keyframe: Callable[[Stream], bool] = lambda stream: False,
    ) -> None:
        """``arena`` is what packets are protected in, at least `ARENA_BYTES`; ``bounds`` are
        those of each feed's log, out of which lost packets are sent again.

        ``source`` answers a share in a stream whose sound is Opus, ``tracks`` what it consists of;
        ``converts`` makes pictures that every browser plays, where that is configured;
        ``request_keyframe`` asks a publisher, and answers whether that can be done.
        """
        self.stats = WebRtcStats()
        self.settings = settings or WebRtcSettings()
        self._driver = driver
        self._feeds = feeds
        self._now_ns = clock.monotonic_ns
        self._bounds = bounds
        self._arena = arena
        self._source = source
        self._tracks = tracks
        self._converts = converts
        self._request_keyframe = request_keyframe
        self._groups: dict[tuple[Stream, bool], _Group] = {}
        """By stream, and whether its pictures are converted."""
        self._ended: dict[WebRtcViewer, Callable[[str], None]] = {}

    @property
    def viewers(self) -> int:
        """Viewers of all fan-outs, those included that are not connected yet."""
        return sum(len(group.fan_out) for group in self._groups.values())

    @property
    def held_bytes(self) -> int:
        """Bytes in the logs that viewers read."""
        return sum(group.hold.feed.log.bytes for group in self._groups.values())

    def playable(self, stream: Stream, offered: Collection[Codec] | None = None) -> Form:
        """In what form a stream is played to a player that offered these codecs.

        ``offered`` None stands for a player that knows them all. Raises `UnplayableError` with a
        sentence for the publisher when browsers cannot play it, and `LimitError` when it would be
        converted and too many are.
        """
        reason = self._why_not(stream)
        if reason is None and offered is not None:
            reason = _missing(stream.tracks, offered)
        if reason is None:
            return Form(self._tracks(stream))
        if self._converts is None or (offered is not None and Codec.H264 not in offered):
            raise UnplayableError(reason)
        self._converts.check(stream)
        return Form(self._converts.tracks(stream), converted=True)

    def watch(
        self,
        watch: Watched,
        peer: SendingPeer,
        lines: Sequence[MediaLine],
        form: Form | None = None,
        *,
        ended: Callable[[str], None] | None = None,
    ) -> WebRtcViewer:
        """Takes a viewer that was let in. What is answered handles its connection from now on.

        ``form`` is what `playable` answered; None for the stream as it is.

        It gets media once it is connected. When it is gone, whatever the cause, ``watch`` is
        closed and ``ended`` told why; when the stream is over, ``peer`` is closed from here.
        """
        stream = watch.stream
        key = stream, form is not None and form.converted
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._open(*key)
        settings = self.settings
        allowance = Allowance(
            settings.resend_bytes_per_s, settings.max_resend_bytes, self._now_ns()
        )
        first_resent = secrets.randbelow(_FIRST_SEQUENCE)
        viewer = WebRtcViewer(group.fan_out, watch.session, peer, lines, allowance, first_resent)

        def left(reason: str) -> None:
            watch.close()
            if ended is not None:
                ended(reason)

        self._ended[viewer] = left
        group.fan_out.expect(viewer)
        return viewer

    def tick(self, now_ns: int) -> None:
        """Reports to viewers, and drops what has none."""
        for key, group in list(self._groups.items()):
            group.fan_out.tick(now_ns)
            if not len(group.fan_out):
                del self._groups[key]
                group.fan_out.close()
                group.hold.release()
                group.source.release()

    def _why_not(self, stream: Stream) -> str | None:
        return why_unplayable(stream.tracks, stream.packets)

    def _left(self, viewer: WebRtcViewer, reason: str) -> None:
        ended = self._ended.pop(viewer, None)
        if ended is not None:
            ended(reason)

    def _open(self, stream: Stream, converted: bool) -> _Group:
        source: HeldSource
        if converted and self._converts is not None:
            source = made = self._converts.hold(stream)
            request_keyframe, unplayable = made.request_keyframe, _never
        else:
            source = self._source(stream)
            request_keyframe = partial(self._request_keyframe, stream)
            unplayable = partial(self._why_not, stream)
        packets = source.packets
        hold = self._feeds.hold(
            packets,
            "rtp",
            lambda: RtpFeed(packets, self._bounds, self._driver.schedule),
            push=False,
        )
        time = StreamTime(
            lambda: stream.origin_ns, lambda: stream.wall_origin_ns, secrets.randbits(32)
        )
        fan_out = WebRtcFanOut(
            hold.feed,
            time,
            self.settings,
            self.stats,
            arena=self._arena,
            wake=packets.wake,
            pump=hold.pump,
            request_keyframe=request_keyframe,
            unplayable=unplayable,
            left=self._left,
            slicer=self._driver.slicer,
            later=self._driver.later,
            now_ns=self._now_ns,
            cname=CNAME,
        )
        return _Group(fan_out, hold, source)


def _never() -> str | None:
    """Why what was converted cannot be played any more."""
    return None


def _missing(tracks: Iterable[Track], offered: Collection[Codec]) -> str | None:
    """Why a player cannot take the pictures; sound in another codec is simply not heard."""
    video = (track for track in tracks if track.kind is Kind.VIDEO)
    return next(filter(None, (why_not_offered(track, offered) for track in video)), None)
