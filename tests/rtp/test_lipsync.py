"""Picture and sound of publishers that are late, lose sound, and have clocks of their own.

The publishers are like Chromium: pictures are reported with the time of their capture every 0.7 s,
sound with the time at which its newest packet was sent every 5 s, and sound that was not recorded
leaves no gap in its time stamps.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from streamserver.rtp.lipsync import LipSync, SourceClock

MS = 1_000_000
SECOND = 1_000 * MS
NTP_SECOND = 1 << 32
LEAD_NS = 10 * SECOND
VIDEO_REPORT_NS = 700 * MS
AUDIO_REPORT_NS = 5 * SECOND


@dataclass(kw_only=True)
class Publisher:
    """Sends 50 packets of sound and 30 pictures a second, in simulated time."""

    seconds: int = 30
    ppm: int = 0
    """How much faster the clock of its sound runs."""
    jitter_ms: int = 0
    late: dict[int, int] = field(default_factory=dict)
    """Milliseconds from the start: by how much sound is sent too late from then on, until it has
    caught up."""
    lost: dict[int, int] = field(default_factory=dict)
    """Milliseconds from the start: how much sound was not recorded."""
    stalls: dict[int, int] = field(default_factory=dict)
    """Milliseconds from the start: how long nothing of anything arrived."""
    way_ms: dict[int, int] = field(default_factory=dict)
    """Milliseconds from the start: how much longer the way of both is from then on."""
    exact: bool = False
    """Whether reports of sound tell the time of recording."""
    seed: int = 1
    events: list[tuple[int, int, str, str, int, int]] = field(default_factory=list)
    """Arrival, order, kind, what, time stamp, time of recording or NTP."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._sound()
        self._pictures()

    def _arrival(self, sent_ns: int, order: int) -> int:
        way_ns = sum(ms * MS for at, ms in self.way_ms.items() if sent_ns >= at * MS)
        at = sent_ns + 20 * MS + way_ns + self._chance.randrange(self.jitter_ms * MS + 1)
        for began, length in self.stalls.items():
            if began * MS <= at < (began + length) * MS:
                at = (began + length) * MS + order
        return at

    def _sound(self) -> None:
        ticks, now, order, report_ns, arrived = 12_345, 0, 0, AUDIO_REPORT_NS // 3, 0
        lost, busy_until = dict(self.lost), 0
        while now < self.seconds * SECOND:
            for at in [at for at in lost if at * MS <= now]:
                now += lost.pop(at) * MS
            recorded = now
            now += 20 * MS * 1_000_000 // (1_000_000 + self.ppm)
            for at, ms in self.late.items():
                if at * MS <= now < (at + ms) * MS:
                    busy_until = (at + ms) * MS
            sent = max(now, busy_until)
            order += 1
            arrived = max(arrived + 1, self._arrival(sent, order))
            self._add(arrived, "audio", "packet", ticks, recorded)
            if sent >= report_ns:
                report_ns = sent + AUDIO_REPORT_NS
                # What is told belongs to the newest packet, and is sent some time after it.
                ntp_ns = recorded if self.exact else sent
                self._add(arrived + 1, "audio", "report", ticks, ntp_ns)
            ticks += 960

    def _pictures(self) -> None:
        report_ns, arrived = VIDEO_REPORT_NS, 0
        for number in range(self.seconds * 30):
            captured = number * SECOND // 30
            sent = captured + 15 * MS + self._chance.randrange(10 * MS)
            arrived = max(arrived + 1, self._arrival(sent, number))
            ticks = 777 + number * 3_000
            self._add(arrived, "video", "packet", ticks, captured)
            if captured >= report_ns:
                report_ns = captured + VIDEO_REPORT_NS
                self._add(arrived + 1, "video", "report", ticks, captured)

    def _add(self, at: int, kind: str, what: str, ticks: int, time_ns: int) -> None:
        heapq.heappush(self.events, (at, len(self.events), kind, what, ticks, time_ns))


@dataclass
class Outcome:
    """Where frames came to lie."""

    shift_ms: dict[str, list[tuple[int, float]]]
    """By kind: when it was recorded, and its place less that."""
    sync: LipSync

    def apart_ms(self) -> Iterator[tuple[int, float]]:
        """When each picture was captured, and by how much it lies later than the sound then."""
        sound = iter(self.shift_ms["audio"])
        now, shift = next(sound)
        following = next(sound, None)
        for captured, place in self.shift_ms["video"]:
            while following is not None and following[0] <= captured:
                (now, shift), following = following, next(sound, None)
            if now <= captured:
                yield captured // MS, place - shift

    def worst_ms(self, begin_ms: int, end_ms: int = 1 << 60) -> float:
        return max(abs(apart) for at, apart in self.apart_ms() if begin_ms <= at < end_ms)


