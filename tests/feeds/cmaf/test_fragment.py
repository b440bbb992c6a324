"""The bytes of a part."""

from streamserver.feeds.cmaf.fragment import NON_SYNC, SYNC, AudioRun, VideoRun, fragment
from tests.feeds.cmaf.helpers_stream import Sample, boxes, samples_of

VIDEO = VideoRun(1, 1 << 33, [3_000, 3, SYNC, 6_000, 2_970, 2, NON_SYNC, -90], [b"abc", b"de"])


def test_both_tracks_share_one_moof_and_one_mdat():
    data = b"".join(fragment(7, VIDEO, AudioRun(2, 5, [1_024, 1_024], [b"x", b"yz"])))
    assert [kind for kind, _ in boxes(data)] == [b"moof", b"mdat"]
    assert [kind for kind, _ in boxes(boxes(data)[0][1])] == [b"mfhd", b"traf", b"traf"]
    assert samples_of(data) == [
        Sample(1, 1 << 33, (1 << 33) + 6_000, 3_000, True, b"abc"),
        Sample(1, (1 << 33) + 3_000, (1 << 33) + 2_910, 2_970, False, b"de"),
        Sample(2, 5, 5, 1_024, True, b"x"),
        Sample(2, 1_029, 1_029, 1_024, True, b"yz"),
    ]


def test_audio_of_uneven_lengths_writes_each_of_them():
    data = b"".join(fragment(7, None, AudioRun(1, 5, [960, 480, 960], [b"x", b"yz", b""])))
    assert [(s.dts, s.duration, s.data) for s in samples_of(data)] == [
        (5, 960, b"x"),
        (965, 480, b"yz"),
        (1_445, 960, b""),
    ]


def test_video_alone_needs_no_second_track():
    assert len(samples_of(b"".join(fragment(1, VIDEO, None)))) == 2


def test_the_sequence_number_is_in_the_header_and_wraps_at_32_bits():
    for number in (1, 0xFFFF_FFFF, (1 << 32) + 5):
        header = boxes(boxes(b"".join(fragment(number, VIDEO, None)))[0][1])[0][1]
        assert int.from_bytes(header[4:]) == number & 0xFFFF_FFFF
