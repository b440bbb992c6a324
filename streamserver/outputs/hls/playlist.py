"""The text of playlists (RFC 8216bis-22 section 4, low latency in 4.4.3.7, 4.4.4.9 and 4.4.5.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from streamserver.media.track import Kind, Track
from streamserver.outputs.hls.window import TICKS, HlsWindow, NamedPart, Segment

__all__ = ["LowLatencyPlaylist", "multivariant", "near_playlist", "plain_playlist"]

_VIDEO_RANGES: Final = {16: "PQ", 18: "HLG"}
"""VIDEO-RANGE by transfer characteristics; all others are SDR, the default."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The text of a complete segment, which never changes."""

    date: str
    parts: str
    whole: str


class LowLatencyPlaylist:
    """Renders a window again and again, keeping the text of what does not change.

    ``prefix`` leads from the playlist to the stream's media, ``wall_origin_ms`` is the Unix time
    of the stream's log time zero.
    """

    def __init__(self, window: HlsWindow, *, wall_origin_ms: int, prefix: str) -> None:
        self._window = window
        self._wall_origin_ms = wall_origin_ms
        self._prefix = prefix
        self._closed_key: tuple[int, int, int, bool] | None = None
        self._closed = ""
        self._told: dict[int, _Told] = {}
        self._growing: Segment | None = None
        self._growing_tags: list[str] = []

    def render(self) -> str:
        """The playlist as of now; the window must be ready."""
        window = self._window
        current = window.current
        key = (
            window.listed[0].msn,
            window.listed[-1].msn,
            self._first_with_parts(),
            current is None or current.independent,
        )
        if key != self._closed_key:
            self._closed = self._render_closed(key[2])
            self._closed_key = key
        if current is not self._growing:
            self._begin_growing(current)
        tags = self._growing_tags
        if current is not None:
            # The list begins with what stands before the first part.
            tags.extend([self._part_tag(part) for part in current.parts[len(tags) - 1 :]])
        return "".join(
            (
                self._closed,
                *tags,
                # Nothing comes after the end; before it, exactly one hint (4.4.5.3).
                "#EXT-X-ENDLIST\n"
                if window.ended
                else f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{self._prefix}{window.hint_uri}"\n',
            )
        )

    def _first_with_parts(self) -> int:
        """Parts are listed up to three target durations from the end of the playlist (4.4.4.9)."""
        window = self._window
        horizon = window.end - 3 * window.target_duration_s * TICKS
        for segment in window.listed:
            if segment.end > horizon:
                return segment.msn
        return window.listed[-1].msn + 1

    def _head(self, *, independent: bool) -> str:
        window = self._window
        target = window.target
        assert target is not None
        first = window.listed[0]
        part_ms = target.part_target_ms
        return (
            "#EXTM3U\n#EXT-X-VERSION:9\n"
            f"#EXT-X-TARGETDURATION:{target.target_duration_s}\n"
            # B.1 wants at least three part targets, and three target durations for the others.
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={_ms(3 * part_ms)},"
            f"HOLD-BACK={_ms(3000 * target.target_duration_s)}\n"
            f"#EXT-X-PART-INF:PART-TARGET={_ms(part_ms)}\n"
            f"#EXT-X-MEDIA-SEQUENCE:{first.msn}\n"
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{first.discontinuities - first.discontinuity}\n"
            # Promised of all segments listed, or not at all (4.4.2.1).
            f"{'#EXT-X-INDEPENDENT-SEGMENTS' + chr(10) if independent else ''}"
        )

    def _render_closed(self, first_with_parts: int) -> str:
        """The head and the complete segments."""
        current = self._window.current
        listed = [*self._window.listed, *([current] if current else [])]
        texts = [self._head(independent=all(segment.independent for segment in listed))]
        before: Segment | None = None
        for segment in self._window.listed:
            told = self._told.get(segment.msn) or self._tell(segment)
            texts.append(self._lead(segment, before, told.date))
            if segment.msn >= first_with_parts:
                texts.append(told.parts)
            texts.append(told.whole)
            before = segment
        while next(iter(self._told)) < self._window.listed[0].msn:
            del self._told[next(iter(self._told))]
        return "".join(texts)

    def _tell(self, segment: Segment) -> "_Told":
        """Keeps the text of a complete segment; the tags of its parts are mostly there already."""
        if segment is self._growing:
            done = self._growing_tags[1:]
            done.extend([self._part_tag(part) for part in segment.parts[len(done) :]])
        else:
            done = [self._part_tag(part) for part in segment.parts]
        told = self._told[segment.msn] = _Told(
            date=_date(self._wall_origin_ms + segment.start_ms),
            parts="".join(done),
            whole=f"#EXTINF:{_ticks(segment.duration)},\n{self._prefix}{segment.uri}\n",
        )
        return told

    def _begin_growing(self, current: Segment | None) -> None:
        self._growing = current
        self._growing_tags = []
        if current is not None:
            date = _date(self._wall_origin_ms + current.start_ms)
            self._growing_tags.append(self._lead(current, self._window.listed[-1], date))

    def _lead(self, segment: Segment, before: Segment | None, date: str) -> str:
        """What stands before the first part of a segment, and applies to its parts too."""
        lead = "#EXT-X-DISCONTINUITY\n" if segment.discontinuity else ""
        if before is None or before.init is not segment.init:
            lead += f'#EXT-X-MAP:URI="{self._prefix}{segment.init.uri}"\n'
        return lead + date

    def _part_tag(self, part: NamedPart) -> str:
        independent = ",INDEPENDENT=YES" if part.independent else ""
        return (
            f'#EXT-X-PART:DURATION={_ticks(part.duration)},URI="{self._prefix}{part.uri}"'
            f"{independent}\n"
        )


