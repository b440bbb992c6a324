import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.ffmpeg.audio import AudioTranscoder
from streamserver.ffmpeg.audio_codecs import RATE, AudioDecoder, AudioEncoder, Encoded, Samples
from streamserver.ffmpeg.audio_forms import AudioInput
from streamserver.media.aac import track_from_asc
from streamserver.media.track import Codec, Track
from tests.ffmpeg.helpers_audio import (
    bursts,
    coded,
    decoded,
    offset_ms,
    tone,
    transcoded,
)

FRAME = {Codec.AAC: 1024, Codec.OPUS: 960}


def check_steps(out: list[Encoded], codec: Codec) -> None:
    """Every packet begins where the one before ended."""
    assert {packet.duration for packet in out} == {FRAME[codec]}
    steps = {two.pts - one.pts for one, two in pairwise(out)}
    assert steps == {FRAME[codec]}


@pytest.mark.parametrize(
    ("encoder", "rate", "layout", "codec"),
    [
        ("aac", 48_000, "stereo", Codec.OPUS),
        ("aac", 44_100, "stereo", Codec.OPUS),
        ("aac", 48_000, "mono", Codec.OPUS),
        ("aac", 22_050, "mono", Codec.OPUS),
        ("aac", 48_000, "5.1", Codec.OPUS),
        ("libmp3lame", 44_100, "stereo", Codec.OPUS),
        ("libopus", 48_000, "stereo", Codec.AAC),
        ("libopus", 48_000, "mono", Codec.AAC),
    ],
)
def test_sound_stays_where_it_was_to_within_half_a_millisecond(encoder, rate, layout, codec):
    sound = bursts(4, rate)
    track, packets = coded(sound, encoder, rate=rate, layout=layout, start=rate)
    out = transcoded(AudioTranscoder(track, codec), packets)
    check_steps(out, codec)
    at, heard = decoded(out, codec)
    for side in heard:
        assert abs(offset_ms(bursts(4), RATE, side, at)) <= 0.5
    assert np.abs(heard).max() == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("application", ["voip", "audio", "lowdelay"])
@pytest.mark.parametrize("frame_ms", ["10", "20", "60"])
def test_opus_of_every_kind_stays_where_it_was(application, frame_ms):
    sound = bursts(4)
    options = {"application": application, "frame_duration": frame_ms, "b": "24000"}
    track, packets = coded(sound, "libopus", options=options)
    out = transcoded(AudioTranscoder(track, Codec.AAC), packets)
    at, heard = decoded(out, Codec.AAC)
    assert abs(offset_ms(sound, RATE, heard[0], at)) <= 3


def test_the_first_packet_begins_where_the_track_begins():
    for encoder, codec in (("aac", Codec.OPUS), ("libopus", Codec.AAC)):
        track, packets = coded(tone(1), encoder, start=123_456)
        out = transcoded(AudioTranscoder(track, codec), packets)
        assert out[0].pts == packets[0].pts


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_decoder_keeps_no_threads():
    track, packets = coded(tone(1, 44_100), "aac", rate=44_100)
    before = set(os.listdir("/proc/self/task"))
    decoder = AudioDecoder(track)
    assert sum(decoder.decode(packet.data).shape[1] for packet in packets) > RATE // 2
    assert set(os.listdir("/proc/self/task")) <= before


def test_what_comes_out_is_complete_soon():
    for encoder, codec, late in (("aac", Codec.OPUS, 120), ("libopus", Codec.AAC, 2_048)):
        track, packets = coded(tone(3), encoder)
        frame = packets[1].pts - packets[0].pts
        transcoder = AudioTranscoder(track, codec)
        for packet in packets:
            for one in transcoder.feed([packet]):
                needed = one.pts + one.duration + late
                assert packet.pts + frame < needed + frame
                assert packet.pts + frame >= needed


