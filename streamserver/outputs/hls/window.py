"""The segments that players may ask for: what is listed, what is still to be had, what is coming.

RFC 8216bis: a segment stays to be had for a while after it left the playlist, parts are listed
for the newest three target durations only, and names are never used twice.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from streamserver.errors import LocalProtocolError
from streamserver.feeds.items import CmafItem, Init, Part, SegmentEnd, Target
from streamserver.outputs.hls.directory import Asked, Directory
from streamserver.outputs.hls.replies import IMMUTABLE, MP4, Reply
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.tokens import new_media_token

__all__ = ["TICKS", "HlsWindow", "NamedInit", "NamedPart", "Segment"]

TICKS: Final = 90_000
"""Units of all durations here, per second."""

_LONGEST_TARGET_S: Final = 10
"""Stands in for the target duration until the first group of pictures has shown it."""

_MAX_SEGMENTS: Final = 200
"""Listed at most: a publisher that changes its tracks all the time makes very short ones."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedInit:
    """An initialisation segment and where it is found."""

    init: Init
    """The media."""

    uri: str
    """Relative to the stream: ``<token>/init<epoch>.mp4``."""


class NamedPart(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A part and where it is found."""

    uri: str
    """Relative to the stream: ``<token>/<msn>.<index>.m4s``."""

    duration: int
    """Ticks of 1/90000 s."""

    independent: bool
    """Whether it begins with a keyframe."""

    reply: Reply
    """Its bytes."""


class _Whole:
    """Makes a whole segment of its parts.

    It knows them and not their segment, which has the reply that has this: a circle would keep the
    media until the collector comes, and that may be minutes.
    """

    __slots__ = ("parts", "parts_gone")

    def __init__(self, parts: list[NamedPart]) -> None:
        self.parts = parts
        self.parts_gone = False
        """Whether the parts are no longer to be had."""

    def __call__(self) -> bytes:
        """Joins them. From then on the reply keeps the whole."""
        joined = self.copy()
        if self.parts_gone:
            self.parts.clear()
        return joined

    def copy(self) -> bytes:
        """Joins them for somebody else."""
        return b"".join([piece for part in self.parts for piece in part.reply.pieces])


@dataclass(slots=True, eq=False)
class Segment:
    """A segment, growing or complete."""

    msn: int
    """Media sequence number."""

    init: NamedInit
    """What a decoder needs first."""

    discontinuity: bool
    """Whether a discontinuity stands before it."""

    discontinuities: int
    """Discontinuities of the broadcast up to and including its own."""

    independent: bool
    """Whether it begins with a keyframe."""

    start_ms: int
    """When it begins on the stream's log time line."""

    parts: list[NamedPart] = field(default_factory=list)
    """Its parts; empty once they are no longer to be had and the whole was joined."""

    duration: int = 0
    """Ticks of 1/90000 s."""

    size: int = 0
    """Bytes of media."""

    end: int = 0
    """Ticks of media from the start of the broadcast to its end."""

    left_at: int = 0
    """The end of the broadcast, in ticks, when it left the playlist."""

    uri: str = ""
    """Relative to the stream, ``<token>/<msn>.m4s``; empty while it grows."""

    reply: Reply | None = None
    """Its bytes, joined when first asked for; None while it grows."""

    whole: _Whole = field(init=False)
    """How they are joined."""

    def __post_init__(self) -> None:
        self.whole = _Whole(self.parts)

    def media(self) -> bytes:
        """A copy of the whole segment, not kept where nobody asked for it."""
        if self.reply is not None and self.reply.is_built:
            return self.reply.body
        return self.whole.copy()

    @property
    def held_bytes(self) -> int:
        """Bytes in memory: parts, and the whole where it was asked for."""
        joined = self.reply is not None and self.reply.is_built
        return self.size * (bool(self.parts) + joined)


class HlsWindow:
    """One broadcast's segments, fed with the items of its cmaf log in order.

    ``publish`` and ``withdraw`` of the directory are called as names come and go. Raises
    `LocalProtocolError` when items do not follow each other.
    """

    def __init__(self, directory: Directory, settings: HlsSettings, stats: HlsStats) -> None:
        self.token = new_media_token()
        self.target: Target | None = None
        self.listed: deque[Segment] = deque()
        self.current: Segment | None = None
        self.ended = False
        self.init: NamedInit | None = None
        self.hint_uri = ""
        self.hint: tuple[int, int] | None = None
        self.end = 0
        self.total_bytes = 0
        self.peak_bit_rate = 0
        self.last_bit_rate = 0
        self._directory = directory
        self._settings = settings
        self._stats = stats
        self._retired: deque[Segment] = deque()
        self._inits: dict[str, NamedInit] = {}
        self._discontinuities = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is something to put into a playlist."""
        return self.target is not None and bool(self.listed)

    @property
    def target_duration_s(self) -> int:
        """EXT-X-TARGETDURATION, or the longest that it can become."""
        return self.target.target_duration_s if self.target else _LONGEST_TARGET_S

    @property
    def next_msn(self) -> int:
        """The number after the newest segment, growing or complete; 0 when there is none."""
        newest = self.current or (self.listed[-1] if self.listed else None)
        return newest.msn + 1 if newest else 0

    @property
    def oldest_msn(self) -> int:
        """The oldest segment still to be had; 0 when there is none."""
        segments = self._retired or self.listed
        return segments[0].msn if segments else 0

    @property
    def held_bytes(self) -> int:
        """Bytes of media in memory."""
        held = sum(segment.held_bytes for segment in (*self._retired, *self.listed))
        return held + (self.current.size if self.current else 0)

    @property
    def average_bit_rate(self) -> int:
        """Bits per second over the listed segments; 0 when there are none."""
        ticks = sum(segment.duration for segment in self.listed)
        return sum(segment.size for segment in self.listed) * 8 * TICKS // ticks if ticks else 0

    def add(self, item: CmafItem) -> None:
        """Takes the next item of the log."""
        if isinstance(item, Part):
            self._add_part(item)
        elif isinstance(item, SegmentEnd):
            self._end_segment(item)
        elif self.target is None:
            self.target = item
        elif self.target != item:
            raise LocalProtocolError("the target duration of a broadcast never changes")

    def finish(self) -> None:
        """Nothing more will come. A segment that still grows ends here."""
        if self.current is not None:
            self._complete(self.current)
        self.ended = True
        self._set_hint(None)

    def rotate_token(self) -> None:
        """Gives all names from now on another token.

        What is listed or hinted already keeps its name until it ages out: playlists may only
        grow, and no other viewer's request may fail. Whoever was given names knows no newer ones.
        """
        self.token = new_media_token()

    def publish_hint(self, entry: Asked) -> None:
        """Has the name of the part to come answered by ``entry`` until the part is there."""
        if self.hint_uri:
            self._directory.publish(self.hint_uri, entry)

    def _add_part(self, part: Part) -> None:
        segment = self.current
        if segment is None:
            segment = self.current = self._begin_segment(part)
        if part.msn != segment.msn or part.index != len(segment.parts):
            raise LocalProtocolError(
                f"part {part.msn}.{part.index} where {segment.msn}.{len(segment.parts)} was due"
            )
        uri = self.hint_uri or self._part_uri(part.msn, part.index)
        named = NamedPart(uri, part.duration, part.independent, _media(part.pieces))
        segment.parts.append(named)
        segment.duration += part.duration
        segment.size += part.size
        self.end += part.duration
        self.total_bytes += part.size
        self._directory.publish(uri, named.reply)
        self._set_hint((part.msn, part.index + 1), published=True)

    def _begin_segment(self, part: Part) -> Segment:
        # MEDIA-SEQUENCE numbers the first segment of a playlist only: no number may be left out.
        if self.hint is not None and part.msn != self.hint[0]:
            raise LocalProtocolError(f"segment {part.msn} where {self.hint[0]} was due")
        if self.init is None or self.init.init is not part.init:
            self.init = self._name_init(part.init)
        self._discontinuities += part.discontinuity
        return Segment(
            msn=part.msn,
            init=self.init,
            discontinuity=part.discontinuity,
            discontinuities=self._discontinuities,
            independent=part.independent,
            start_ms=part.start_ms,
        )

    def _name_init(self, init: Init) -> NamedInit:
        named = NamedInit(init, f"{self.token}/init{init.epoch}.mp4")
        self._inits[named.uri] = named
        self._directory.publish(named.uri, _media(init.data))
        return named

    def _end_segment(self, item: SegmentEnd) -> None:
        segment = self.current
        if segment is None or item.msn != segment.msn or item.parts != len(segment.parts):
            raise LocalProtocolError(f"the end of segment {item.msn}, which is not growing so")
        self._complete(segment)
        self._set_hint((segment.msn + 1, 0))

    def _complete(self, segment: Segment) -> None:
        segment.end = self.end
        segment.uri = f"{self.token}/{segment.msn}.m4s"
        segment.reply = Reply(200, MP4, IMMUTABLE, segment.whole)
        self._directory.publish(segment.uri, segment.reply)
        self.current = None
        self.listed.append(segment)
        self._measure(segment)
        self._expire()

    def _measure(self, segment: Segment) -> None:
        """BANDWIDTH is the peak of runs of at least half a target duration (RFC 8216bis 4.4.6.2).

        A shorter segment, a lone keyframe before a discontinuity say, is no measure.
        """
        if segment.duration <= 0:
            return
        bit_rate = segment.size * 8 * TICKS // segment.duration
        is_long = segment.duration * 2 >= self.target_duration_s * TICKS
        if is_long or not self.last_bit_rate:
            self.last_bit_rate = bit_rate
            self.peak_bit_rate = max(self.peak_bit_rate, bit_rate)

    def _set_hint(self, place: tuple[int, int] | None, *, published: bool = False) -> None:
        """Names the next part. A hinted part that never came loses its name."""
        if self.hint_uri and not published:
            self._directory.withdraw(self.hint_uri)
        self.hint = place
        self.hint_uri = "" if place is None else self._part_uri(*place)

    def _part_uri(self, msn: int, index: int) -> str:
        return f"{self.token}/{msn}.{index}.m4s"

    def _expire(self) -> None:
        target = self.target_duration_s * TICKS
        keep = max(self._settings.window_ms * TICKS // 1000, 4 * target)
        listed = self.listed
        total = sum([segment.duration for segment in listed])
        while len(listed) > 1 and (
            total - listed[0].duration >= keep or len(listed) > _MAX_SEGMENTS
        ):
            total -= listed[0].duration
            self._retire()
        while self._retired and (
            self.end - self._retired[0].left_at >= 3 * target or len(self._retired) > _MAX_SEGMENTS
        ):
            self._forget()
        for segment in (*self._retired, *listed):
            # A part stays to be had for three target durations after its tag is gone, and the
            # tag goes three target durations after the part.
            if segment.end > self.end - 6 * target:
                break
            if not segment.whole.parts_gone:
                self._drop_parts(segment)
        self._shrink()
        self._drop_inits()

    def _shrink(self) -> None:
        """The bound of bytes wins over the lengths above; the newest segment always stays.

        Every segment may be held twice, as parts and joined, whenever somebody asks for it.
        """
        size = sum([segment.size for segment in (*self._retired, *self.listed)])
        while 2 * size > self._settings.window_bytes:
            if not self._retired:
                if len(self.listed) < 2:
                    return
                self._retire()
            size -= self._retired[0].size
            self._forget()
            self._stats.shrunk += 1

    def _retire(self) -> None:
        segment = self.listed.popleft()
        segment.left_at = self.end
        self._retired.append(segment)

    def _forget(self) -> None:
        segment = self._retired.popleft()
        if not segment.whole.parts_gone:
            self._drop_parts(segment)
        self._directory.withdraw(segment.uri)

    def _drop_parts(self, segment: Segment) -> None:
        segment.whole.parts_gone = True
        for part in segment.parts:
            self._directory.withdraw(part.uri)
        # Until somebody wants the whole segment, its parts are what it is made of.
        if segment.reply is not None and segment.reply.is_built:
            segment.parts.clear()

    def _drop_inits(self) -> None:
        if len(self._inits) < 2:
            return
        used = {segment.init.uri for segment in (*self._retired, *self.listed)}
        for uri in [uri for uri, named in self._inits.items() if named is not self.init]:
            if uri not in used:
                del self._inits[uri]
                self._directory.withdraw(uri)


def _media(data: bytes | tuple[bytes, ...]) -> Reply:
    return Reply(200, MP4, IMMUTABLE, data)
