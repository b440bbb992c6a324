"""From the clock of a publisher to the time line of its stream.

RTMP stamps messages with 32 bits of milliseconds that begin anywhere, wrap, jump when the encoder
restarts, and step back a little now and then. A stream's log knows one time line per life: it
begins near 0 and never runs backwards, whatever the publisher does, and A/V sync within an epoch is
exactly the publisher's.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from streamserver.media.track import Kind

__all__ = [
    "HEAD_ROOM_MS",
    "Stamp",
    "Timeline",
    "ms_to_ticks",
    "rescale",
]

HEAD_ROOM_MS: Final = 1_000
"""The log time of the first packet of a stream. A track that comes later and begins up to this much
earlier keeps its place; whoever makes dates of log times takes it off the origin."""

_MAX_BACKWARD_MS: Final = 1_000
_MAX_FORWARD_MS: Final = 10_000
"""Steps beyond these are jumps: a restart or a loop of the encoder, not late or lost media."""

_OLD_DOMAIN_MS: Final = 1_000
"""How near a packet must be to where the clock was before a jump to be a leftover from there, and
how long (by arrival) leftovers are told from media that only runs ahead."""

_NO_STEP: Final = 1 << 33
"""Later than any time on the wire: of a track whose next packet needs `Timeline.stamp`."""

_MAX_STEP_MS: Final = 1_000
"""The longest duration that the last packet before a jump is taken to have."""


def rescale(value: int, from_rate: int, to_rate: int) -> int:
    """Converts ticks between rates, rounding to the nearest, halves up."""
    return (2 * value * to_rate + from_rate) // (2 * from_rate)


def ms_to_ticks(ms: int, rate: int) -> int:
    """Milliseconds in ticks of a rate, rounding to the nearest, halves up."""
    return (2 * ms * rate + 1000) // 2000


_VIDEO: Final = Kind.VIDEO
_AUDIO: Final = Kind.AUDIO
"""Members of an enumeration are looked up slowly."""


class Stamp(NamedTuple):
    """A packet's place on the stream's time line. Made for every packet: a tuple is cheapest."""

    time_ms: int
    """Decoding time in milliseconds since the log's 0; never less than the track's last one."""

    new_epoch: bool
    """Whether a discontinuity lies before this packet."""


@dataclass(slots=True)
class _Lane:
    """What is known of one track."""

    wire: int | None = None
    """Its newest unwrapped time in this epoch; None before its first packet there."""

    log: int = 0
    """Its newest log time."""

    step: int = 1
    """How far apart its last two packets were: how long the last one lasts."""


class Timeline:
    """The time line of one stream, fed by one publisher at a time; its tracks share a clock.

    A jump is judged against the newest time of all tracks, so that audio which was silent for a
    minute is none, and against the track's own, so that tracks which always differ by some seconds
    are none either.

    After a jump every track gets the same new offset. Tracks that have not jumped yet may still
    send packets of the old clock: those are dropped, so that time does not flip back and forth.
    What then lies before the epoch's start on the log (its first track may have been ahead) is
    dropped if it is audio, and moved to the start if it is video, which cannot do without.
    """

    __slots__ = (
        "_floor", "_jumped_ns", "_lanes", "_newest", "_newest_wire", "_offset", "_old",
        "_old_seen_ns", "_origin_ns", "_pending", "_placed_ns", "_taken_ms", "clamped", "dropped",
        "jumps",
    )  # fmt: skip

    def __init__(self) -> None:
        self.clamped = 0
        """Packets moved forward to keep their track from running backwards."""
        self.jumps = 0
        """Jumps of the publisher's clock."""
        self.dropped = 0
        """Packets of an old clock, or audio before an epoch's start; they have no place."""
        self._lanes: dict[Kind, _Lane] = {}
        self._origin_ns: int | None = None
        self._pending = False
        self._taken_ms = 0
        # The newest packet: its unwrapped time, and as it was on the wire.
        self._newest = 0
        self._newest_wire = 0
        self._offset = 0
        self._floor = 0
        # Where the clock was before the last jump, while leftovers of it may come.
        self._old: int | None = None
        self._old_seen_ns = 0
        self._jumped_ns = 0
        self._placed_ns = 0

    @property
    def end_ms(self) -> int:
        """Where the log ends: the latest end of a packet, on the stream's time line."""
        lanes = max((lane.log + lane.step for lane in self._lanes.values()), default=0)
        return max(lanes, self._taken_ms)

    @property
    def is_pending(self) -> bool:
        """Whether nothing has come since `resume`."""
        return self._pending

    def due_ms(self, received_ns: int) -> int:
        """The log time that belongs to an arrival now, where the log has not gone further."""
        if self._origin_ns is None:
            return self.end_ms
        return HEAD_ROOM_MS + (received_ns - self._origin_ns) // 1_000_000

    def take_up(self, end_ms: int) -> None:
        """Says that the log is filled up to here by something other than the publisher."""
        self._taken_ms = max(self._taken_ms, end_ms)

    def stamp(self, kind: Kind, wire_ms: int, received_ns: int) -> Stamp | None:
        """Places a packet, or answers None when it has to be dropped.

        ``wire_ms`` is the 32-bit decoding time of the message, ``received_ns`` its arrival on a
        monotonic clock.
        """
        lane = self._lanes.get(kind)
        if lane is None:
            lane = self._lanes[kind] = _Lane()
        if self._origin_ns is None:
            self._origin_ns = received_ns
            time, new_epoch = wire_ms, False
            self._begin(time, HEAD_ROOM_MS, floor=0)
        elif self._pending:
            time, new_epoch = wire_ms, True
            self._continue(time, received_ns)
        else:
            step = wire_ms - self._newest_wire
            # Nearly always the next few milliseconds; the rest may have wrapped or jumped.
            is_usual = -_MAX_BACKWARD_MS <= step <= _MAX_FORWARD_MS
            time = self._newest + (step if is_usual else self._step_of(wire_ms))
            # A track that has jumped does not go back, and its packets come in order.
            may_be_old = self._old is not None and lane.wire is None
            if may_be_old and self._is_leftover(lane, time, received_ns):
                self.dropped += 1
                return None
            new_epoch = not is_usual and self._is_jump(lane, time)
            if new_epoch:
                self.jumps += 1
                old = self._newest
                self._continue(time, received_ns)
                self._old, self._old_seen_ns, self._jumped_ns = old, received_ns, received_ns
        if time >= self._newest:
            self._newest, self._newest_wire = time, wire_ms
        self._placed_ns = received_ns
        return self._place(kind, lane, time, new_epoch)

    def pace(self) -> tuple[int, int, int, int]:
        """How usual packets are placed without `stamp`: by adding a number.

        Answers what, added to a time on the wire, is the log time; the latest time on the wire that
        is usual; and the newest of video and of audio there. A packet is usual that is later than
        the newest of its track, and not too late. What was placed so must be told to `keep_pace`
        before anything else is asked.
        """
        base = self._newest - self._newest_wire
        if self._pending:
            return base, 0, _NO_STEP, _NO_STEP
        offset = self._offset
        earliest = max(self._floor - offset, self._newest - _MAX_BACKWARD_MS + 1)
        video, audio = self._lanes.get(_VIDEO), self._lanes.get(_AUDIO)
        last_video = last_audio = _NO_STEP
        # Not of a track that lags, or was held back at the beginning of its epoch.
        if video and (wire := video.wire) is not None and earliest <= wire == video.log - offset:
            last_video = wire - base
        if audio and (wire := audio.wire) is not None and earliest <= wire == audio.log - offset:
            last_audio = wire - base
        # Within this no packet is too early behind another, whatever their order.
        latest = min(last_video, last_audio) + _MAX_BACKWARD_MS
        return base + offset, latest, last_video, last_audio

    def keep_pace(
        self, video: int, video_step: int, audio: int, audio_step: int, received_ns: int
    ) -> None:
        """Notes what was placed by `pace`: the newest times on the wire as they are now.

        The steps are from the last packet of a track but one to its last, 0 for a track of which
        none came.
        """
        base = self._newest - self._newest_wire
        newest = self._newest_wire
        if video_step:
            newest = max(newest, video)
            lane = self._lanes[_VIDEO]
            lane.wire, lane.log = video + base, video + base + self._offset
            lane.step = video_step if video_step < _MAX_STEP_MS else _MAX_STEP_MS
        if audio_step:
            newest = max(newest, audio)
            lane = self._lanes[_AUDIO]
            lane.wire, lane.log = audio + base, audio + base + self._offset
            lane.step = audio_step if audio_step < _MAX_STEP_MS else _MAX_STEP_MS
        self._newest, self._newest_wire, self._placed_ns = newest + base, newest, received_ns

    def resume(self) -> None:
        """Says that the publisher is another connection, with a clock of its own.

        The next packet begins a new epoch, at its arrival or at the end of the log, whichever is
        later.
        """
        self._pending = self._origin_ns is not None

    def _step_of(self, wire_ms: int) -> int:
        """Milliseconds from the newest packet to this one, undoing a wrap of 32 or 31 bits."""
        step = ((wire_ms - self._newest_wire + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)
        # FLV files and SRS keep 31 bits: near the half of the range their wrap is the likely one.
        if abs(step) > 1 << 30 and (wire_ms | self._newest_wire) < 1 << 31:
            step = ((wire_ms - self._newest_wire + (1 << 30)) & 0x7FFF_FFFF) - (1 << 30)
        return step

    def _is_jump(self, lane: _Lane, time: int) -> bool:
        if -_MAX_BACKWARD_MS <= time - self._newest <= _MAX_FORWARD_MS:
            return False
        own = lane.wire
        return own is None or not -_MAX_BACKWARD_MS <= time - own <= _MAX_FORWARD_MS

    def _is_leftover(self, lane: _Lane, time: int, received_ns: int) -> bool:
        """Whether a packet still follows the clock from before the last jump."""
        if self._old is None:
            return False
        window = _OLD_DOMAIN_MS * 1_000_000
        # Either clock can turn out to be dead: the old one, or a single wrong stamp was the new.
        if received_ns - min(self._old_seen_ns, self._placed_ns) > window:
            self._old = None
            return False
        distance = abs(time - self._old)
        if distance > _OLD_DOMAIN_MS or distance >= abs(time - self._newest):
            return False
        # Later, what fits the new clock is media that runs ahead by a constant.
        if received_ns - self._jumped_ns > window and not self._is_jump(lane, time):
            return False
        self._old = max(self._old, time)
        self._old_seen_ns = received_ns
        return True

    def _continue(self, time: int, received_ns: int) -> None:
        """Begins a new epoch with a packet of this unwrapped time."""
        end = self.end_ms
        elapsed = self.due_ms(received_ns)
        self._pending = False
        for lane in self._lanes.values():
            lane.wire = None
        self._begin(time, max(end, elapsed), floor=end)

    def _begin(self, time: int, log: int, *, floor: int) -> None:
        self._newest = time
        self._offset = log - time
        self._floor = floor
        self._old = None

    def _place(self, kind: Kind, lane: _Lane, time: int, new_epoch: bool) -> Stamp | None:
        previous = lane.wire
        if previous is None:
            lane.wire = time
        elif time > previous:
            lane.wire, lane.step = time, min(time - previous, _MAX_STEP_MS)
        log = time + self._offset
        if log < self._floor and kind is Kind.AUDIO:
            self.dropped += 1
            return None
        earliest = max(self._floor, lane.log)
        if log < earliest:
            self.clamped += 1
            log = earliest
        lane.log = log
        return Stamp(log, new_epoch)
