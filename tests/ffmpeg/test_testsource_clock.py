import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.ffmpeg.testsource_clock import TIME_BITS, BlockClock, checksum

SIZES = [(320, 180), (640, 360), (1280, 720), (1920, 1080)]


@given(st.sampled_from(SIZES), st.integers(0, 2**TIME_BITS - 1))
def test_a_drawn_time_is_read_back(size, unix_ms):
    luma = np.full((size[1], size[0]), 90, np.uint8)
    clock = BlockClock.for_picture(*size)
    clock.draw(luma, unix_ms)
    assert clock.read(luma) == unix_ms


@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
def test_a_picture_of_one_colour_shows_no_time(level):
    clock = BlockClock.for_picture(640, 360)
    assert clock.read(np.full((360, 640), level, np.uint8)) is None


@given(st.integers(0, 2**TIME_BITS - 1), st.integers(0, TIME_BITS - 1))
def test_one_wrong_bit_is_noticed(unix_ms, bit):
    assert checksum(unix_ms) != checksum(unix_ms ^ 1 << bit)


@pytest.mark.parametrize("size", SIZES)
def test_the_row_lies_within_the_picture_on_even_pixels(size):
    clock = BlockClock.for_picture(*size)
    numbers = (clock.left, clock.top, clock.block)
    assert all(number % 2 == 0 and number >= 0 for number in numbers)
    assert clock.left + clock.blocks * clock.block <= size[0]
    assert clock.top + clock.block <= size[1]
    assert clock.geometry()["blocks"] == 2 + clock.time_bits + clock.check_bits + 2
