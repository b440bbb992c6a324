"""The rules of RFC 8216bis that a playlist must keep, alone and compared with the one before."""

from collections.abc import Callable
from fractions import Fraction

import m3u8

from streamserver.outputs.hls.replies import Reply
from tests.outputs.hls.helpers_hls import Listed, Read, attributes

ROUNDING = Fraction(1, 100_000)
"""Durations have five places."""


class Rules:
    """Checks one playlist after another; ``fetch`` answers what a URI leads to."""

    def __init__(self, fetch: Callable[[str], Reply | None]) -> None:
        self.fetch = fetch
        self.before: Read | None = None
        self.checked = 0
        self.names: dict[str, bytes] = {}

    def check(self, text: str) -> Read:
        read = Read(text)
        target = Fraction(read.tags["#EXT-X-TARGETDURATION"])
        part_target = Fraction(attributes("#X:" + read.tags["#EXT-X-PART-INF"])["PART-TARGET"])
        self._header(read, target, part_target)
        self._durations(read, target, part_target)
        self._parts_window(read, target)
        self._maps(read)
        self._objects(read)
        self._another_reader(read, text)
        if self.before is not None:
            self._compared(self.before, read)
        self.before = read
        self.checked += 1
        return read

    def _header(self, read: Read, target: Fraction, part_target: Fraction) -> None:
        assert int(read.tags["#EXT-X-VERSION"]) >= 9
        control = attributes("#X:" + read.tags["#EXT-X-SERVER-CONTROL"])
        assert control["CAN-BLOCK-RELOAD"] == "YES"
        assert Fraction(control["PART-HOLD-BACK"]) >= 3 * part_target
        assert Fraction(control["HOLD-BACK"]) >= 3 * target
        assert len(read.hints) == (0 if read.ended else 1)
        assert read.segments, "an empty playlist"

    def _durations(self, read: Read, target: Fraction, part_target: Fraction) -> None:
        for segment in read.all_segments():
            durations = [Fraction(part["DURATION"]) for part in segment.parts]
            assert all(duration <= part_target for duration in durations)
            if segment.uri:
                assert round(Fraction(segment.duration)) <= target
            if segment.uri and segment.parts:
                difference = abs(sum(durations) - Fraction(segment.duration))
                assert difference <= ROUNDING * (len(durations) + 1)
            assert segment.date.endswith("Z")

    def _parts_window(self, read: Read, target: Fraction) -> None:
        """Parts are listed for what lies within three target durations of the end, only."""
        behind = Fraction(0)
        if read.growing:
            behind = sum((Fraction(p["DURATION"]) for p in read.growing.parts), Fraction(0))
        for segment in reversed(read.segments):
            slack = ROUNDING * 100
            if abs(behind - 3 * target) > slack:
                assert bool(segment.parts) == (behind < 3 * target), segment.msn
            behind += Fraction(segment.duration)

    def _maps(self, read: Read) -> None:
        assert read.segments[0].map_uri, "the first segment says what a decoder needs"
        independent = [
            s.parts[0].get("INDEPENDENT") == "YES" for s in read.all_segments() if s.parts
        ]
        if not all(independent):
            assert "#EXT-X-INDEPENDENT-SEGMENTS" not in read.tags

    def _objects(self, read: Read) -> None:
        names = read.uris
        assert len(names) == len(set(names)), "a name is used twice"
        assert not set(read.hints) & set(names)
        for uri in names:
            reply = self.fetch(uri)
            assert reply is not None, f"{uri} is listed and cannot be fetched"
            assert reply.status == 200
            # The same name never means other bytes.
            assert self.names.setdefault(uri, reply.body) == reply.body
        for segment in read.segments:
            if segment.parts:
                whole = b"".join(self.names[part["URI"]] for part in segment.parts)
                assert self.names[segment.uri] == whole
        if read.hints:
            assert self.fetch(read.hints[0]) is None, "the hinted part is not there yet"

    def _another_reader(self, read: Read, text: str) -> None:
        """The m3u8 package sees the same."""
        other = m3u8.loads(text)
        whole = [segment for segment in other.segments if segment.uri]
        assert [segment.uri for segment in whole] == [segment.uri for segment in read.segments]
        assert other.media_sequence == read.first_msn
        assert other.discontinuity_sequence == read.discontinuity_sequence
        assert other.is_endlist == read.ended
        assert [s.discontinuity for s in whole] == [s.discontinuity for s in read.segments]
        assert [len(s.parts) for s in whole] == [len(s.parts) for s in read.segments]

    def _compared(self, before: Read, now: Read) -> None:
        constant = ("#EXT-X-TARGETDURATION", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL")
        for tag in constant:
            assert before.tags[tag] == now.tags[tag], f"{tag} changed"
        assert now.first_msn >= before.first_msn
        gone = [s for s in before.all_segments() if s.msn < now.first_msn]
        lost = sum(segment.discontinuity for segment in gone)
        assert now.discontinuity_sequence == before.discontinuity_sequence + lost
        known = {segment.msn: segment for segment in now.all_segments()}
        last = before.segments[-1].msn
        assert all(msn in known for msn in range(now.first_msn, last + 1)), "a segment vanished"
        for segment in before.all_segments():
            if segment.msn in known:
                self._same(segment, known[segment.msn], was_growing=not segment.uri)
        if before.hints:
            self._hint_kept(before, now)

    def _same(self, old: Listed, new: Listed, *, was_growing: bool) -> None:
        """A playlist may only grow: what was said of a segment stays true."""
        assert old.discontinuity == new.discontinuity
        assert old.date == new.date
        if old.map_uri and new.map_uri:
            assert old.map_uri == new.map_uri
        if not was_growing:
            assert (old.uri, old.duration) == (new.uri, new.duration)
        if new.parts:
            assert new.parts[: len(old.parts)] == old.parts

    def _hint_kept(self, before: Read, now: Read) -> None:
        """A hinted part comes under its name, or the segment ended before it."""
        hint = before.hints[0]
        if hint in now.hints or hint in now.uris:
            return
        file = hint.rsplit("/", 1)[1]
        msn, index = (int(number) for number in file.split(".")[:2])
        segment = {s.msn: s for s in now.segments}.get(msn)
        assert now.ended or segment is None or not segment.parts or len(segment.parts) == index
