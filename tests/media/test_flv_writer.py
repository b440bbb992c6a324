"""What we write, our own reader and FFmpeg's read back."""

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media import flv
from streamserver.media.flv_writer import (
    FOUR_CCS,
    Dialect,
    audio_body,
    audio_config_body,
    carries,
    end_body,
    metadata,
    video_body,
    video_config_body,
)
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Kind, Track
from streamserver.media.units import make_reader, make_track
from tests.media_factory import (
    Clip,
    audio_only,
    av1_aac,
    encode,
    h264_aac,
    hevc_aac,
    read_flv,
    tags,
    vp9_opus,
)

BOTH = list(Dialect)
CLIPS = {
    "h264_aac": lambda: h264_aac(seconds=1.0, b_frames=2),
    "hevc_aac": lambda: hevc_aac(seconds=1.0, b_frames=2),
    "av1_aac": lambda: av1_aac(seconds=1.0),
    "vp9_opus": lambda: vp9_opus(seconds=1.0),
    "mp3": lambda: audio_only(seconds=1.0, codec="libmp3lame", sample_rate=44_100),
    "opus": lambda: audio_only(seconds=1.0, codec="libopus"),
}


def _track(codec: Codec, config: bytes = b"\x01cfg", **more: object) -> Track:
    rate = VIDEO_CLOCK if codec.kind is Kind.VIDEO else 48_000
    return Track(codec, rate, config, **more)  # type: ignore[arg-type]


def _packet(track: Track, dts: int = 0, cts: int = 0, *, key: bool = True) -> Packet:
    return Packet(track, dts + cts, dts, 0, key, b"\xaa\xbb", 0)


def _bodies(clip: Clip, dialect: Dialect) -> Iterator[tuple[int, int, bytes]]:
    """Tag type, time and body of all that a dialect carries, headers first."""
    for track in clip.tracks:
        for tag, body in (
            (9, video_config_body(track, dialect)), (8, audio_config_body(track, dialect))
        ):  # fmt: skip
            if body is not None:
                yield tag, clip.packets[0].dts_ms, body
    for packet in clip.packets:
        body = (video_body if packet.is_video else audio_body)(packet, dialect)
        if body is not None:
            yield 9 if packet.is_video else 8, packet.dts_ms, body


def _file(bodies: Iterator[tuple[int, int, bytes]], kinds: int = 5) -> bytes:
    """E.2 to E.4.1: an FLV file."""
    out = [b"FLV\x01", bytes((kinds,)), (9).to_bytes(4, "big"), bytes(4)]
    for tag, time, body in bodies:
        low, high = (time & 0xFFFFFF).to_bytes(3, "big"), time >> 24
        out += [bytes((tag,)), len(body).to_bytes(3, "big"), low, bytes((high, 0, 0, 0)), body]
        out.append((len(body) + 11).to_bytes(4, "big"))
    return b"".join(out)


def _flags(clip: Clip) -> int:
    return sum({Kind.VIDEO: 1, Kind.AUDIO: 4}[track.kind] for track in clip.tracks)