def played(publisher: Publisher) -> Outcome:
    sync = LipSync()
    clocks = {"audio": SourceClock(48_000, is_sound=True), "video": SourceClock(90_000)}
    shifts: dict[str, list[tuple[int, float]]] = {"audio": [], "video": []}
    looked = 0
    events = sorted(publisher.events)
    for at, _, kind, what, ticks, time_ns in events:
        clock = clocks[kind]
        if what == "packet":
            if kind == "audio":
                sync.audio = clock
            else:
                sync.video = clock
            place = clock.place(ticks, LEAD_NS + at)
            shift = place * 1_000 / clock.clock_rate - (LEAD_NS + time_ns) / MS
            shifts[kind].append((time_ns, shift))
        else:
            clock.reported((time_ns + 100 * SECOND) * NTP_SECOND // SECOND, ticks)
            sync.reported(clock)
        if at - looked >= 25 * MS:
            looked = at
            sync.look()
    return Outcome(shifts, sync)


def test_a_clock_places_frames_by_their_arrival_first() -> None:
    clock = SourceClock(90_000)
    assert clock.place(500, 2 * SECOND) == 180_000
    assert clock.place(3_500, 9 * SECOND) == 183_000


@pytest.mark.parametrize(("apart_ms", "share"), [(10, 16), (100, 4)])
def test_pictures_are_moved_in_steps_until_reports_agree(apart_ms: int, share: int) -> None:
    sync = LipSync()
    sync.audio, sync.video = SourceClock(48_000, is_sound=True), SourceClock(90_000)
    sync.audio.place(0, SECOND)
    sync.video.place(0, SECOND)
    sync.audio.reported(NTP_SECOND * 100, 0)
    sync.reported(sync.audio)
    sync.look()
    assert sync.video.pending_ticks == 0
    # Pictures are younger than their place says.
    sync.video.reported(NTP_SECOND * 100 + NTP_SECOND * apart_ms // 1_000, 0)
    sync.reported(sync.video)
    sync.look()
    assert abs(sync.video.pending_ticks - 90 * apart_ms) <= 1
    before = sync.video.place(0, SECOND)
    for frame in range(1, 40):
        place = sync.video.place(3_000 * frame, SECOND)
        assert 2_999 <= place - before <= 3_000 + 3_000 // share
        before = place
    assert sync.video.pending_ticks == 0
    assert abs(before - 90_000 - 39 * 3_000 - 90 * apart_ms) <= 1


# Browsers report when sound was sent, which is 20 ms after its beginning was recorded.


@pytest.mark.parametrize("ppm", [-100, 0, 100])
@pytest.mark.parametrize("jitter_ms", [0, 15, 60])
def test_picture_and_sound_stay_together_with_jitter_and_clocks_that_drift(
    ppm: int, jitter_ms: int
) -> None:
    outcome = played(Publisher(seconds=300, ppm=ppm, jitter_ms=jitter_ms))
    assert outcome.worst_ms(10_000) <= 20 + 5 + jitter_ms / 3
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0


@pytest.mark.parametrize("jitter_ms", [0, 30])
def test_exact_reports_of_sound_are_followed_exactly(jitter_ms: int) -> None:
    outcome = played(Publisher(seconds=90, jitter_ms=jitter_ms, exact=True))
    assert outcome.worst_ms(30_000) <= 10
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0


@pytest.mark.parametrize("late_ms", [60, 200, 400])
def test_a_report_that_a_late_packet_made_wrong_moves_nothing(late_ms: int) -> None:
    # From shortly before each report of sound: it is sent together with the late packets.
    late = {at - late_ms // 2: late_ms for at in range(6_600, 60_000, 5_000)}
    outcome = played(Publisher(seconds=60, late=late))
    assert outcome.worst_ms(10_000) <= 30
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0


@pytest.mark.parametrize("at_ms", range(12_000, 17_000, 700))
@pytest.mark.parametrize("lost_ms", [110, 430, 1_500])
def test_sound_that_its_source_lost_is_a_hole_within_a_second(at_ms: int, lost_ms: int) -> None:
    outcome = played(Publisher(seconds=40, lost={at_ms: lost_ms}, jitter_ms=10))
    assert outcome.worst_ms(8_000, at_ms) <= 35
    assert outcome.worst_ms(at_ms + lost_ms + 1_300) <= 45
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 1
    # Pictures were not moved: they were right all the time.
    moved = [place for at, place in outcome.shift_ms["video"] if at > 8 * SECOND]
    assert max(moved) - min(moved) <= 25


@pytest.mark.parametrize("lost_ms", [20, 60, 90])
def test_pictures_follow_where_little_sound_is_lost(lost_ms: int) -> None:
    outcome = played(Publisher(seconds=40, lost={12_000: lost_ms}))
    assert outcome.worst_ms(20_000) <= 30
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0


def test_what_delays_picture_and_sound_alike_is_no_loss() -> None:
    way = {12_000: 200, 22_000: -150, 31_000: 400, 44_000: -300}
    outcome = played(Publisher(seconds=60, way_ms=way, jitter_ms=10))
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0
    assert outcome.worst_ms(10_000) <= 35


def test_after_a_stop_of_everything_nothing_has_moved() -> None:
    stalls = {9_000 + 3_100 * number: 50 + 180 * number for number in range(9)}
    outcome = played(Publisher(seconds=60, stalls=stalls, jitter_ms=10))
    assert outcome.sync.audio is not None
    assert outcome.sync.audio.holes == 0
    assert outcome.worst_ms(10_000) <= 35


def test_a_report_of_absurd_times_moves_nothing() -> None:
    publisher = Publisher(seconds=20)
    publisher.events.append((10 * SECOND, 1 << 40, "audio", "report", 0, 1 << 61))
    outcome = played(publisher)
    assert outcome.sync.disagreements
    assert outcome.worst_ms(5_000) <= 30


def test_the_first_report_of_one_alone_moves_nothing() -> None:
    sync = LipSync()
    sync.reported(SourceClock(48_000))
    sync.look()
    sync.audio = SourceClock(48_000, is_sound=True)
    sync.audio.place(0, SECOND)
    sync.audio.reported(NTP_SECOND, 0)
    sync.reported(sync.audio)
    sync.look()
    assert sync.audio.pending_ticks == 0
