import numpy as np

from streamserver.ffmpeg.testsource_sound import BEEP_MS, SAMPLE_RATE, TestSound


def loudness(samples):
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_the_beep_begins_with_the_first_sample_of_a_second():
    sound = TestSound()
    before = loudness(sound.samples(7 * SAMPLE_RATE - 960, 960))
    beep = loudness(sound.samples(7 * SAMPLE_RATE, SAMPLE_RATE * BEEP_MS // 1000))
    after = loudness(sound.samples(7 * SAMPLE_RATE + SAMPLE_RATE * BEEP_MS // 1000, 960))
    assert beep > 3 * before
    assert beep > 3 * after


def test_pieces_join_without_a_seam():
    sound = TestSound()
    begin = 3 * SAMPLE_RATE - 5000
    whole = sound.samples(begin, 10 * 1024)
    pieces = [sound.samples(begin + 1024 * i, 1024) for i in range(10)]
    assert np.array_equal(whole, np.concatenate(pieces, axis=1))
    quiet = sound.samples(SAMPLE_RATE - 2000, 2001)
    assert np.abs(np.diff(quiet)).max() < 0.01


def test_it_is_gentle():
    second = TestSound().samples(0, SAMPLE_RATE)
    assert second.shape == (2, SAMPLE_RATE)
    assert np.abs(second).max() < 0.25