def stamped(packets: list[AudioInput], rate: int, of: Track) -> list[AudioInput]:
    """Time stamps of whole milliseconds, as RTMP has them."""
    return [
        AudioInput(round(pts * 1000 / rate) * of.clock_rate // 1000, data) for pts, data in packets
    ]


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_time_stamps_in_milliseconds_leave_no_jitter(rate):
    track, packets = coded(bursts(10, rate), rate=rate, start=rate)
    transcoder = AudioTranscoder(track, Codec.OPUS)
    out = transcoded(transcoder, stamped(packets, rate, track))
    check_steps(out, Codec.OPUS)
    assert transcoder.counters.corrected == transcoder.counters.gaps == 0
    at, heard = decoded(out, Codec.OPUS)
    assert abs(offset_ms(bursts(10), RATE, heard[0], at)) <= 1


class CountingEncoder(AudioEncoder):
    """Encodes nothing, which takes most of the time, and keeps the times."""

    def _encode(self, samples: Samples) -> list[Encoded]:
        at = self._at - self._priming
        self._at += self._frame
        return [Encoded(at, self._frame, b"")] if at >= self._start else []


@pytest.mark.parametrize(
    ("encoder", "rate", "codec"), [("aac", 44_100, Codec.OPUS), ("libopus", 48_000, Codec.AAC)]
)
@pytest.mark.timeout(120)
def test_an_hour_lasts_an_hour(encoder, rate, codec, monkeypatch):
    monkeypatch.setattr("streamserver.ffmpeg.audio.AudioEncoder", CountingEncoder)
    check_length(3_600, encoder, rate, codec)


@pytest.mark.parametrize(
    ("encoder", "rate", "codec"), [("aac", 44_100, Codec.OPUS), ("libopus", 48_000, Codec.AAC)]
)
def test_three_minutes_last_three_minutes_in_real_packets(encoder, rate, codec):
    check_length(180, encoder, rate, codec)


def check_length(seconds: int, encoder: str, rate: int, codec: Codec) -> None:
    # Silence, again and again: it costs little, and what matters are times.
    track, packets = coded(np.zeros(2 * rate, np.float32), encoder, rate=rate)
    frame = packets[1].pts - packets[0].pts
    count = seconds * rate // frame
    transcoder = AudioTranscoder(track, codec)
    first: list[Encoded] = []
    last: list[Encoded] = []
    for index in range(count):
        # In whole milliseconds, as RTMP has it.
        pts = round((rate + index * frame) * 1000 / rate) * rate // 1000
        out = transcoder.feed([AudioInput(pts, packets[5 + index % 40].data)])
        first, last = first or out, out or last
    last = transcoder.flush() or last
    length = last[-1].pts + last[-1].duration - first[0].pts
    assert abs(length - count * frame * RATE // rate) <= FRAME[codec]
    assert transcoder.counters.corrected == transcoder.counters.gaps == 0


@pytest.mark.parametrize("parts_per_million", [300, -300])
def test_a_clock_that_is_fast_or_slow_is_followed(parts_per_million):
    track, packets = coded(tone(60))
    drifting = [
        AudioInput(RATE + (p.pts - RATE) * (1_000_000 + parts_per_million) // 1_000_000, p.data)
        for p in packets
    ]
    transcoder = AudioTranscoder(track, Codec.OPUS)
    out = transcoded(transcoder, drifting)
    check_steps(out, Codec.OPUS)
    assert transcoder.counters.corrected > 0
    assert transcoder.counters.gaps == transcoder.counters.overlaps == 0
    end = drifting[-1].pts + 1024
    assert abs(out[-1].pts + out[-1].duration - end) < 3_000


@pytest.mark.parametrize(("encoder", "codec"), [("aac", Codec.OPUS), ("libopus", Codec.AAC)])
@pytest.mark.parametrize("lost", [1, 3, 40])
def test_lost_packets_become_silence_and_the_rest_stays_in_place(encoder, codec, lost):
    sound = bursts(6)
    track, packets = coded(sound, encoder)
    transcoder = AudioTranscoder(track, codec)
    out = transcoded(transcoder, packets[:100] + packets[100 + lost :])
    check_steps(out, codec)
    frame = packets[1].pts - packets[0].pts
    assert transcoder.counters.gaps == 1
    assert transcoder.counters.filled == pytest.approx(lost * frame, abs=60)
    at, heard = decoded(out, codec)
    later = 4 * RATE - at
    assert abs(offset_ms(sound[3 * RATE :], 4 * RATE, heard[0, later:], 4 * RATE)) <= 1


def test_a_longer_gap_begins_anew_at_the_right_time():
    track, packets = coded(tone(4))
    transcoder = AudioTranscoder(track, Codec.OPUS)
    later = [AudioInput(p.pts + 5 * RATE, p.data) for p in packets[80:]]
    out = transcoded(transcoder, packets[:80] + later)
    assert transcoder.counters.restarts == 1
    assert transcoder.counters.filled == 0
    times = [one.pts for one in out]
    assert times == sorted(times)
    assert later[0].pts in times
    # What was in the encoder came out before.
    end = max(pts for pts in times if pts < later[0].pts)
    assert abs(end - packets[79].pts) <= 2 * 1024


def test_packets_of_a_time_that_is_filled_already_are_left_out():
    track, packets = coded(tone(4))
    back = [AudioInput(p.pts - RATE, p.data) for p in packets[80:]]
    transcoder = AudioTranscoder(track, Codec.OPUS)
    out = transcoded(transcoder, packets[:80] + back)
    check_steps(out, Codec.OPUS)
    assert transcoder.counters.overlaps == pytest.approx(RATE // 1024, abs=1)


def test_stamps_that_jitter_wildly_make_neither_gaps_nor_silence_for_long():
    track, packets = coded(tone(20))
    rng = np.random.default_rng(5)
    shaken = [AudioInput(p.pts + int(rng.integers(-1_400, 1_400)), p.data) for p in packets]
    transcoder = AudioTranscoder(track, Codec.OPUS)
    out = transcoded(transcoder, shaken)
    check_steps(out, Codec.OPUS)
    assert transcoder.counters.gaps < 10
    assert abs(out[-1].pts - packets[-1].pts) < 4_096


def test_damaged_packets_are_counted_and_their_time_is_silent():
    track, packets = coded(tone(2))
    packets[50] = AudioInput(packets[50].pts, b"\xff" * 40)
    transcoder = AudioTranscoder(track, Codec.OPUS)
    out = transcoded(transcoder, packets)
    check_steps(out, Codec.OPUS)
    assert transcoder.counters.damaged == 1
    assert transcoder.counters.gaps == 1


def test_he_aac_comes_out_at_the_double_rate():
    # Backward compatible SBR is not made by FFmpeg's encoder: its core alone, told as HE-AAC, is
    # decoded at the double rate all the same.
    sound = bursts(4, 24_000)
    _, packets = coded(sound, rate=24_000, start=24_000)
    told = track_from_asc(bytes.fromhex("2b118800"))
    assert (told.profile, told.clock_rate) == ("HE-AAC", 48_000)
    doubled = [AudioInput(2 * pts, data) for pts, data in packets]
    out = transcoded(AudioTranscoder(told, Codec.OPUS), doubled)
    check_steps(out, Codec.OPUS)
    assert abs(out[-1].pts - doubled[-1].pts) < 4_096
    at, heard = decoded(out, Codec.OPUS)
    # The filter bank of SBR takes 20 ms, in every player.
    assert 0 <= offset_ms(bursts(4), RATE, heard[0], at) <= 25


def test_what_cannot_be_decoded_is_refused():
    with pytest.raises(RemoteProtocolError):
        AudioDecoder(Track(Codec.AAC, 48_000, b"\xff\xff\xff\xff"))
    with pytest.raises(LocalProtocolError):
        AudioDecoder(Track(Codec.H264, 90_000, b""))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["aac", "libopus"]),
    st.lists(
        st.tuples(st.integers(-60_000, 60_000), st.binary(min_size=1, max_size=200)), max_size=30
    ),
)
def test_whatever_a_publisher_sends_time_only_goes_forward(encoder, pieces):
    track, _ = coded(tone(0.1), encoder)
    codec = Codec.OPUS if encoder == "aac" else Codec.AAC
    transcoder = AudioTranscoder(track, codec)
    at, out = RATE, []
    for step, data in pieces:
        at = max(0, at + step)
        out += transcoder.feed([AudioInput(at, data)])
    out += transcoder.flush()
    times = [one.pts for one in out]
    assert times == sorted(set(times))
