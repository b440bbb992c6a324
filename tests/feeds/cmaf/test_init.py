"""Initialisation segments, read by FFmpeg."""

import io
from dataclasses import replace
from typing import Any

import av
import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.feeds.cmaf.init import init_segment
from streamserver.media.track import VIDEO_CLOCK, Codec, Colour, Track
from tests import media_factory
from tests.feeds.cmaf.helpers_stream import aac, boxes, h264, opus

HE_AAC = bytes.fromhex("2b118800")
"""Object type 5 over a core of 24 kHz, 48 kHz at the output."""


def clip_tracks(name: str) -> tuple[Track, ...]:
    match name:
        case "mp3":
            return media_factory.audio_only(codec="libmp3lame", sample_rate=44_100).tracks
        case "opus":
            return media_factory.audio_only(codec="libopus").tracks
    return getattr(media_factory, name)().tracks  # type: ignore[no-any-return]  # by its name


@pytest.mark.parametrize(
    ("clip", "codecs"),
    [
        ("h264_aac", ["h264", "aac"]),
        ("hevc_aac", ["hevc", "aac"]),
        ("av1_aac", ["av1", "aac"]),
        ("vp9_opus", ["vp9", "opus"]),
        ("audio_only", ["aac"]),
        ("video_only", ["h264"]),
        ("mp3", ["mp3float"]),
        ("opus", ["opus"]),
    ],
)
def test_ffmpeg_finds_every_codec_with_its_config_size_and_rate(clip, codecs):
    tracks = clip_tracks(clip)
    with av.open(io.BytesIO(init_segment(tracks)), "r", format="mp4") as container:
        streams = list(container.streams)
        names = [stream.codec_context.codec.canonical_name for stream in streams]
        assert [name.replace("mp3float", "mp3") for name in names] == [
            codec.replace("mp3float", "mp3") for codec in codecs
        ]
        for stream, track in zip(streams, tracks, strict=True):
            # The kind of context depends on the track.
            context: Any = stream.codec_context
            assert stream.time_base is not None
            assert stream.language in (None, "und")
            if track.codec is Codec.VP9:
                assert stream.time_base.denominator == 90_000
            elif track.config and track.codec is not Codec.OPUS:
                assert bytes(context.extradata or b"") == track.config
            if track.width:
                assert (context.width, context.height) == (track.width, track.height)
                assert stream.time_base.denominator == VIDEO_CLOCK
            else:
                assert context.sample_rate == track.sample_rate
                assert context.layout.nb_channels == track.channels
                assert stream.time_base.denominator == track.clock_rate


def descend(data: bytes, *path: bytes) -> bytes:
    for kind in path:
        data = dict(boxes(data))[kind]
    return data


def entry(track: Track) -> tuple[bytes, bytes]:
    table = descend(init_segment((track,)), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    return boxes(table[8:])[0]


def test_hevc_is_hvc1_because_safari_takes_no_other():
    assert entry(media_factory.hevc_aac().tracks[0])[0] == b"hvc1"


def test_he_aac_counts_in_the_rate_of_its_core():
    track = Track(Codec.AAC, 48_000, HE_AAC, sample_rate=48_000, channels=2)
    mdhd = descend(init_segment((track,)), b"moov", b"trak", b"mdia", b"mdhd")
    assert int.from_bytes(mdhd[12:16]) == 24_000
    with av.open(io.BytesIO(init_segment((track,))), "r", format="mp4") as container:
        assert container.streams[0].codec_context.name == "aac"


def test_the_colour_of_the_bitstream_is_repeated_for_players_that_look_in_the_file():
    hdr = h264(colour=Colour(9, 16, 9, full_range=True))
    kind, body = entry(hdr)
    assert kind == b"avc1"
    assert dict(boxes(body[78:]))[b"colr"] == b"nclx" + bytes.fromhex("0009 0010 0009 80")
    assert b"colr" not in dict(boxes(entry(h264())[1][78:]))


def test_opus_head_becomes_dops_in_the_other_byte_order():
    family_1 = (
        b"OpusHead"
        + bytes.fromhex("01 06 3801 80bb0000 feff 01")
        + bytes.fromhex("04 02 000401020305")
    )
    kind, body = entry(replace(opus(), config=family_1, channels=6))
    assert kind == b"Opus"
    assert dict(boxes(body[28:]))[b"dOps"] == bytes.fromhex(
        "00 06 0138 0000bb80 fffe 01 04 02 000401020305"
    )


def test_vp9_without_a_config_gets_one_from_what_is_known():
    track = Track(
        Codec.VP9, VIDEO_CLOCK, b"", width=64, height=64, bit_depth=10,
        colour=Colour(9, 16, 9, full_range=False),
    )  # fmt: skip
    body = dict(boxes(entry(track)[1][78:]))[b"vpcC"]
    assert body == bytes.fromhex("01000000 02 00 a2 09 10 09 0000")


def test_low_rate_mp3_says_mpeg_2():
    low = Track(Codec.MP3, 22_050, b"", sample_rate=22_050, channels=1)
    high = Track(Codec.MP3, 44_100, b"", sample_rate=44_100, channels=2)
    assert b"\x04\x80\x80\x80\x0d\x69" in entry(low)[1]
    assert b"\x04\x80\x80\x80\x0d\x6b" in entry(high)[1]


def test_av1_declares_its_brand():
    tracks = media_factory.av1_aac().tracks
    assert b"av01" in boxes(init_segment(tracks))[0][1]
    assert b"av01" not in boxes(init_segment((h264(), aac())))[0][1]


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec not in (Codec.VP8, Codec.MP3)])
def test_a_config_that_ends_too_early_is_the_fault_of_the_peer(codec):
    track = Track(codec, 48_000, b"\x01", width=16, height=16, channels=2)
    with pytest.raises(RemoteProtocolError):
        init_segment((track,))


def test_an_opus_config_must_be_an_opus_head():
    with pytest.raises(RemoteProtocolError):
        init_segment((replace(opus(), config=b"OpusTags" + bytes(11)),))
