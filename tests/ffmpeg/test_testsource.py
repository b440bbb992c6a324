import os
import subprocess
import sys
import time
from itertools import pairwise

import av
import numpy as np
import pytest

from streamserver.ffmpeg.testsource import SourceSettings, TestSource, main, run
from streamserver.ffmpeg.testsource_clock import BlockClock
from streamserver.ffmpeg.testsource_frames import (
    AUDIO_CLOCK,
    VIDEO_CLOCK,
    Record,
    RecordDecoder,
    RecordKind,
)
from streamserver.ffmpeg.testsource_sound import BEEP_MS, TestSound

EPOCH = 1_800_000_000
SMALL = SourceSettings(width=320, height=180, fps=30, bit_rate=400_000)


def of_kind(records, kind):
    return [record for record in records if record.kind is kind]


def pictures(records):
    """(pts, luma) of each decoded picture."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = of_kind(records, RecordKind.VIDEO_CONFIG)[0].data
    frames = []
    for record in of_kind(records, RecordKind.VIDEO):
        packet = av.Packet(record.data)
        packet.pts, packet.dts = record.pts, record.dts
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    return [(frame.pts, frame.to_ndarray()[: frame.height]) for frame in frames]


def sound(records):
    """The left channel; its first sample has the time of the first audio record."""
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = of_kind(records, RecordKind.AUDIO_CONFIG)[0].data
    blocks = []
    for record in of_kind(records, RecordKind.AUDIO):
        blocks += [frame.to_ndarray()[0] for frame in decoder.decode(av.Packet(record.data))]
    return np.concatenate(blocks)


def made(source, steps):
    records = source.configs()
    for _ in range(steps):
        records += source.step()
    return records


@pytest.fixture(scope="module")
def three_seconds():
    return made(TestSource(SMALL, EPOCH * 30), 91)


def test_time_stamps_are_exact_and_keyframes_are_two_seconds_apart(three_seconds):
    video = of_kind(three_seconds, RecordKind.VIDEO)
    assert [record.pts for record in video] == [i * VIDEO_CLOCK // 30 for i in range(91)]
    assert all(record.dts == record.pts for record in video)
    assert [i for i, record in enumerate(video) if record.keyframe] == [0, 60]
    audio = of_kind(three_seconds, RecordKind.AUDIO)
    assert [record.pts for record in audio] == [i * 1024 for i in range(len(audio))]
    assert all(record.keyframe for record in audio)


def test_configs_are_avcc_and_audio_specific_config(three_seconds):
    avcc = of_kind(three_seconds, RecordKind.VIDEO_CONFIG)[0].data
    assert avcc[0] == 1
    assert avcc[4] & 3 == 3, "lengths take four bytes"
    asc = of_kind(three_seconds, RecordKind.AUDIO_CONFIG)[0].data
    object_type, rate_index, channels = (
        asc[0] >> 3,
        (asc[0] & 7) << 1 | asc[1] >> 7,
        asc[1] >> 3 & 15,
    )
    assert (object_type, rate_index, channels) == (2, 3, 2)


def test_access_units_are_length_prefixed_without_parameter_sets(three_seconds):
    for record in of_kind(three_seconds, RecordKind.VIDEO):
        at, types = 0, []
        while at < len(record.data):
            length = int.from_bytes(record.data[at : at + 4], "big")
            types.append(record.data[at + 4] & 31)
            at += 4 + length
        assert at == len(record.data)
        assert not {7, 8} & set(types)
        assert (5 in types) == record.keyframe


def test_every_picture_carries_its_own_time(three_seconds):
    clock = BlockClock.for_picture(320, 180)
    shown = [(pts, clock.read(luma)) for pts, luma in pictures(three_seconds)]
    assert len(shown) == 91
    assert shown == [(pts, EPOCH * 1000 + pts * 1000 // VIDEO_CLOCK) for pts, _ in shown]


def test_the_beep_begins_with_the_second_of_the_picture(three_seconds):
    samples = sound(three_seconds)
    wanted = TestSound().samples(0, AUDIO_CLOCK * BEEP_MS // 1000)[0]
    for second in (1, 2):
        around = samples[second * AUDIO_CLOCK - 240 :][: len(wanted) + 480]
        best = int(np.argmax(np.correlate(around, wanted, mode="valid"))) - 240
        assert abs(best) <= 4, "samples: the encoder's delay is not in the time stamps"


def test_skipping_leaves_pictures_and_their_sound_out_but_keeps_the_time():
    source = TestSource(SMALL, EPOCH * 30)
    records = made(source, 10)
    source.skip(45)
    later = made(source, 20)
    video = of_kind(later, RecordKind.VIDEO)
    assert video[0].pts == 55 * VIDEO_CLOCK // 30
    audio = of_kind(records + later, RecordKind.AUDIO)
    gaps = [b.pts - a.pts for a, b in pairwise(audio)]
    assert min(gaps) == 1024
    assert max(gaps) >= 45 * 1600 - 2 * 1600


class FakeTime:
    """Both clocks; sleeping and stalling move them."""

    def __init__(self):
        self.ns = 0

    def wall(self):
        return EPOCH * 1_000_000_000 + 123_456_789 + self.ns

    def monotonic(self):
        return 5_000_000_000 + self.ns

    def sleep(self, ns):
        self.ns += ns


class Sink:
    """Decodes what is written and notes when each picture came."""

    def __init__(self, clock: FakeTime):
        self.clock = clock
        self.decoder = RecordDecoder()
        self.at: list[tuple[int, Record]] = []

    def __call__(self, data: bytes) -> None:
        records = of_kind(self.decoder.feed(data), RecordKind.VIDEO)
        self.at += [(self.clock.wall(), record) for record in records]
        self.clock.ns += 3_000_001  # the encoder's own time


def run_for(clock, steps, write):
    left = iter(range(steps))
    run(
        SMALL,
        write,
        wall_ns=clock.wall,
        monotonic_ns=clock.monotonic,
        sleep_ns=clock.sleep,
        alive=lambda: next(left, None) is not None,
    )


def test_the_pace_follows_the_clock_and_its_grid_without_drift():
    clock = FakeTime()
    sink = Sink(clock)
    run_for(clock, 50, sink)
    # 123.456789 ms after the second: the next picture is its fifth, number 4.
    first = EPOCH * 30 + 4
    assert len(sink.at) == 50
    for i, (wall, record) in enumerate(sink.at):
        assert record.pts == i * VIDEO_CLOCK // 30
        assert abs(wall - (first + i) * 1_000_000_000 // 30) < 1_000


def test_a_stalled_reader_costs_pictures_not_latency():
    clock = FakeTime()
    sink = Sink(clock)

    def write(data: bytes) -> None:
        sink(data)
        if len(sink.at) == 10:
            clock.ns += 5_000_000_000

    run_for(clock, 20, write)
    (begin, _), (end, last) = sink.at[0], sink.at[-1]
    assert abs((end - begin) * VIDEO_CLOCK // 1_000_000_000 - last.pts) < VIDEO_CLOCK // 10


@pytest.mark.parametrize(
    "wrong",
    [{"width": 321}, {"width": 100}, {"height": 10_000}, {"fps": 0}, {"fps": 29}, {"bit_rate": 1}],
)
def test_what_cannot_be_made_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must|divisor"):
        SourceSettings(**wrong)


def test_a_wrong_argument_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--fps", "29"])
    assert ended.value.code == 2
    assert "divisor" in capsys.readouterr().err


def test_the_child_process_streams_live_and_ends_when_its_pipe_closes():
    command = [sys.executable, "-m", "streamserver.ffmpeg.testsource"]
    command += ["--width", "320", "--height", "180", "--bit-rate", "400000"]
    decoder = RecordDecoder()
    records: list[Record] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while len(of_kind(records, RecordKind.VIDEO)) < 30:
            data = os.read(child.stdout.fileno(), 65536)
            assert data, "the child ended early"
            records += decoder.feed(data)
        now_ms = time.time_ns() // 1_000_000
        child.stdout.close()
        assert child.wait(timeout=60) == 0
    shown = BlockClock.for_picture(320, 180).read(pictures(records)[-1][1])
    assert shown is not None
    assert abs(now_ms - shown) < 5000
    assert len(sound(records)) > AUDIO_CLOCK // 2
