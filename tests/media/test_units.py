"""Access units: what is taken away, what is found out, and what is left alone."""

import contextlib
import io
from itertools import pairwise
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media import av1, h264, h265
from streamserver.media.errors import DamagedFrameError
from streamserver.media.flv import VideoConfig, VideoFrame, parse_video
from streamserver.media.nal import join_nals, split_prefixed
from streamserver.media.opus import OpusHead
from streamserver.media.track import Codec, Kind
from streamserver.media.unit_kinds import LONE_KEY
from streamserver.media.units import AccessUnit, make_reader, make_track
from tests import media_factory
from tests.media.helpers_reference import video_sample
from tests.media_factory import encode, tags

IDR, SLICE, AUD = b"\x65\x88\x84\x00\x33", b"\x41\x9a\x21\x6c", b"\x09\xf0"
RECOVERY_NOW, RECOVERY_LATER = bytes.fromhex("0606018480"), bytes.fromhex("060602224080")


def _sets(codec: str, config: bytes) -> list[bytes]:
    if codec == "libx264":
        return list(h264.AvcConfig.parse(config).sets.values())
    return list(h265.HevcConfig.parse(config).sets.values())


@pytest.fixture(scope="module")
def avcc() -> bytes:
    return video_sample("libx264").config


@pytest.fixture(scope="module")
def other_avcc() -> bytes:
    return video_sample("libx264", "yuv420p", 426, 238).config


@pytest.fixture(scope="module")
def hvcc() -> bytes:
    return video_sample("libx265").config


@pytest.fixture(scope="module")
def av1c() -> bytes:
    return video_sample("libsvtav1", "yuv420p", 64, 64).config


