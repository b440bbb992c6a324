"""FLV bodies: what real encoders send, every form of enhanced RTMP, and nonsense."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import (
    AudioConfig,
    AudioEnd,
    AudioFrame,
    ChannelConfig,
    ColorInfo,
    FrameType,
    Ignored,
    VideoConfig,
    VideoEnd,
    VideoFrame,
    parse_audio,
    parse_tag,
    parse_video,
)
from streamserver.media.track import Codec, Kind
from tests.media_factory import encode, tags


def _video(body: str):
    items = parse_video(bytes.fromhex(body))
    assert len(items) == 1
    return items[0]


def _audio(body: str):
    items = parse_audio(bytes.fromhex(body))
    assert len(items) == 1
    return items[0]


# FourCCs in hexadecimal.
AVC1, HVC1, AV01, VP09, VP08, VVC1 = (
    "61766331", "68766331", "61763031", "76703039", "76703038", "76766331",
)  # fmt: skip
MP4A, OPUS, FLAC, AC3, MP3 = "6d703461", "4f707573", "664c6143", "61632d33", "2e6d7033"


class TestLegacyVideo:
    def test_an_avc_sequence_header(self):
        assert _video("1700000000 0164") == VideoConfig(Codec.H264, b"\x01\x64")

    def test_a_keyframe_and_an_inter_frame(self):
        assert _video("1701000050 aabb") == VideoFrame(Codec.H264, b"\xaa\xbb", 80, FrameType.KEY)
        assert _video("2701000000 cc") == VideoFrame(Codec.H264, b"\xcc", 0, FrameType.INTER)

    def test_a_negative_composition_time(self):
        assert _video("2701ffffdf cc").composition_ms == -33
        assert _video("2701800000 cc").composition_ms == -(1 << 23)

    def test_the_end_of_sequence_of_ffmpeg(self):
        assert _video("1702000000") == VideoEnd(Codec.H264)

    @pytest.mark.parametrize(("number", "codec"), [("c", Codec.H265), ("d", Codec.AV1)])
    def test_the_numbers_of_chinese_networks(self, number, codec):
        assert _video(f"1{number}00000000 01") == VideoConfig(codec, b"\x01")
        frame = _video(f"2{number}01000021 aa")
        assert frame == VideoFrame(codec, b"\xaa", 33, FrameType.INTER)

    def test_disposable_and_generated_frames(self):
        assert _video("3701000000 cc").frame_type is FrameType.DISPOSABLE
        assert _video("4701000000 cc").frame_type is FrameType.GENERATED_KEY
        assert _video("6701000000 cc").frame_type is FrameType.INTER

    @pytest.mark.parametrize("body", ["5700", "5701", "52"])
    def test_seek_commands_are_ignored(self, body):
        assert _video(body) == Ignored("seek command")

    @pytest.mark.parametrize(("body", "name"), [("2200", "Sorenson H.263"), ("1400", "VP6")])
    def test_old_codecs_are_ignored_by_name(self, body, name):
        assert _video(body) == Ignored(f"codec {name} is not supported")

    def test_an_unknown_packet_type_and_empty_messages_are_ignored(self):
        assert _video("1703000000 aa") == Ignored("unknown packet type")
        assert _video("1701000000") == Ignored("empty message")
        assert _video("") == Ignored("empty message")

    @pytest.mark.parametrize("body", ["17", "1701", "27010000"])
    def test_a_header_cut_short_is_damage(self, body):
        with pytest.raises(DamagedFrameError):
            _video(body)


class TestEnhancedVideo:
    def test_the_captured_hevc_of_ffmpeg(self):
        assert _video(f"90 {HVC1} 0101") == VideoConfig(Codec.H265, b"\x01\x01")
        key = _video(f"91 {HVC1} 000050 aa")
        assert key == VideoFrame(Codec.H265, b"\xaa", 80, FrameType.KEY)
        assert _video(f"a1 {HVC1} ffffff bb").composition_ms == -1
        inter = _video(f"a3 {HVC1} cc")
        assert inter == VideoFrame(Codec.H265, b"\xcc", 0, FrameType.INTER)

    def test_the_captured_av1_of_ffmpeg_has_no_composition_time(self):
        assert _video(f"90 {AV01} 81000c00") == VideoConfig(Codec.AV1, b"\x81\x00\x0c\x00")
        key = _video(f"91 {AV01} 1200aa")
        assert key == VideoFrame(Codec.AV1, b"\x12\x00\xaa", 0, FrameType.KEY)

    @pytest.mark.parametrize(("four_cc", "codec"), [(VP09, Codec.VP9), (VP08, Codec.VP8)])
    def test_vp8_and_vp9_have_no_composition_time(self, four_cc, codec):
        assert _video(f"a1 {four_cc} 010203") == VideoFrame(
            codec, b"\x01\x02\x03", 0, FrameType.INTER
        )

    def test_avc_with_both_kinds_of_frames(self):
        assert _video(f"91 {AVC1} 000010 aa").composition_ms == 16
        assert _video(f"a3 {AVC1} aa").data == b"\xaa"

    def test_the_end_of_a_sequence(self):
        assert _video(f"92 {HVC1}") == VideoEnd(Codec.H265)

    @pytest.mark.parametrize("first", ["d4", "94", "a4"])
    def test_metadata_is_metadata_with_any_frame_type(self, first):
        payload = "020009636f6c6f72496e666f06"
        item = _video(f"{first} {HVC1} {payload}")
        assert item == ColorInfo(Codec.H265, bytes.fromhex(payload))

    def test_a_command_has_no_codec(self):
        assert _video("d000") == Ignored("seek command")

    def test_an_mpeg2ts_sequence_start_is_ignored(self):
        assert _video(f"95 {AV01} 8000") == Ignored("MPEG-2 TS sequence start")

    def test_unknown_codecs_and_packet_types_are_ignored(self):
        assert _video(f"90 {VVC1} 01") == Ignored("codec vvc1 is not supported")
        assert _video("91 0a0d0041 01") == Ignored("codec of an unknown name is not supported")
        assert _video(f"9f {HVC1} 01") == Ignored("unknown packet type")
        assert _video(f"91 {HVC1} 000000") == Ignored("empty message")

    @pytest.mark.parametrize("body", ["90", "90687663", f"91{HVC1}0000"])
    def test_a_header_cut_short_is_damage(self, body):
        with pytest.raises(DamagedFrameError):
            _video(body)


class TestModifiers:
    def test_the_example_of_a_nanosecond_offset(self):
        # 100 ns before a coded frame: size - 1, data, then type and next packet type.
        assert _audio(f"97 02 000064 01 {MP4A} aa") == AudioFrame(Codec.AAC, b"\xaa", 100)
        frame = _video(f"97 02 0f423f 01 {AVC1} 000000 aa")
        assert frame == VideoFrame(Codec.H264, b"\xaa", 0, FrameType.KEY, 999_999)

    def test_more_than_a_millisecond_counts_as_the_largest(self):
        assert _audio(f"97 02 ffffff 01 {MP4A} aa").nanos == 999_999

    def test_modifiers_follow_each_other(self):
        assert _audio(f"97 02 000005 07 00 ff 11 {OPUS} fc").nanos == 5

    def test_a_modifier_of_256_bytes_and_more_has_a_longer_size(self):
        body = f"97 ff 012b {'00' * 300} 11 {OPUS} fc"
        assert _audio(body) == AudioFrame(Codec.OPUS, b"\xfc")

    def test_unknown_modifiers_are_passed_over(self):
        assert _audio(f"97 02 000005 f1 {OPUS} fc").nanos == 0

    def test_a_modified_multitrack_message(self):
        body = f"97 02 000007 05 01 {OPUS} 00 fc"
        assert _audio(body) == AudioFrame(Codec.OPUS, b"\xfc", 7)

    @pytest.mark.parametrize("body", ["97", "9702", "97020000", "9702000064", "97ff00"])
    def test_a_modifier_cut_short_is_damage(self, body):
        with pytest.raises(DamagedFrameError):
            _audio(body)

    def test_an_endless_chain_is_damage(self):
        with pytest.raises(DamagedFrameError, match="too many"):
            parse_video(b"\x97" + b"\x00\x00\x07" * 10_000)


class TestMultitrack:
    def test_the_captured_second_track_of_obs_is_ignored(self):
        assert _video(f"96 00 {AVC1} 01 0164") == Ignored("video track 1")
        assert _video(f"96 03 {AVC1} 01 aa") == Ignored("video track 1")
        assert _video(f"a6 01 {AVC1} 01 000010 aa") == Ignored("video track 1")
        assert _audio(f"95 01 {OPUS} 01 fc") == Ignored("audio track 1")

    def test_track_0_is_the_stream(self):
        frame = _video(f"a6 01 {AVC1} 00 000010 aa")
        assert frame == VideoFrame(Codec.H264, b"\xaa", 16, FrameType.INTER)
        assert _audio(f"95 00 {OPUS} 00 01") == AudioConfig(Codec.OPUS, b"\x01")

    def test_many_tracks_of_one_codec(self):
        body = f"96 13 {HVC1} 00 000002 aabb 02 000001 cc"
        assert parse_video(bytes.fromhex(body)) == (
            VideoFrame(Codec.H265, b"\xaa\xbb", 0, FrameType.KEY),
            Ignored("video track 2"),
        )

    def test_many_tracks_of_many_codecs(self):
        body = f"95 21 {FLAC} 00 000001 aa {MP4A} 01 000001 bb {OPUS} 00 000001 fc"
        assert parse_audio(bytes.fromhex(body)) == (
            Ignored("codec fLaC is not supported"),
            Ignored("audio track 1"),
            AudioFrame(Codec.OPUS, b"\xfc"),
        )

    def test_a_message_without_tracks_is_empty(self):
        assert _video(f"96 03 {AVC1}") == Ignored("empty message")

    @pytest.mark.parametrize(
        "body",
        [
            "96", f"9606{AVC1}00", f"9607{AVC1}00", f"9631{AVC1}00", f"9613{AVC1}000000",
            f"9613{AVC1}00000005aa", "9623",
        ],
    )  # fmt: skip
    def test_nested_and_cut_messages_are_damage(self, body):
        if body == "9623":
            assert _video(body) == Ignored("empty message")
            return
        with pytest.raises(DamagedFrameError):
            _video(body)


class TestAudio:
    def test_aac(self):
        assert _audio("af00 1190") == AudioConfig(Codec.AAC, b"\x11\x90")
        assert _audio("af01 21") == AudioFrame(Codec.AAC, b"\x21")

    def test_mp3_at_any_rate(self):
        assert _audio("2f fffb90") == AudioFrame(Codec.MP3, b"\xff\xfb\x90")
        assert _audio("ee fff3") == AudioFrame(Codec.MP3, b"\xff\xf3")

    def test_opus_in_its_private_form(self):
        assert _audio("df01 fc") == AudioFrame(Codec.OPUS, b"\xfc")
        assert _audio("df00") == AudioConfig(Codec.OPUS, b"")

    @pytest.mark.parametrize("body", ["", "af", "af01", "2f", f"91{OPUS}"])
    def test_a_message_without_sound_is_no_error(self, body):
        assert _audio(body) == Ignored("empty message")

    @pytest.mark.parametrize(
        ("body", "name"), [("7255", "G.711 A-law"), ("8255", "G.711 mu-law"), ("b255", "Speex")]
    )
    def test_old_codecs_are_ignored_by_name(self, body, name):
        assert _audio(body) == Ignored(f"codec {name} is not supported")

    def test_enhanced_opus_with_and_without_header(self):
        assert _audio(f"90 {OPUS}") == AudioConfig(Codec.OPUS, b"")
        assert _audio(f"90 {OPUS} 4f70") == AudioConfig(Codec.OPUS, b"Op")
        assert _audio(f"91 {OPUS} fc") == AudioFrame(Codec.OPUS, b"\xfc")
        assert _audio(f"92 {OPUS}") == AudioEnd(Codec.OPUS)

    def test_enhanced_aac_and_mp3(self):
        assert _audio(f"90 {MP4A} 1190") == AudioConfig(Codec.AAC, b"\x11\x90")
        assert _audio(f"91 {MP3} fffb") == AudioFrame(Codec.MP3, b"\xff\xfb")

    @pytest.mark.parametrize(("four_cc", "name"), [(FLAC, "fLaC"), (AC3, "ac-3")])
    def test_unsupported_codecs_are_ignored_by_name(self, four_cc, name):
        assert _audio(f"90 {four_cc} 12") == Ignored(f"codec {name} is not supported")

    def test_the_captured_channel_configuration(self):
        item = _audio(f"94 {OPUS} 01 02 00000003")
        assert item == ChannelConfig(Codec.OPUS, 2, 3)
        assert _audio(f"94 {OPUS} 02 03 000102") == ChannelConfig(Codec.OPUS, 3)
        with pytest.raises(DamagedFrameError):
            _audio(f"94 {OPUS} 01")

    def test_unknown_packet_types_are_ignored(self):
        assert _audio(f"93 {OPUS} 00") == Ignored("unknown packet type")
        assert _audio("af02 00") == Ignored("unknown packet type")


@pytest.mark.parametrize(
    ("video", "audio", "codecs"),
    [
        ("libx264", "aac", {Codec.H264, Codec.AAC}),
        ("libx265", "aac", {Codec.H265, Codec.AAC}),
        ("libsvtav1", "libopus", {Codec.AV1, Codec.OPUS}),
        ("libvpx-vp9", "libmp3lame", {Codec.VP9, Codec.MP3}),
    ],
)
def test_all_that_ffmpeg_writes_is_understood(video, audio, codecs):
    data = encode(video=video, audio=audio, seconds=0.4, size=(64, 64), sample_rate=44_100
                  if audio == "libmp3lame" else 48_000)  # fmt: skip
    items = [item for tag in tags(data) for item in parse_tag(_kind(tag.kind), tag.body)]
    frames = [item for item in items if isinstance(item, VideoFrame | AudioFrame)]
    assert {frame.codec for frame in frames} == codecs
    assert sum(isinstance(frame, VideoFrame) for frame in frames) == 12
    assert not [item for item in items if isinstance(item, Ignored)]


def _kind(kind):
    return Kind.VIDEO if kind is Kind.VIDEO else Kind.AUDIO


@given(st.sampled_from([Kind.AUDIO, Kind.VIDEO]), st.binary(max_size=64))
def test_random_bytes_raise_only_damage(kind, body):
    for attempt in (body, b"\x97" + body, b"\x96" + body, b"\x95" + body):
        with contextlib.suppress(DamagedFrameError):
            assert parse_tag(kind, attempt)
