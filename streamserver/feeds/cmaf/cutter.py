"""Where parts and segments end. Pure: packets in, cuts out, integers throughout.

A part closes the moment its last frame is there, without waiting for the next one. Boundaries are
a row of times on the log's time line, in 1/90000 s, each part beginning where the one before
ended; samples carry their own exact times, so a track that is late or silent moves no boundary:

- video leads: a part closes when one more frame would exceed PART-TARGET, a segment ends with the
  first keyframe after its length. Audio goes into the part in whose time it begins; audio that
  comes later than that goes into the next part. Missing audio delays nothing.
- when audio is ahead by more than one part, video is silent: parts are cut on audio's clock, the
  last video sample stretched, until video returns.
- without a video track, parts are a whole number of audio frames.
- when nothing at all came for longer than a part, time jumps: there is nothing to put into parts.
"""

from collections.abc import Sequence
from typing import Final

from streamserver.feeds.cmaf.cuts import Cut, PartCut, SegmentCut
from streamserver.feeds.cmaf.fragment import SYNC
from streamserver.feeds.cmaf.queues import DRIFT, NEVER, AudioQueue, VideoQueue
from streamserver.feeds.cmaf.settings import CmafCounters, CmafSettings
from streamserver.feeds.cmaf.targets import KEYFRAME_TOLERANCE, TargetChoice
from streamserver.feeds.cmaf.usual import take_usual
from streamserver.feeds.items import Target
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Track

__all__ = ["Cutter"]

_SHORTEST_SEGMENT: Final = VIDEO_CLOCK
"""Segments last a second at least where keyframes allow: sequence numbers start at the Unix second
of the start and must not overtake it."""

_SHORTEST_PART: Final = VIDEO_CLOCK // 1_000

_GRAIN: Final = 4
"""Ticks that rounding between two clocks may take; far less than any audio frame."""