class TestH264:
    def test_a_clean_unit_is_the_same_object(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        for nals, keyframe in (([SLICE, SLICE], False), ([b"\x06\x05\x01\xaa\x80", IDR], True)):
            data = join_nals(nals)
            unit = reader.read(data, key_hint=keyframe)
            assert unit is not None
            assert unit.data is data
            assert unit.keyframe is keyframe
            assert unit.config is None
            assert unit.duration == 0

    def test_the_container_does_not_decide_what_is_a_keyframe(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        lying, modest = (
            reader.read(join_nals([SLICE]), key_hint=True),
            reader.read(join_nals([IDR])),
        )
        assert lying is not None
        assert modest is not None
        assert not lying.keyframe
        assert modest.keyframe

    def test_parameter_sets_and_delimiters_are_taken_out(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        unit = reader.read(join_nals([AUD, *_sets("libx264", avcc), IDR, SLICE]))
        assert unit is not None
        assert unit.data == join_nals([IDR, SLICE])
        assert unit.keyframe
        assert unit.config is None

    def test_start_codes_become_lengths(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        codes = b"\x00\x00\x00\x01" + AUD + b"\x00\x00\x01" + IDR + b"\x00\x00\x00\x01" + SLICE
        unit = reader.read(codes)
        assert unit is not None
        assert unit.data == join_nals([IDR, SLICE])
        assert unit.keyframe

    def test_a_length_that_looks_like_a_start_code_is_a_length(self, avcc):
        long = b"\x41" + b"\x9a" * 0x167  # 00 00 01 68
        data = join_nals([long])
        assert data.startswith(b"\x00\x00\x01")
        unit = make_reader(Codec.H264, avcc).read(data)
        assert unit is not None
        assert unit.data is data

    @pytest.mark.parametrize("size", [1, 2])
    def test_short_lengths_become_four_bytes(self, avcc, size):
        short = bytearray(avcc)
        short[4] = 0xFC | size - 1
        reader = make_reader(Codec.H264, bytes(short))
        data = b"".join(len(nal).to_bytes(size) + nal for nal in (AUD, IDR, SLICE))
        unit = reader.read(data)
        assert unit is not None
        assert unit.data == join_nals([IDR, SLICE])

    def test_changed_parameter_sets_bring_a_new_configuration_once(self, avcc, other_avcc):
        reader = make_reader(Codec.H264, avcc)
        unit = reader.read(join_nals([*_sets("libx264", other_avcc), IDR]))
        assert unit is not None
        assert unit.config is not None
        track = make_track(Codec.H264, unit.config, 4)
        assert (track.width, track.height, track.epoch) == (426, 238, 4)
        again = reader.read(join_nals([*_sets("libx264", other_avcc), IDR]))
        assert again is not None
        assert again.config is None

    def test_parameter_sets_that_come_alone_count_from_the_next_picture(self, avcc, other_avcc):
        reader = make_reader(Codec.H264, avcc)
        assert reader.read(join_nals([AUD, *_sets("libx264", other_avcc)])) is None
        unit = reader.read(join_nals([IDR]))
        assert unit is not None
        assert unit.config is not None

    def test_a_recovery_point_at_once_is_a_keyframe_if_the_container_says_so_too(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        for sei, hint, keyframe in (
            (RECOVERY_NOW, True, True),
            (RECOVERY_NOW, False, False),
            (RECOVERY_LATER, True, False),
        ):
            unit = reader.read(join_nals([sei, SLICE]), key_hint=hint)
            assert unit is not None
            assert unit.keyframe is keyframe

    def test_open_gops_of_x264_can_be_joined(self):
        options = {
            "x264-params": "open-gop=1:keyint=5:min-keyint=5:bframes=2",
            "preset": "veryfast",
        }
        data = encode(audio=None, seconds=1, fps=15, gop=5, b_frames=2, options=options)
        clip = media_factory.read_flv(data)
        assert [packet.keyframe for packet in clip.packets].count(True) == 3

    def test_empty_units_and_zero_padding_are_left_out(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        unit = reader.read(bytes(4) + join_nals([SLICE]) + b"\x00\x00")
        assert unit is not None
        assert unit.data == join_nals([SLICE])

    def test_a_message_without_picture_is_nothing(self, avcc):
        reader = make_reader(Codec.H264, avcc)
        for data in (b"", join_nals([AUD]), join_nals([b"\x06\x05\x01\xaa\x80"]), bytes(4)):
            assert reader.read(data) is None

    @pytest.mark.parametrize(
        "data",
        [
            b"\x00\x00\x00\x09\x65\x88",
            b"garbage!",
            join_nals([b"\x67\x64"]) + join_nals([IDR]),
            join_nals([b"\x67\x64\x00\x1f" + b"\xff" * 40, IDR]) + b"x",
        ],
    )
    def test_a_damaged_unit_is_reported_and_the_next_one_read(self, avcc, data):
        reader = make_reader(Codec.H264, avcc)
        with pytest.raises(DamagedFrameError):
            reader.read(data)
        unit = reader.read(join_nals([IDR]))
        assert unit is not None
        assert unit.keyframe

    def test_a_flood_of_tiny_units_is_damage(self, avcc):
        with pytest.raises(DamagedFrameError):
            make_reader(Codec.H264, avcc).read(b"\x00\x00\x00\x01\x41" * 100_000)


class TestH265:
    def test_real_frames_lose_their_parameter_sets(self, hvcc):
        sample = video_sample("libx265")
        frames = [item for tag in tags(sample.flv) for item in parse_video(tag.body)]
        reader = make_reader(Codec.H265, hvcc)
        sets = _sets("libx265", hvcc)
        units = []
        for frame in frames:
            if isinstance(frame, VideoFrame):
                nals = split_prefixed(frame.data, 4)
                units.append(reader.read(join_nals([b"\x46\x01\x50", *sets, *nals])))
        assert [unit.keyframe for unit in units if unit] == [True, False, False]
        for unit in units:
            assert unit is not None
            kinds = {h265.nal_type(nal) for nal in split_prefixed(unit.data, 4)}
            assert not kinds & {32, 33, 34, 35}
            assert unit.config is None

    @pytest.mark.parametrize(
        ("kind", "keyframe"),
        [(1, False), (16, True), (19, True), (20, True), (21, True), (9, False)],
    )
    def test_keyframes_are_the_random_access_pictures(self, hvcc, kind, keyframe):
        data = join_nals([bytes((kind << 1, 1, 0xAA))])
        unit = make_reader(Codec.H265, hvcc).read(data, key_hint=True)
        assert unit is not None
        assert unit.data is data
        assert unit.keyframe is keyframe

    def test_changed_parameter_sets_bring_a_new_configuration(self, hvcc):
        other = video_sample("libx265", "yuv420p", 426, 238).config
        reader = make_reader(Codec.H265, hvcc)
        unit = reader.read(join_nals([*_sets("libx265", other), b"\x26\x01\xaa"]))
        assert unit is not None
        assert unit.config is not None
        assert make_track(Codec.H265, unit.config).height == 238

    def test_start_codes_become_lengths(self, hvcc):
        unit = make_reader(Codec.H265, hvcc).read(
            b"\x00\x00\x00\x01\x26\x01\xaf\x00\x00\x01\x26\x01\xaa"
        )
        assert unit is not None
        assert unit.data == join_nals([b"\x26\x01\xaf", b"\x26\x01\xaa"])


class TestAv1:
    KEY, INTER, DELIMITER = b"\x32\x02\x10\xaa", b"\x32\x02\x30\xaa", b"\x12\x00"

    def test_the_delimiter_is_taken_off(self, av1c):
        unit = make_reader(Codec.AV1, av1c).read(self.DELIMITER + self.INTER)
        assert unit is not None
        assert unit.data == self.INTER
        assert not unit.keyframe

    def test_delimiters_in_the_middle_and_padding_too(self, av1c):
        data = self.DELIMITER + self.INTER + self.DELIMITER + b"\x7a\x01\x80" + self.INTER
        unit = make_reader(Codec.AV1, av1c).read(data)
        assert unit is not None
        assert unit.data == 2 * self.INTER

    def test_a_keyframe_without_sequence_header_gets_the_one_of_the_configuration(self, av1c):
        unit = make_reader(Codec.AV1, av1c).read(self.DELIMITER + self.KEY)
        assert unit is not None
        assert unit.keyframe
        assert unit.data == av1c[4:] + self.KEY

    def test_a_sequence_header_of_another_size_brings_a_new_configuration(self, av1c):
        other = video_sample("libsvtav1", "yuv420p", 66, 98).config
        reader = make_reader(Codec.AV1, av1c)
        unit = reader.read(self.DELIMITER + other[4:] + self.KEY)
        assert unit is not None
        assert unit.config == other
        assert unit.data == other[4:] + self.KEY
        again = reader.read(other[4:] + self.KEY)
        assert again is not None
        assert again.config is None

    def test_a_sequence_header_of_other_tools_is_no_news(self):
        # SVT-AV1 writes another header into the stream than into its configuration.
        clip = media_factory.av1_aac()
        assert len([track for track in clip.tracks if track.kind is Kind.VIDEO]) == 1

    def test_a_configuration_without_header_learns_it_from_the_stream(self, av1c):
        unit = make_reader(Codec.AV1, b"\x81\x00\x0c\x00").read(av1c[4:] + self.KEY)
        assert unit is not None
        assert unit.config is not None
        assert make_track(Codec.AV1, unit.config).width == 64

    def test_units_without_frame_are_nothing_and_broken_ones_damage(self, av1c):
        reader = make_reader(Codec.AV1, av1c)
        assert reader.read(self.DELIMITER) is None
        assert reader.read(b"") is None
        for data in (b"\x0a\x02\xff\xff" + self.KEY, b"\x32\x7f\x10", b"\x0a\x00" + self.KEY):
            with pytest.raises(DamagedFrameError):
                reader.read(data)

    def test_real_units_keep_their_sequence_header(self):
        packets = media_factory.av1_aac().of(Kind.VIDEO)
        assert packets[0].keyframe
        kinds = [obu.kind for obu in av1.split_obus(packets[0].data)]
        assert kinds[0] == av1.OBU_SEQUENCE_HEADER
        assert av1.OBU_TEMPORAL_DELIMITER not in kinds


class TestVpx:
    def test_vp9_tells_its_size_with_the_first_keyframe_and_when_it_changes(self):
        small, large = video_sample("libvpx-vp9"), video_sample("libvpx-vp9", "yuv420p", 128, 96)
        frames = [
            item.data
            for sample in (small, large)
            for tag in tags(sample.flv)
            for item in parse_video(tag.body)
            if isinstance(item, VideoFrame)
        ]
        reader = make_reader(Codec.VP9, small.config)
        units = [reader.read(frame) for frame in frames]
        news = [unit for unit in units if unit and unit.config is not None]
        tracks = [make_track(Codec.VP9, unit.config or b"", first=unit.data) for unit in news]
        assert [(track.width, track.height) for track in tracks] == [(64, 48), (128, 96)]
        assert [unit.keyframe for unit in units if unit] == [True, False, False] * 2

    def test_vp8_tells_its_size_with_the_first_keyframe(self):
        reader = make_reader(Codec.VP8, b"")
        key = b"\x10\x00\x00\x9d\x01\x2a\x40\x01\xb4\x00rest"
        unit, inter = reader.read(key), reader.read(b"\x11\x00\x00rest")
        assert unit is not None
        assert inter is not None
        assert unit.config == b""
        assert unit.keyframe
        assert inter.config is None
        assert not inter.keyframe
        track = make_track(Codec.VP8, b"", first=key)
        assert (track.width, track.height) == (320, 180)


class TestAudio:
    def test_aac_frames_last_their_samples(self):
        reader = make_reader(Codec.AAC, bytes.fromhex("119056e500"))
        data = b"\x21\x00payload"
        unit = reader.read(data)
        assert unit is not None
        assert unit.data is data
        assert (unit.keyframe, unit.duration) == (True, 1024)
        high = make_reader(Codec.AAC, bytes.fromhex("2b118800")).read(data)
        assert high is not None
        assert high.duration == 2048

    def test_adts_headers_are_taken_off(self):
        reader = make_reader(Codec.AAC, b"\x11\x90")
        unit = reader.read(bytes.fromhex("fff14c8001bffc") + b"\x21\x00\x49\x90\x02\x19")
        assert unit is not None
        assert unit.data == b"\x21\x00\x49\x90\x02\x19"

    def test_opus_packets_tell_their_duration(self):
        reader = make_reader(Codec.OPUS, b"")
        unit = reader.read(b"\xfc\xff\xfe")
        assert unit is not None
        assert (unit.keyframe, unit.duration) == (True, 960)
        with pytest.raises(DamagedFrameError):
            reader.read(b"\xff")

    def test_opus_headers_are_checked(self):
        make_reader(Codec.OPUS, OpusHead.of_channels(6).to_bytes())
        with pytest.raises(RemoteProtocolError):
            make_reader(Codec.OPUS, b"OpusTags")

    def test_mp3_asks_for_a_track_with_its_first_frame(self):
        reader = make_reader(Codec.MP3, b"")
        frame = bytes.fromhex("fffb9064") + bytes(413)
        first, second = reader.read(frame), reader.read(frame)
        assert first is not None
        assert second is not None
        assert first.config == b""
        assert first.duration == 1152
        assert second.config is None
        assert make_track(Codec.MP3, b"", first=first.data).sample_rate == 44_100

    @pytest.mark.parametrize("codec", [Codec.AAC, Codec.OPUS, Codec.MP3])
    def test_silence_is_nothing(self, codec):
        reader = make_reader(codec, b"\x11\x90" if codec is Codec.AAC else b"")
        assert reader.read(b"") is None


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_has_a_reader_or_wants_a_configuration(codec):
    with contextlib.suppress(RemoteProtocolError):
        assert make_reader(codec, b"") is not None


@pytest.mark.parametrize(
    "make",
    [
        media_factory.h264_aac, media_factory.hevc_aac, media_factory.av1_aac,
        media_factory.vp9_opus, media_factory.audio_only, media_factory.video_only,
    ],
)  # fmt: skip
def test_clips_of_ffmpeg_come_out_whole_and_in_order(make):
    clip = make()
    for kind in (Kind.VIDEO, Kind.AUDIO):
        packets = clip.of(kind)
        assert all(a.dts <= b.dts for a, b in pairwise(packets))
        if packets:
            assert packets[0].keyframe
    if clip.of(Kind.VIDEO):
        assert len(clip.of(Kind.VIDEO)) == 60
        assert [packet.keyframe for packet in clip.of(Kind.VIDEO)].count(True) in (1, 2)
    if clip.of(Kind.AUDIO):
        track = clip.track(Kind.AUDIO)
        total = sum(packet.duration for packet in clip.of(Kind.AUDIO))
        assert 2 * track.clock_rate <= total <= 2.1 * track.clock_rate


def test_b_frames_are_shown_later_than_decoded():
    packets = media_factory.h264_aac(b_frames=2).of(Kind.VIDEO)
    assert any(packet.pts > packet.dts for packet in packets)
    assert all(packet.pts >= packet.dts for packet in packets)


@pytest.mark.parametrize("make", [media_factory.h264_aac, media_factory.hevc_aac])
def test_packets_decode_with_their_track_alone(make):
    clip = make()
    track = clip.track(Kind.VIDEO)
    name = {Codec.H264: "h264", Codec.H265: "hevc"}[track.codec]
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.extradata = track.config
    frames = [f for packet in clip.of(Kind.VIDEO) for f in decoder.decode(av.Packet(packet.data))]
    frames += decoder.decode(None)
    assert len(frames) == 60
    assert (frames[0].width, frames[0].height) == (320, 180)


def test_a_configuration_in_annex_b_form_decodes_too():
    """What some Android encoders send: start codes everywhere."""
    clip = media_factory.video_only()
    config = next(
        item.config
        for tag in tags(clip.flv)
        for item in parse_video(tag.body)
        if isinstance(item, VideoConfig)
    )
    sets = b"".join(b"\x00\x00\x00\x01" + nal for nal in _sets("libx264", config))
    track, reader = make_track(Codec.H264, sets), make_reader(Codec.H264, sets)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.extradata = track.config
    count = 0
    for packet in clip.packets:
        nals = split_prefixed(packet.data, 4)
        unit = reader.read(b"".join(b"\x00\x00\x01" + nal for nal in nals))
        assert unit is not None
        count += len(decoder.decode(av.Packet(unit.data)))
    count += len(decoder.decode(None))
    assert count == 60


@given(st.sampled_from(list(Codec)), st.binary(max_size=80), st.booleans())
def test_random_bytes_raise_only_damage(codec, data, hint):
    configs = {
        Codec.H264: video_sample("libx264").config,
        Codec.H265: video_sample("libx265").config,
        Codec.AV1: video_sample("libsvtav1", "yuv420p", 64, 64).config,
        Codec.AAC: b"\x11\x90",
    }
    reader = make_reader(codec, configs.get(codec, b""))
    prefixed = len(data).to_bytes(4) + data
    for attempt in (data, prefixed, b"\x00\x00\x01" + data, b"\x12\x00\x0a\x0b" + data):
        with contextlib.suppress(DamagedFrameError):
            reader.read(attempt, key_hint=hint)


@given(
    st.sampled_from([Codec.H264, Codec.H265, Codec.AV1, Codec.AAC]),
    st.sampled_from(
        [
            b"",
            b"\x12\x00",
            b"\x12\x00\x32\x02\x30\x00",
            IDR,
            SLICE,
            AUD,
            RECOVERY_NOW,
            b"\x02\x01\xd0",
            b"\x26\x01\xaf",
        ]
    ),
    st.lists(st.tuples(st.binary(max_size=12), st.booleans()), max_size=4),
    st.sampled_from([b"", join_nals([AUD]), join_nals([b"\x46\x01\x50"]), bytes(4)]),
)
def test_a_quick_look_tells_what_reading_tells(codec, nal, units, delimiter):
    configs = {
        Codec.H264: video_sample("libx264").config,
        Codec.H265: video_sample("libx265").config,
        Codec.AV1: video_sample("libsvtav1", "yuv420p", 64, 64).config,
        Codec.AAC: b"\x11\x90",
    }
    reader = make_reader(codec, configs[codec])
    for junk, hint in units:
        for frame in (junk, nal + junk, join_nals([junk]), join_nals([nal, nal + junk])):
            data = delimiter + frame
            unit = reader.quick(data, hint)
            if unit is not None:
                slow = getattr(reader, "_rewrite", reader.read)
                assert slow(data, key_hint=hint) == AccessUnit(*unit, reader.quick_ticks)
            else:
                with contextlib.suppress(DamagedFrameError):
                    reader.read(data, key_hint=hint)


def test_a_quick_look_takes_the_delimiter_off(avcc, hvcc):
    for codec, config, aud, nal in (
        (Codec.H264, avcc, AUD, IDR),
        (Codec.H265, hvcc, b"\x46\x01\x50", b"\x26\x01\xaf\x09"),
    ):
        reader = make_reader(codec, config)
        assert reader.quick(join_nals([aud, nal, nal]), False) == (join_nals([nal, nal]), True)
        assert reader.quick(join_nals([aud, nal, aud]), False) is None
        assert reader.quick(join_nals([aud]), False) is None


def test_a_quick_look_is_enough_for_the_frames_of_a_clip():
    for clip in (media_factory.h264_aac(), media_factory.hevc_aac()):
        for track in clip.tracks:
            reader = make_reader(track.codec, track.config)
            for packet in clip.of(track.kind):
                assert reader.quick(packet.data, False) == (packet.data, packet.keyframe)


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=6))
def test_mutated_frames_raise_only_damage(position, patch):
    for clip in (media_factory.h264_aac(), media_factory.hevc_aac(), media_factory.av1_aac()):
        track = clip.track(Kind.VIDEO)
        data = clip.of(Kind.VIDEO)[0].data
        at = position % len(data)
        reader = make_reader(track.codec, track.config)
        with contextlib.suppress(DamagedFrameError):
            reader.read(data[:at] + patch + data[at + len(patch) :], key_hint=True)


def test_a_whole_flv_file_can_be_read_by_ffmpeg_and_by_us_alike():
    clip = media_factory.h264_aac(b_frames=2)
    with av.open(io.BytesIO(clip.flv), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        theirs = [(packet.dts, packet.pts, packet.is_keyframe) for packet in packets]
    base = clip.of(Kind.VIDEO)[0].dts // 90 - (theirs[0][0] or 0)
    ours = [(p.dts // 90 - base, p.pts // 90 - base, p.keyframe) for p in clip.of(Kind.VIDEO)]
    assert ours == theirs


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265, Codec.AAC, Codec.OPUS])
def test_what_the_first_byte_tells_is_what_reading_finds(codec, avcc, hvcc):
    config = {Codec.H264: avcc, Codec.H265: hvcc, Codec.AAC: b"\x11\x90", Codec.OPUS: b""}[codec]
    reader = make_reader(codec, config)
    told = 0
    for first in range(256):
        nal = bytes((first, 1, 2))
        keyframe = reader.lone_nals[first]
        if keyframe:
            assert reader.read(join_nals([nal])) == AccessUnit(
                join_nals([nal]), keyframe == LONE_KEY
            )
        if reader.plain_firsts[first]:
            assert reader.read(nal) == AccessUnit(nal, True, reader.quick_ticks)
        told += bool(keyframe) + reader.plain_firsts[first]
    assert (told > 0) is (codec is not Codec.OPUS)


def test_parameter_sets_that_wait_for_a_picture_leave_nothing_told(avcc, other_avcc):
    reader = make_reader(Codec.H264, avcc)
    assert any(reader.lone_nals)
    assert reader.read(join_nals(_sets("libx264", other_avcc))) is None
    assert not any(reader.lone_nals)
    reader.read(join_nals([IDR]))
    assert any(reader.lone_nals)