def near_playlist(window: HlsWindow, *, wall_origin_ms: int, prefix: str) -> str:
    """Only the newest whole segments: as few as RFC 8216bis 6.2.2 allows, which is three target
    durations of them. The window must be ready."""
    target_s, duration, count = window.target_duration_s, 0, 0
    for segment in reversed(window.listed):
        count += 1
        duration += segment.duration
        # Rounded as the target duration is: 1.999 s of a GOP of two seconds are two.
        if round(duration / TICKS) >= 3 * target_s:
            break
    segments = list(window.listed)[-count:]
    first = segments[0]
    texts = [
        "#EXTM3U\n#EXT-X-VERSION:6\n"
        f"#EXT-X-TARGETDURATION:{target_s}\n"
        f"#EXT-X-MEDIA-SEQUENCE:{first.msn}\n"
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{first.discontinuities - first.discontinuity}\n"
    ]
    init = None
    for segment in segments:
        if segment.discontinuity:
            texts.append("#EXT-X-DISCONTINUITY\n")
        if segment.init is not init:
            init = segment.init
            texts.append(f'#EXT-X-MAP:URI="{prefix}{init.uri}"\n')
        texts.append(_date(wall_origin_ms + segment.start_ms))
        texts.append(f"#EXTINF:{_ticks(segment.duration)},\n{prefix}{segment.uri}\n")
    if window.ended:
        texts.append("#EXT-X-ENDLIST\n")
    return "".join(texts)


def plain_playlist(
    segments: Sequence[Segment],
    uris: Sequence[str],
    *,
    target_duration_s: int,
    wall_origin_ms: int,
    ended: bool,
) -> str:
    """A playlist of whole MPEG-TS segments, for players that know version 3 and no more.

    ``segments`` follow each other without a gap; ``uris`` are where to find them.
    """
    first = segments[0]
    texts = [
        "#EXTM3U\n#EXT-X-VERSION:3\n"
        f"#EXT-X-TARGETDURATION:{target_duration_s}\n"
        f"#EXT-X-MEDIA-SEQUENCE:{first.msn}\n"
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{first.discontinuities - first.discontinuity}\n"
    ]
    for segment, uri in zip(segments, uris, strict=True):
        if segment.discontinuity:
            texts.append("#EXT-X-DISCONTINUITY\n")
        texts.append(_date(wall_origin_ms + segment.start_ms))
        texts.append(f"#EXTINF:{_ticks(segment.duration)},\n{uri}\n")
    if ended:
        texts.append("#EXT-X-ENDLIST\n")
    return "".join(texts)


def multivariant(
    tracks: Sequence[Track], *, peak_bit_rate: int, average_bit_rate: int, uri: str, version: int
) -> str:
    """A multivariant playlist with one variant (4.4.6.2).

    CODECS names every codec or is left out; bit rates are at least 1, as 0 is no bit rate.
    """
    peak = max(peak_bit_rate, average_bit_rate, 1)
    attributes = [f"BANDWIDTH={peak}", f"AVERAGE-BANDWIDTH={max(average_bit_rate, 1)}"]
    if tracks and all(track.codec_string for track in tracks):
        attributes.append('CODECS="' + ",".join(track.codec_string for track in tracks) + '"')
    for track in tracks:
        if track.kind is Kind.VIDEO:
            attributes += _picture(track)
            break
    return f"#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-STREAM-INF:{','.join(attributes)}\n{uri}\n"


def _picture(track: Track) -> list[str]:
    attributes = []
    if track.width and track.height:
        attributes.append(f"RESOLUTION={track.width}x{track.height}")
    rate = track.frame_rate
    if rate:
        attributes.append(f"FRAME-RATE={_ms(rate.numerator * 1000 // rate.denominator)}")
    if track.colour is not None and track.colour.transfer in _VIDEO_RANGES:
        attributes.append(f"VIDEO-RANGE={_VIDEO_RANGES[track.colour.transfer]}")
    return attributes


def _date(wall_ms: int) -> str:
    second = datetime.fromtimestamp(wall_ms // 1000, UTC)
    return f"#EXT-X-PROGRAM-DATE-TIME:{second:%Y-%m-%dT%H:%M:%S}.{wall_ms % 1000:03d}Z\n"


def _ticks(duration: int) -> str:
    """Ticks as seconds with five places, rounded down, so that no part exceeds its target."""
    return f"{duration // TICKS}.{duration % TICKS * 100_000 // TICKS:05d}"


def _ms(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
