import numpy as np
import pytest

from streamserver.ffmpeg.testsource_font import ADVANCE, HEIGHT, Font
from streamserver.ffmpeg.testsource_picture import Planes, TestPicture

EPOCH = 1_800_000_000


def canvas(width=640, height=360):
    half = (height // 2, width // 2)
    return Planes(
        np.zeros((height, width), np.uint8), np.zeros(half, np.uint8), np.zeros(half, np.uint8)
    )


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (854, 480), (1280, 720), (720, 1280)])
@pytest.mark.parametrize("fps", [25, 60])
def test_every_size_shows_the_time_of_its_frame(size, fps):
    planes = canvas(*size)
    picture = TestPicture(planes, fps)
    for number in (EPOCH * fps, EPOCH * fps + 7, (EPOCH + 86_400) * fps - 1):
        picture.draw(number)
        assert picture.clock.read(planes.luma) == number * 1000 // fps


def test_samples_stay_within_the_limited_range():
    planes = canvas()
    picture = TestPicture(planes, 30)
    for number in range(EPOCH * 30, EPOCH * 30 + 60):
        picture.draw(number)
        assert planes.luma.min() >= 16
        assert planes.luma.max() <= 235


def test_two_seconds_later_only_clock_and_waves_differ():
    planes = canvas()
    picture = TestPicture(planes, 30)
    picture.draw(EPOCH * 30)
    before = planes.red.copy()
    for number in range(1, 61):
        picture.draw(EPOCH * 30 + number)
    # The moving parts are the only coloured ones that change, and they are back where they were.
    assert np.array_equal(before, planes.red)


def test_the_lamp_burns_in_the_first_tenth_of_a_second():
    planes = canvas()
    picture = TestPicture(planes, 30)
    seen = []
    for part in range(30):
        picture.draw(EPOCH * 30 + part)
        plate = planes.red[50:100, 320 * 3 // 4 :]
        seen.append(plate.tobytes())
    assert seen[0] == seen[1] == seen[2]
    assert seen[3:] == [seen[3]] * 27
    assert seen[2] != seen[3]


def test_the_knob_crosses_the_middle_at_each_full_second():
    planes = canvas()
    picture = TestPicture(planes, 30)
    for second in range(3):
        picture.draw((EPOCH + second) * 30)
        rail = planes.red[int(360 * 0.79) // 2 + 1]
        knob = np.flatnonzero(rail > 180)
        assert abs(int(knob.mean()) * 2 - 320) <= 4


@pytest.mark.parametrize("scale", [1, 2, 3, 13])
def test_a_line_of_text_has_the_size_that_the_font_says(scale):
    font = Font(scale)
    line = font.line("UTC 12:34")
    assert line.shape == (HEIGHT * scale, font.width("UTC 12:34"))
    assert line.max() > 200
    assert not line[:, -scale * (ADVANCE - 5) :].max() > 128


def test_a_character_that_the_font_lacks_is_a_fault_of_ours():
    with pytest.raises(KeyError):
        Font(1).line("é")