class TestRoundTrip:
    @pytest.mark.parametrize("name", CLIPS)
    def test_our_reader_gets_the_same_tracks_and_packets_back(self, name):
        clip = CLIPS[name]()
        again = read_flv(_file(_bodies(clip, Dialect.ENHANCED), _flags(clip)))
        assert [(t.codec, t.config, t.width, t.channels) for t in again.tracks] == [
            (t.codec, t.config, t.width, t.channels) for t in clip.tracks
        ]
        # Its timeline may begin elsewhere; distances are what the bodies carry.
        for kind in (track.kind for track in clip.tracks):
            ours, theirs = clip.of(kind), again.of(kind)
            assert [(p.data, p.keyframe) for p in ours] == [(p.data, p.keyframe) for p in theirs]
            assert [p.pts * 1000 // p.track.clock_rate - p.dts_ms for p in ours] == [
                p.pts * 1000 // p.track.clock_rate - p.dts_ms for p in theirs
            ]

    @pytest.mark.parametrize("name", CLIPS)
    def test_ffmpeg_reads_every_packet_with_its_times(self, name):
        clip = CLIPS[name]()
        data = _file(_bodies(clip, Dialect.ENHANCED), _flags(clip))
        found: dict[str, list[tuple[object, ...]]] = {}
        pictures = sounds = 0
        with av.open(io.BytesIO(data), "r", format="flv") as container:
            codecs = {stream.codec_context.name for stream in container.streams}
            for packet in container.demux():
                if packet.size:
                    item = (packet.pts, packet.dts, packet.is_keyframe, bytes(packet))
                    found.setdefault(packet.stream.type, []).append(item)
        with av.open(io.BytesIO(data), "r", format="flv") as container:
            for packet in container.demux():
                decoded: list[Any] = list(packet.decode())
                if packet.stream.type == "video":
                    pictures += len(decoded)
                    assert {(frame.width, frame.height) for frame in decoded} <= {(320, 180)}
                else:
                    sounds += len(decoded)
        names = {Codec.H264: "h264", Codec.H265: "hevc", Codec.AV1: "libdav1d", Codec.VP9: "vp9",
                 Codec.AAC: "aac", Codec.OPUS: "opus", Codec.MP3: "mp3float"}  # fmt: skip
        assert codecs == {names[track.codec] for track in clip.tracks}
        for track in clip.tracks:
            ours = [
                (p.pts * 1000 // track.clock_rate, p.dts_ms, p.keyframe, p.data)
                for p in clip.of(track.kind)
            ]
            # FFmpeg cuts MP3 anew, so only a video's flags and bytes are to be compared.
            assert len(found[track.kind]) == len(ours)
            assert [item[:2] for item in found[track.kind]] == [item[:2] for item in ours]
            if track.kind is Kind.VIDEO:
                assert found["video"] == ours
        assert pictures == len(clip.of(Kind.VIDEO))
        assert (sounds > 10) is bool(clip.of(Kind.AUDIO))

    @pytest.mark.parametrize("video", ["libx264", "libx265", "libvpx-vp9"])
    def test_bodies_are_those_of_ffmpegs_own_muxer(self, video):
        data = encode(video=video, audio="aac", seconds=0.5, b_frames=2)
        if video == "libvpx-vp9":
            data = encode(video=video, audio="libopus", seconds=0.5)
        theirs = [tag.body for tag in tags(data) if tag.kind is Kind.VIDEO]
        clip = read_flv(data)
        ours = [body for tag, _, body in _bodies(clip, Dialect.ENHANCED) if tag == 9]
        kept = [body for body in theirs if not isinstance(flv.parse_video(body)[0], flv.ColorInfo)]
        # FFmpeg's end of sequence stands last; H.264's first unit may hold an SEI, as ours does.
        ends = [body for body in kept if isinstance(flv.parse_video(body)[0], flv.VideoEnd)]
        kept = [body for body in kept if body not in ends]
        assert len(ours) == len(kept)
        assert [body[:9] for body in ours] == [body[:9] for body in kept]
        assert ends in ([], [end_body(clip.tracks[0], Dialect.ENHANCED)])


class TestForms:
    @pytest.mark.parametrize("dialect", BOTH)
    def test_h264_has_its_old_form_in_both_dialects(self, dialect):
        track = _track(Codec.H264)
        assert video_config_body(track, dialect) == b"\x17\0\0\0\0\x01cfg"
        assert video_body(_packet(track, cts=7200), dialect) == b"\x17\x01\0\0\x50\xaa\xbb"
        assert video_body(_packet(track, key=False), dialect) == b"\x27\x01\0\0\0\xaa\xbb"
        assert end_body(track, dialect) == b"\x17\x02\0\0\0"

    @pytest.mark.parametrize("dialect", BOTH)
    def test_a_composition_time_beyond_24_bits_is_cut(self, dialect):
        track = _track(Codec.H264)
        for cts, written in ((1 << 40, b"\x7f\xff\xff"), (-(1 << 40), b"\x80\0\0")):
            late = _packet(track, cts=cts)
            assert video_body(late, dialect) == b"\x17\x01" + written + b"\xaa\xbb"

    @pytest.mark.parametrize("dialect", BOTH)
    def test_aac_has_its_old_form_in_both_dialects(self, dialect):
        track = _track(Codec.AAC, b"\x11\x90")
        assert audio_config_body(track, dialect) == b"\xaf\0\x11\x90"
        assert audio_body(_packet(track), dialect) == b"\xaf\x01\xaa\xbb"
        assert end_body(track, dialect) is None

    @pytest.mark.parametrize(
        ("rate", "channels", "first"),
        [(44_100, 2, 0x2F), (48_000, 2, 0x2F), (32_000, 1, 0x2A), (22_050, 1, 0x2A),
         (11_025, 2, 0x27), (8_000, 1, 0x22)],
    )  # fmt: skip
    def test_mp3_says_the_nearest_rate_and_has_no_header(self, rate, channels, first):
        track = _track(Codec.MP3, b"", sample_rate=rate, channels=channels)
        for dialect in BOTH:
            assert audio_body(_packet(track), dialect) == bytes((first, 0xAA, 0xBB))
            assert audio_config_body(track, dialect) is None
            assert end_body(track, dialect) is None

    def test_hevc_leaves_out_a_composition_time_of_zero(self):
        track = _track(Codec.H265)
        assert video_config_body(track, Dialect.ENHANCED) == b"\x90hvc1\x01cfg"
        assert video_body(_packet(track), Dialect.ENHANCED) == b"\x93hvc1\xaa\xbb"
        late = _packet(track, cts=7200, key=False)
        assert video_body(late, Dialect.ENHANCED) == b"\xa1hvc1\0\0\x50\xaa\xbb"
        assert end_body(track, Dialect.ENHANCED) == b"\x92hvc1"

    def test_av1_and_vp9_never_have_a_composition_time(self):
        for codec, name in ((Codec.AV1, b"av01"), (Codec.VP9, b"vp09"), (Codec.VP8, b"vp08")):
            track = _track(codec)
            assert video_body(_packet(track, cts=900), Dialect.ENHANCED) == (
                b"\x91" + name + b"\xaa\xbb"
            )
            assert video_body(_packet(track, key=False), Dialect.ENHANCED) == (
                b"\xa1" + name + b"\xaa\xbb"
            )

    def test_the_configurations_of_av1_and_vp9_are_as_ffmpeg_writes_them(self):
        assert video_config_body(_track(Codec.AV1), Dialect.ENHANCED) == b"\x90av01\x01cfg"
        vp9 = _track(Codec.VP9, b"\0\x14\x82\2\2\2\0\0")
        assert video_config_body(vp9, Dialect.ENHANCED) == (
            b"\x90vp09\x01\0\0\0\0\x14\x82\2\2\2\0\0"
        )

    def test_vp8_gets_a_configuration_though_its_track_has_none(self):
        body = video_config_body(_track(Codec.VP8, b""), Dialect.ENHANCED)
        assert body is not None
        (item,) = flv.parse_video(body)
        assert isinstance(item, flv.VideoConfig)
        assert make_track(Codec.VP9, item.config).codec_string == "vp09.00.10.08"
        assert make_track(item.codec, item.config).codec is Codec.VP8
        make_reader(item.codec, item.config)

    def test_opus_is_enhanced_only(self):
        track = _track(Codec.OPUS, b"OpusHead")
        assert audio_config_body(track, Dialect.ENHANCED) == b"\x90OpusOpusHead"
        assert audio_body(_packet(track), Dialect.ENHANCED) == b"\x91Opus\xaa\xbb"
        assert end_body(track, Dialect.ENHANCED) == b"\x92Opus"
        assert audio_config_body(track, Dialect.LEGACY) is None
        assert audio_body(_packet(track), Dialect.LEGACY) is None

    @pytest.mark.parametrize("codec", Codec)
    def test_what_a_dialect_does_not_carry_is_none(self, codec):
        track = _track(codec)
        packet = _packet(track)
        assert carries(track, Dialect.ENHANCED)
        assert carries(track, Dialect.LEGACY) is (codec in (Codec.H264, Codec.AAC, Codec.MP3))
        for dialect in BOTH:
            video, audio = video_body(packet, dialect), audio_body(packet, dialect)
            mine, other = (video, audio) if codec.kind is Kind.VIDEO else (audio, video)
            assert (mine is not None) is carries(track, dialect)
            assert other is None
            if not carries(track, dialect):
                assert video_config_body(track, dialect) is None
                assert audio_config_body(track, dialect) is None
                assert end_body(track, dialect) is None

    @pytest.mark.parametrize("codec", Codec)
    def test_our_reader_knows_every_end(self, codec):
        body = end_body(_track(codec), Dialect.ENHANCED)
        if body is not None:
            (item,) = flv.parse_tag(codec.kind, body)
            ended = flv.VideoEnd if codec.kind is Kind.VIDEO else flv.AudioEnd
            assert item == ended(codec)


class TestTime:
    @given(st.integers(0, 2**40), st.integers(-(2**20), 2**20))
    def test_message_time_and_composition_time_make_the_exact_presentation_time(self, dts, cts):
        for codec in (Codec.H264, Codec.H265):
            packet = _packet(_track(codec), dts, cts)
            body = video_body(packet, Dialect.ENHANCED)
            assert body is not None
            (item,) = flv.parse_video(body)
            assert isinstance(item, flv.VideoFrame)
            assert packet.dts_ms + item.composition_ms == packet.pts * 1000 // VIDEO_CLOCK

    @pytest.mark.parametrize(("cts", "told"), [(2**40, 2**23 - 1), (-(2**40), -(2**23))])
    def test_a_composition_time_beyond_24_bits_is_cut(self, cts, told):
        body = video_body(_packet(_track(Codec.H264), 0, cts), Dialect.LEGACY)
        assert body is not None
        (item,) = flv.parse_video(body)
        assert isinstance(item, flv.VideoFrame)
        assert item.composition_ms == told


class TestMetadata:
    def test_both_kinds(self):
        video, audio = h264_aac(seconds=1.0, b_frames=2).tracks
        video = replace(video, frame_rate=Fraction(30_000, 1001))
        assert metadata((video, audio)) == {
            "videocodecid": 7, "width": 320, "height": 180, "framerate": 30_000 / 1001,
            "audiocodecid": 10, "audiosamplerate": 48_000, "audiochannels": 2, "stereo": True,
            "encoder": "streamserver",
        }  # fmt: skip

    def test_enhanced_codecs_are_four_ccs_read_as_numbers(self):
        values = metadata((_track(Codec.H265), _track(Codec.OPUS)), "me 1")
        assert values["videocodecid"] == 1752589105
        assert values["audiocodecid"] == 1332770163
        assert values["encoder"] == "me 1"

    def test_what_is_unknown_is_left_out(self):
        assert metadata((_track(Codec.H264),)) == {"videocodecid": 7, "encoder": "streamserver"}
        assert metadata(()) == {"encoder": "streamserver"}

    def test_the_first_track_of_a_kind_counts(self):
        first, second = _track(Codec.H264, width=2, height=2), _track(Codec.AV1, width=4, height=4)
        assert metadata((first, second))["width"] == 2


def test_every_codec_has_a_four_cc():
    assert set(FOUR_CCS) == set(Codec)