class Cutter:
    """Cuts one stream; knows nothing of boxes and numbers."""

    def __init__(self, settings: CmafSettings, counters: CmafCounters) -> None:
        self._counters = counters
        self._choice = TargetChoice(settings)
        self._max_weight = settings.max_part_bytes
        self._segment_length = settings.segment_ms * 90 - KEYFRAME_TOLERANCE
        self._out: list[Cut] = []
        self._video_track: Track | None = None
        self._audio_track: Track | None = None
        self._video: VideoQueue | None = None
        self._audio: AudioQueue | None = None
        self._waiting = True
        self._start: int | None = None
        self._deadline = 0
        self._audio_deadline = 0
        self._segment_start = 0
        self._segment_ticks = 0
        self._segment_parts = 0
        self._unaligned = False
        self._discontinuity = False
        self._any = False

    @property
    def target(self) -> Target | None:
        """What the playlists promise, once it is known."""
        return self._choice.target

    @property
    def quiet_until(self) -> int:
        """Log time, in 1/90000 s, before which only a keyframe or many bytes complete anything.

        Valid while frames keep their rate to within a quarter of their distance: otherwise a part
        may wait for one packet more. `NEVER` where that cannot be told.
        """
        video = self._video
        if video is None or self._waiting or self._start is None or self.target is None:
            return NEVER
        return self._deadline - video.lead - video.interval - (video.interval >> 2)

    def begin(self, video: Track | None, audio: Track | None) -> None:
        """Starts an epoch with these tracks, numbered from 1, video first.

        What waits of an epoch before is lost unless `flush` was called.
        """
        self._video_track, self._audio_track = video, audio
        self._video = VideoQueue(video, 1, self._counters) if video is not None else None
        self._audio = AudioQueue(audio, 1 if video is None else 2) if audio is not None else None
        self._reset()

    def push(self, packet: Packet) -> Sequence[Cut]:
        """Takes a packet of the epoch's tracks; answers what it completed, mostly nothing."""
        track = packet.track
        if not packet.data:
            self._counters.empty += 1
        elif track is self._video_track:
            self._push_video(packet)
        elif track is self._audio_track:
            if self._video is None:
                self._push_audio_alone(packet)
            else:
                self._push_audio(packet)
        else:
            self._counters.skipped += 1
        return self._emitted() if self._out else ()

    def skim(self, packets: Sequence[Packet], first: int) -> int:
        """Takes packets from an index on that complete nothing, fast; see `take_usual`.

        Answers the index of the first that it left, which is `push`'s.
        """
        video = self._video
        if video is None or self._waiting or self._choice.target is None:
            return first
        return take_usual(
            packets,
            first,
            video,
            self._audio,
            deadline=self._deadline,
            audio_deadline=self._audio_deadline,
            max_weight=self._max_weight,
        )

    def flush(self) -> Sequence[Cut]:
        """Completes whatever waits, and the segment; what comes later is a discontinuity."""
        video, audio = self._video, self._audio
        if audio is not None and audio.data and self._start is None:
            self._open(self._from_audio(audio.start), aligned=False)
        while self._start is not None:
            ends = [self._from_audio(audio.end)] if audio is not None and audio.data else []
            if video is not None and video.data:
                ends.append(max(video.last + video.lead, video.written + 1))
            if not ends:
                break
            if self._something_before(self._deadline):
                end = min(max(*ends, self._start + _SHORTEST_PART), self._deadline)
                self._close(end, ending=end < self._deadline)
            elif audio is not None:
                self._jump(self._from_audio(audio.start))
        self._end_segment(aligned=True)
        self._reset()
        return self._emitted()

    def last_call(self) -> Target | None:
        """Makes the promise at the end of a stream that was too short for it."""
        return self._choice.last_call(self._interval())

    # Video

    def _push_video(self, packet: Packet) -> None:
        video = self._video
        assert video is not None  # its track is set
        dts = packet.dts
        if not self._waiting:
            video.measure(dts)
            if self._choice.target is None:
                self._refresh()
        elif packet.keyframe:
            self._waiting = False
            video.last = dts
            if self._start is None:
                self._open(dts, aligned=True)
        else:
            self._counters.before_keyframe += 1
            return
        if packet.keyframe and self._ends_segment(dts):
            self._make_room(dts, ending=True)
        elif dts + video.lead > self._deadline:
            self._make_room(dts, ending=False)
        video.append(packet, self._choice.part_limit)
        assert self._start is not None  # a frame that waits for nothing opens
        # A frame that comes early may end before the part begins which the last one stretched.
        end = max(dts + video.lead, video.written + 1, self._start + _SHORTEST_PART)
        # No look-ahead: would one more frame be too much?
        if end + video.interval > self._deadline:
            self._close(min(end, self._deadline))
        elif video.weight > self._max_weight:
            self._counters.forced_parts += 1
            self._close(end)

    def _ends_segment(self, dts: int) -> bool:
        """Whether the segment ends before this keyframe."""
        assert self._start is not None
        choice, length = self._choice, dts - self._segment_start
        end = max(dts, self._start + _SHORTEST_PART)
        if choice.target is None and self._something_before(self._deadline):
            choice.pending(min(end, self._deadline) - self._start)
        target = choice.keyframe(dts, end - self._segment_start, self._interval())
        if target is not None:
            self._out.append(target)
            self._refresh()
        if length >= self._segment_length or self._unaligned:
            return True
        # Sooner, where waiting for the next keyframe would exceed the target duration.
        return length >= _SHORTEST_SEGMENT and length + choice.gop > choice.segment_limit

    def _make_room(self, dts: int, *, ending: bool) -> None:
        """Closes what must be closed before a frame that comes at ``dts`` can be added."""
        video = self._video
        assert video is not None
        assert self._start is not None
        while True:
            if video.data and (ending or dts + video.lead > self._deadline):
                end = max(dts, self._start + _SHORTEST_PART)
                self._close(min(end, self._deadline), ending=ending)
            elif dts >= self._deadline and self._something_before(self._deadline):
                self._close(self._deadline)
            else:
                break
        if ending:
            self._end_segment(aligned=True)
            self._unaligned = False
        elif dts + video.lead > self._segment_start + self._choice.segment_limit:
            self._end_segment_within()
        if dts >= self._deadline:
            self._jump(dts)

    # Audio

    def _push_audio(self, packet: Packet) -> None:
        audio = self._audio
        assert audio is not None  # its track is set
        at = audio.rescale(packet.pts) if audio.scaled else packet.pts
        drift = at - audio.end
        if drift > DRIFT:
            self._audio_hole(audio, at)
        elif drift < -DRIFT:
            self._counters.audio_overlaps += 1
            return
        audio.append(packet.data, audio.frame(packet))
        if audio.end > self._audio_deadline:
            self._follow_audio(audio, audio.end)
        if audio.weight > self._max_weight:
            self._force(audio)

    def _audio_hole(self, audio: AudioQueue, at: int) -> None:
        if audio.end == NEVER:
            if self._start is None:
                self._audio_deadline = at + self._to_audio(2 * self._choice.part_limit)
        else:
            self._counters.audio_holes += 1
        if at > self._audio_deadline:
            self._follow_audio(audio, at)
        audio.skip_to(at)

    def _follow_audio(self, audio: AudioQueue, at: int) -> None:
        """Video is behind ``at`` by more than one part: cuts without it."""
        if self._start is None:
            self._open(self._from_audio(audio.start), aligned=False)
        while at > self._audio_deadline:
            if self._something_before(self._deadline):
                self._close(self._deadline)
            else:
                self._jump(self._from_audio(audio.start if audio.data else at))

    def _push_audio_alone(self, packet: Packet) -> None:
        audio = self._audio
        assert audio is not None  # its track is set
        at = audio.rescale(packet.pts) if audio.scaled else packet.pts
        frame = audio.frame(packet)
        drift = at - audio.end
        if drift > DRIFT:
            self._lone_audio_hole(audio, at, frame)
        elif drift < -DRIFT:
            self._counters.audio_overlaps += 1
            return
        elif self._start is None:
            self._open(self._from_audio(audio.end), aligned=True)
        if audio.data and audio.end + frame > self._audio_deadline:
            self._close(self._from_audio(audio.end))
        audio.append(packet.data, frame)
        if audio.end + frame > self._audio_deadline:
            self._close(self._from_audio(audio.end))
        elif audio.weight > self._max_weight:
            self._force(audio)

    def _lone_audio_hole(self, audio: AudioQueue, at: int, frame: int) -> None:
        if audio.end == NEVER:
            self._emit(self._choice.audio(frame, audio.rate))
        else:
            self._counters.audio_holes += 1
        if audio.data:
            self._close(self._from_audio(audio.end))
        audio.skip_to(at)
        if self._start is None:
            self._open(self._from_audio(at), aligned=True)
        else:
            self._jump(self._from_audio(at))

    def _force(self, audio: AudioQueue) -> None:
        """Too many bytes wait, whatever their time says."""
        if self._start is None:
            self._open(self._from_audio(audio.start), aligned=self._video is None)
        assert self._start is not None
        self._counters.forced_parts += 1
        end = max(self._from_audio(audio.end), self._start + _SHORTEST_PART)
        self._close(min(end, self._deadline))

    # Boundaries

    def _open(self, at: int, *, aligned: bool) -> None:
        """The epoch's first part begins."""
        self._start = self._segment_start = at
        self._unaligned = not aligned
        self._refresh()

    def _close(self, end: int, *, ending: bool = False) -> None:
        """Cuts the part at ``end``; ``ending`` says that its segment ends there for a reason."""
        start, video, audio = self._start, self._video, self._audio
        assert start is not None
        frames = video.take(end) if video is not None else None
        sound = None
        if audio is not None and audio.data:
            sound = audio.take(audio.end if video is None else self._to_audio(end))
        independent = frames.table[2] == SYNC if frames is not None else video is None
        part = PartCut(start, end - start, independent, self._discontinuity, frames, sound)
        self._out.append(part)
        self._any, self._discontinuity = True, False
        self._start = end
        self._segment_ticks += end - start
        self._segment_parts += 1
        self._emit(self._choice.part(start, end, self._interval()))
        if video is None:
            length, limit = end - self._segment_start, self._choice.segment_limit
            if length >= self._segment_length or length + self._choice.part_limit > limit:
                self._end_segment(aligned=True)
        elif not ending and end + video.interval > (
            self._segment_start + self._choice.segment_limit
        ):
            self._end_segment_within()
        self._refresh()

    def _end_segment_within(self) -> None:
        """The target duration is reached and no keyframe came."""
        if self._segment_parts:
            self._counters.long_gops += 1
            self._end_segment(aligned=False)

    def _end_segment(self, *, aligned: bool) -> None:
        """Ends the segment where its last part ended; ``aligned``: a keyframe follows."""
        if not self._segment_parts or self._start is None:
            return
        self._out.append(SegmentCut(self._segment_ticks))
        self._choice.segment(self._segment_ticks)
        self._segment_start = self._start
        self._segment_ticks = self._segment_parts = 0
        self._unaligned = not aligned
        self._refresh()

    def _jump(self, to: int) -> None:
        """Nothing fills the time until ``to``: parts go on from there.

        A long jump ends the segment and is a discontinuity. A short one is not: a still picture
        sent once a second without audio would be one segment per frame.
        """
        assert self._start is not None
        if to - self._start >= _SHORTEST_SEGMENT:
            self._end_segment(aligned=False)
            self._discontinuity = self._any
        if to > self._start:
            self._counters.jumps += 1
            self._start = to
        if not self._segment_parts:
            self._segment_start = self._start
        elif self._start + self._interval() > self._segment_start + self._choice.segment_limit:
            self._end_segment_within()
        self._refresh()

    def _refresh(self) -> None:
        """Computes the two times that the next packets are compared with."""
        start, choice, video = self._start, self._choice, self._video
        if start is None:
            return
        if video is not None and choice.target is None:
            choice.slow_frames(video.interval)
        limit = choice.part_limit
        self._deadline = min(start + limit, self._segment_start + choice.segment_limit)
        if self._audio is not None:
            patience = limit + _GRAIN if video is None else 2 * limit
            self._audio_deadline = self._to_audio(start + patience)

    def _something_before(self, end: int) -> bool:
        """Whether a part up to ``end`` would hold any sample."""
        if self._video is not None and self._video.data:
            return True
        audio = self._audio
        return audio is not None and bool(audio.data) and audio.start < self._to_audio(end)

    def _to_audio(self, ticks: int) -> int:
        assert self._audio is not None
        return ticks * self._audio.rate // VIDEO_CLOCK

    def _from_audio(self, samples: int) -> int:
        assert self._audio is not None
        return samples * VIDEO_CLOCK // self._audio.rate

    def _interval(self) -> int:
        return self._video.nominal() if self._video is not None else VIDEO_CLOCK // 30

    def _emit(self, target: Target | None) -> None:
        if target is not None:
            self._out.append(target)

    def _emitted(self) -> list[Cut]:
        out, self._out = self._out, []
        return out

    def _reset(self) -> None:
        """Back to waiting for something that a decoder can begin with."""
        self._choice.begin()
        self._waiting = True
        self._start = None
        if self._audio is not None:
            self._audio.end = NEVER
        self._segment_ticks = self._segment_parts = 0
        self._discontinuity = self._any
