"""The text of playlists, and that it keeps the rules while minutes pass."""

from fractions import Fraction
from random import Random

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.media.track import VIDEO_CLOCK, Codec, Colour, Track
from streamserver.outputs.hls.playlist import multivariant, near_playlist
from streamserver.outputs.hls.settings import HlsSettings
from tests.outputs.hls.helpers_hls import FIRST_MSN, DeliveryRig, Read, tracks_of
from tests.outputs.hls.helpers_rules import Rules


def test_a_playlist_reads_as_the_checklist_wants():
    rig = DeliveryRig()
    rig.ready(segments=1, parts=2)
    token = rig.delivery.window.token
    m = FIRST_MSN
    parts = "".join(
        f'#EXT-X-PART:DURATION=0.33333,URI="../../{token}/{m}.{i}.m4s"'
        f"{',INDEPENDENT=YES' if i == 0 else ''}\n"
        for i in range(6)
    )
    assert rig.text() == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.000\n"
        "#EXT-X-PART-INF:PART-TARGET=0.334\n"
        f"#EXT-X-MEDIA-SEQUENCE:{m}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        f'#EXT-X-MAP:URI="../../{token}/init0.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n"
        f"{parts}#EXTINF:2.00000,\n../../{token}/{m}.m4s\n"
        "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02.000Z\n"
        f'#EXT-X-PART:DURATION=0.33333,URI="../../{token}/{m + 1}.0.m4s",INDEPENDENT=YES\n'
        f'#EXT-X-PART:DURATION=0.33333,URI="../../{token}/{m + 1}.1.m4s"\n'
        f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="../../{token}/{m + 1}.2.m4s"\n'
    )


def test_five_minutes_with_discontinuities_keep_every_rule_at_every_part():
    rig = DeliveryRig()
    random = Random(1)
    rules = Rules(rig.fetch)
    rig.ready(segments=1)
    rules.check(rig.text())
    for number in range(150):
        if number % 23 == 11:
            rig.make.new_epoch()
        for _ in range(random.choice([1, 3, 5, 6, 6, 6, 6])):
            rig.make.part(30_000 - random.randrange(2_000))
            rig.run()
            rules.check(rig.text())
        if number % 7 == 3:
            # A group longer than the target duration: the next one begins without a keyframe.
            rig.make.end()
            rig.make.part(independent=False)
        rig.make.end()
        rig.run()
        rules.check(rig.text())
        if number == 80:
            rig.delivery.window.rotate_token()
    rig.delivery.end()
    rules.check(rig.text())
    assert rules.checked > 700
    assert rules.before is not None
    assert rules.before.discontinuity_sequence > 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("part"), st.integers(1, 30_060), st.booleans()),
            st.tuples(st.just("end"), st.just(0), st.just(False)),
            st.tuples(st.just("epoch"), st.just(0), st.just(False)),
            st.tuples(st.just("rotate"), st.just(0), st.just(False)),
            st.tuples(st.just("render"), st.just(0), st.just(False)),
        ),
        max_size=120,
    )
)
def test_any_order_of_events_keeps_every_rule(events):
    rig = DeliveryRig(HlsSettings(window_ms=4_000))
    rig.ready()
    rules = Rules(rig.fetch)
    for event, ticks, independent in events:
        match event:
            case "part" if rig.make.segment_ticks + ticks <= 200_000:
                rig.make.part(ticks, independent=independent)
            case "end" if rig.make.index:
                rig.make.end()
            case "epoch":
                rig.make.new_epoch()
            case "rotate":
                rig.delivery.window.rotate_token()
            case "render":
                rig.run()
                rules.check(rig.text())
    rig.run()
    rules.check(rig.text())


def test_what_left_the_window_can_be_fetched_for_three_more_target_durations():
    rig = DeliveryRig(HlsSettings(window_ms=8_000))
    rig.ready(segments=5)
    read = Read(rig.text())
    uri, part = read.segments[0].uri, read.segments[-1].parts[0]["URI"]
    rig.make.segment()
    rig.run()
    assert uri not in Read(rig.text()).uris
    for _ in range(2):
        rig.make.segment()
        rig.run()
        assert rig.fetch(uri)
    rig.make.segment()
    rig.run()
    assert rig.fetch(uri) is None
    # Parts: listed for three target durations, to be had for three more.
    assert rig.fetch(part)
    for _ in range(3):
        rig.make.segment()
    rig.run()
    assert rig.fetch(part) is None


def test_independent_segments_is_promised_only_while_it_is_true():
    rig = DeliveryRig(HlsSettings(window_ms=8_000))
    rig.ready(segments=2)
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in Read(rig.text()).tags
    rig.make.part(independent=False)
    rig.run()
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in Read(rig.text()).tags
    rig.make.end()
    for _ in range(8):
        rig.make.segment()
    rig.run()
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in Read(rig.text()).tags


