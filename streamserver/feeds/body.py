"""The body feed: the FLV bodies of a stream, made once per dialect for all who send them.

RTMP viewers, FLV viewers and destinations differ in the bytes around a body, not in the body.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamserver.feeds.interleave import SLACK_MS, Interleaver
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media import flv_writer
from streamserver.media.flv_writer import Dialect
from streamserver.media.packet import Packet
from streamserver.media.track import Kind, Track
from streamserver.rtmp import amf0
from streamserver.rtmp.amf import EcmaArray
from streamserver.rtmp.message import AMF0_DATA, AUDIO, VIDEO

__all__ = ["Body", "BodyFeed", "Header"]

_VIDEO: Final = Kind.VIDEO  # members of an enumeration are looked up slowly

_ITEM_COST: Final = 128
"""What an item weighs besides its bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a decoder needs before the first frame of an epoch. Compared by identity."""

    tracks: tuple[Track, ...]
    """The tracks that the dialect carries, video first."""

    bodies: tuple[tuple[int, bytes], ...]
    """Metadata and sequence headers: message type and body."""

    @property
    def has_video(self) -> bool:
        """Whether there is a video track."""
        return any(track.kind is Kind.VIDEO for track in self.tracks)

    @property
    def has_audio(self) -> bool:
        """Whether there is an audio track."""
        return any(track.kind is Kind.AUDIO for track in self.tracks)


class Body(NamedTuple):
    """One message of a stream, without anything around it. A tuple: every packet makes one."""

    kind: int
    """The message type, which is the FLV tag type too: 8 audio, 9 video, 18 data."""

    time_ms: int
    """Decoding time on the stream's log time line, in milliseconds."""

    data: bytes
    """The body, or what of it follows `head`: the packet's own bytes, which nobody copies."""

    keyframe: bool
    """Whether a reader can begin here, after the header."""

    header: Header
    """What belongs before it."""

    is_media: bool
    """False for the header's own bodies, which stand in the log where an epoch begins."""

    head: bytes = b""
    """What the body begins with, before `data`."""


class BodyFeed:
    """Reads a packet log from the newest keyframe on, and fills a log of bodies.

    Headers stand in the log only where they change: a reader that goes through the change gets
    them there, one that begins or jumps takes them from `Body.header`.
    """

    def __init__(
        self,
        packets: Log[Packet],
        tracks_of: Callable[[int], tuple[Track, ...]],
        dialect: Dialect,
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
        *,
        lag_ms: int = 0,
    ) -> None:
        """``tracks_of`` answers the tracks of an epoch; ``schedule`` is the log's.

        ``lag_ms`` is how much later one track comes than its publisher sends it: the others do not
        wait for that.
        """
        self.log: Log[Body] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=schedule
        )
        self.missed = 0
        """Packets that were evicted before they were read."""
        self.header: Header | None = None
        """What belongs before the newest body."""
        self._packets = packets
        self._tracks_of = tracks_of
        self._dialect = dialect
        self._interleaver = Interleaver(SLACK_MS + lag_ms)
        self._epoch = -1
        self._tracks: tuple[Track, ...] = ()
        self._audio_only = False
        newest = packets.newest_keyframe
        self._position = packets.end if newest is None else newest

    def pump(self) -> None:
        """Takes what came since the last call."""
        packets = self._packets
        if packets.start > self._position:
            newest = packets.newest_keyframe
            position = packets.end if newest is None else newest
            self.missed += position - self._position
            self._position = position
        news = packets.since(self._position)
        self._position += len(news)
        run: list[Packet] = []
        for packet in news:
            track = packet.track
            if track.epoch != self._epoch:
                self._append(self._interleaver.push(run))
                run = []
                self._begin(packet)
            if track in self._tracks:
                run.append(packet)
        self._append(self._interleaver.push(run))

    def close(self, reason: str) -> None:
        """Appends what waits and closes the log. A second close does nothing."""
        if self.log.closed is None:
            try:
                self._flush()
            finally:
                self.log.close(reason)

    def _begin(self, packet: Packet) -> None:
        """A new epoch: its headers go into the log, unless they say what the last ones said."""
        self._flush()
        self._epoch = packet.track.epoch
        tracks = self._tracks_of(self._epoch)
        self._tracks = tuple(t for t in tracks if flv_writer.carries(t, self._dialect))
        self._interleaver.begin(track.kind for track in self._tracks)
        header = _make_header(self._tracks, self._dialect)
        if self.header is not None and self.header.bodies == header.bodies:
            return  # The same bytes again would make some decoders start over.
        self.header = header
        self._audio_only = not header.has_video
        for kind, data in header.bodies:
            body = Body(kind, packet.dts_ms, data, False, header, False)
            self.log.append(body, size=len(data) + _ITEM_COST, at_ms=body.time_ms)

    def _flush(self) -> None:
        self._append(self._interleaver.flush())

    def _append(self, run: Sequence[Packet]) -> None:
        """Makes bodies of packets of one epoch."""
        if not run:
            return
        header, dialect, audio_only = self.header, self._dialect, self._audio_only
        assert header is not None
        bodies: list[Body] = []
        sizes: list[int] = []
        times: list[int] = []
        keyframes: list[int] = []
        new = tuple.__new__  # what `Body` calls too
        for packet in run:
            track = packet.track
            if track.codec.kind is _VIDEO:
                kind, head = VIDEO, flv_writer.video_head(packet, dialect)
                entry = packet.keyframe
            else:
                kind, head = AUDIO, flv_writer.audio_head(packet, dialect)
                entry = audio_only and packet.keyframe
            if head is None:
                continue
            if entry:
                keyframes.append(len(bodies))
            time_ms = packet.dts * 1000 // track.clock_rate
            data = packet.data
            bodies.append(new(Body, (kind, time_ms, data, entry, header, True, head)))
            sizes.append(len(head) + len(data) + _ITEM_COST)
            times.append(time_ms)
        self.log.extend(bodies, sizes=sizes, at_ms=times, keyframes=keyframes)


def _make_header(carried: tuple[Track, ...], dialect: Dialect) -> Header:
    values = EcmaArray(flv_writer.metadata(carried))
    bodies = [(AMF0_DATA, amf0.encode("onMetaData", values))]
    for track in carried:
        if track.kind is Kind.VIDEO:
            kind, config = VIDEO, flv_writer.video_config_body(track, dialect)
        else:
            kind, config = AUDIO, flv_writer.audio_config_body(track, dialect)
        if config is not None:
            bodies.append((kind, config))
    return Header(carried, tuple(bodies))
