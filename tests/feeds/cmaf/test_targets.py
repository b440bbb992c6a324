"""The two promises, from numbers alone."""

import pytest

from streamserver.feeds.cmaf.targets import part_target, target_duration

SECOND = 90_000


@pytest.mark.parametrize(
    ("gop_ms", "segment_ms", "seconds"),
    [
        (33, 2_000, 2),
        (500, 2_000, 2),
        (1_000, 2_000, 2),
        (1_900, 2_000, 2),
        (1_985, 2_000, 2),
        (2_000, 2_000, 2),
        (2_002, 2_000, 2),
        (2_400, 2_000, 2),
        (2_500, 2_000, 3),
        (1_500, 2_000, 3),
        (3_000, 2_000, 3),
        (4_000, 2_000, 4),
        (8_333, 2_000, 8),
        (30_000, 2_000, 10),
        (1_000, 1_000, 2),
        (2_000, 6_000, 6),
        (4_000, 6_000, 8),
    ],
)
def test_a_target_is_the_groups_that_reach_a_segment_within_two_and_ten_seconds(
    gop_ms, segment_ms, seconds
):
    assert target_duration(gop_ms * 90, segment_ms * 90) == seconds


@pytest.mark.parametrize(
    ("interval", "part_ms", "target_ms"),
    [
        (3_000, 333, 344),
        (3_000, 200, 210),
        (3_000, 500, 510),
        (1_500, 333, 344),
        (3_600, 333, 330),
        (9_000, 333, 310),
        (45_000, 333, 510),
        (3_750, 333, 344),
    ],
)
def test_a_part_target_is_whole_frames_and_ten_milliseconds(interval, part_ms, target_ms):
    assert part_target(interval, part_ms * 90) == target_ms