def test_after_a_discontinuity_the_segment_says_so_and_names_its_own_init():
    rig = DeliveryRig()
    rig.ready(segments=2)
    rig.make.new_epoch()
    rig.make.part()
    rig.run()
    growing = Read(rig.text()).growing
    assert growing is not None
    assert growing.discontinuity
    assert growing.map_uri is not None
    assert growing.map_uri.endswith("/init1.mp4")
    assert rig.fetch(growing.map_uri)


def test_an_init_leaves_with_the_last_segment_that_needs_it():
    rig = DeliveryRig()
    rig.ready(segments=2)
    first = Read(rig.text()).segments[0].map_uri
    assert first is not None
    rig.make.new_epoch()
    for _ in range(30):
        rig.make.segment()
        rig.run()
        if any(s.map_uri == first for s in Read(rig.text()).segments):
            assert rig.fetch(first)
    assert rig.fetch(first) is None


def test_the_end_is_said_and_the_growing_segment_is_completed():
    rig = DeliveryRig()
    rig.ready(segments=2, parts=2)
    rig.delivery.end()
    read = Read(rig.text())
    assert read.ended
    assert read.growing is None
    assert len(read.segments) == 3
    assert not read.hints


def test_a_playlist_is_rendered_once_however_many_ask():
    rig = DeliveryRig()
    rig.ready()
    assert rig.ask() is rig.ask("_HLS_msn=1")
    before = rig.ask()
    rig.make.part()
    rig.run()
    assert rig.ask() is not before


def test_the_window_of_a_long_target_duration_lists_at_least_four_of_them():
    rig = DeliveryRig()
    rig.make.target(10, 334)
    for _ in range(9):
        rig.make.segment(parts=25)
    rig.run()
    read = Read(rig.text())
    assert sum(Fraction(segment.duration) for segment in read.segments) >= 40


def test_multivariant_lists_rates_codecs_size_and_frame_rate():
    video = Track(
        Codec.H265,
        VIDEO_CLOCK,
        b"",
        codec_string="hvc1.1.6.L63.90",
        width=1920,
        height=1080,
        frame_rate=Fraction(30_000, 1001),
        colour=Colour(9, 16, 9, full_range=False),
    )
    audio = Track(Codec.OPUS, 48_000, b"", codec_string="opus")
    text = multivariant(
        (video, audio), peak_bit_rate=3_000_000, average_bit_rate=2_500_000, uri="u", version=9
    )
    info = m3u8.loads(text).playlists[0].stream_info
    assert info.bandwidth == 3_000_000
    assert info.average_bandwidth == 2_500_000
    assert info.codecs == "hvc1.1.6.L63.90,opus"
    assert info.resolution == (1920, 1080)
    assert info.frame_rate == pytest.approx(29.970)
    assert info.video_range == "PQ"


def test_multivariant_of_audio_only_has_no_picture():
    audio = tracks_of(0)[1:]
    text = multivariant(audio, peak_bit_rate=128_000, average_bit_rate=128_000, uri="u", version=9)
    assert "RESOLUTION" not in text
    assert "FRAME-RATE" not in text
    assert 'CODECS="mp4a.40.2"' in text


def test_multivariant_names_all_codecs_or_none():
    unknown = Track(Codec.MP3, 44_100, b"")
    text = multivariant(
        (*tracks_of(0), unknown), peak_bit_rate=1, average_bit_rate=1, uri="u", version=9
    )
    assert "CODECS" not in text


def test_bandwidth_is_never_zero():
    text = multivariant((), peak_bit_rate=0, average_bit_rate=0, uri="u", version=3)
    assert m3u8.loads(text).playlists[0].stream_info.bandwidth >= 1


def test_bandwidth_is_the_peak_and_a_lone_short_segment_is_no_measure():
    rig = DeliveryRig()
    rig.ready(segments=2)
    assert rig.delivery.window.peak_bit_rate == 6 * 1_000 * 8 // 2
    rig.make.part_bytes = 100_000
    rig.make.segment(parts=1, ticks=3_000)
    rig.run()
    assert rig.delivery.window.peak_bit_rate == 6 * 1_000 * 8 // 2
    rig.make.segment()
    rig.run()
    assert rig.delivery.window.peak_bit_rate == 6 * 100_000 * 8 // 2


def test_near_the_end_only_three_target_durations_of_whole_segments_are_listed():
    rig = DeliveryRig()
    rig.ready(segments=6, parts=2)
    text = near_playlist(rig.delivery.window, wall_origin_ms=0, prefix="../../")
    near = m3u8.loads(text)
    assert [round(segment.duration, 2) for segment in near.segments] == [2, 2, 2]
    assert near.media_sequence == FIRST_MSN + 3
    assert near.segments[0].init_section.uri.endswith("init0.mp4")
    assert "PART" not in text
    for segment in near.segments:
        assert rig.fetch(segment.uri)
    rig.delivery.end()
    assert rig.delivery.near_playlist().body.endswith(b"#EXT-X-ENDLIST\n")


def test_a_young_stream_lists_near_the_end_what_there_is():
    rig = DeliveryRig()
    rig.ready(segments=1)
    near = m3u8.loads(near_playlist(rig.delivery.window, wall_origin_ms=0, prefix=""))
    assert len(near.segments) == 1
