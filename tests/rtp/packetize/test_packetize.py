"""Frames are cut so that their payloads put together are the frame again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.nal import join_nals
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Kind, Track
from streamserver.rtp.packetize.av1 import Av1Packetizer
from streamserver.rtp.packetize.base import MAX_AUDIO_PAYLOAD, MAX_PAYLOAD
from streamserver.rtp.packetize.factory import make_packetizer
from streamserver.rtp.packetize.h264 import h264_packetizer
from streamserver.rtp.packetize.vpx import Vp8Packetizer, Vp9Packetizer
from tests import media_factory
from tests.fakes import audio_track, packet, video_track
from tests.media_factory import Clip
from tests.rtp.packetize.helpers_payloads import elements_of_av1, nals_of_h264, nals_of_h265

SPS = bytes.fromhex("6742c01e95a0280bfe5840000003004000000c83c58b65")
PPS = bytes.fromhex("68ce3c80")


def h264_track() -> Track:
    avcc = b"\x01\x42\xc0\x1e\xff\xe1" + len(SPS).to_bytes(2) + SPS + b"\x01"
    return Track(Codec.H264, VIDEO_CLOCK, avcc + len(PPS).to_bytes(2) + PPS)


def frame(track: Track, data: bytes, *, keyframe: bool = False) -> Packet:
    return Packet(track, 0, 0, 0, keyframe, data, 0)


def payload_sizes_are_bounded(payloads: list[bytes]) -> bool:
    return all(0 < len(payload) <= MAX_PAYLOAD for payload in payloads)


nal_units = st.lists(
    st.builds(
        lambda head, size: bytes((head,)) + b"\x77" * size,
        st.sampled_from((0x41, 0x61, 0x01, 0x65)),
        st.one_of(st.integers(1, 40), st.integers(1_150, 1_250), st.integers(2_000, 9_000)),
    ),
    min_size=1,
    max_size=12,
)


@given(nal_units)
def test_h264_units_come_out_as_they_went_in(nals: list[bytes]) -> None:
    track = h264_track()
    payloads = h264_packetizer(track).packetize(frame(track, join_nals(nals)))
    assert nals_of_h264(payloads) == nals
    assert payload_sizes_are_bounded(payloads)


def test_a_keyframe_of_h264_begins_with_its_parameter_sets_in_one_packet() -> None:
    track = h264_track()
    idr = b"\x65" + bytes(5_000)
    payloads = h264_packetizer(track).packetize(frame(track, join_nals([idr]), keyframe=True))
    assert nals_of_h264(payloads) == [SPS, PPS, idr]
    assert nals_of_h264(payloads[:1]) == [SPS, PPS]


def test_all_fragments_but_the_last_have_the_full_size() -> None:
    track = h264_track()
    payloads = h264_packetizer(track).packetize(frame(track, join_nals([b"\x41" + bytes(9_999)])))
    assert {len(payload) for payload in payloads[:-1]} == {MAX_PAYLOAD}
    assert 0 < len(payloads[-1]) <= MAX_PAYLOAD


def test_delimiters_sei_and_filler_are_left_out() -> None:
    track = h264_track()
    nals = [b"\x09\xf0", b"\x06\x05\x01", b"\x41abc", b"\x0c\xff\xff"]
    assert h264_packetizer(track).packetize(frame(track, join_nals(nals))) == [b"\x41abc"]
    only = join_nals([b"\x06\x05\x01"])
    assert h264_packetizer(track).packetize(frame(track, only)) == []


def test_units_of_a_damaged_length_are_refused() -> None:
    track = h264_track()
    with pytest.raises(RemoteProtocolError):
        h264_packetizer(track).packetize(frame(track, b"\x00\x00\x10\x00\x41abc"))


@given(st.binary(max_size=400))
def test_damaged_h264_raises_nothing_else(data: bytes) -> None:
    track = h264_track()
    try:
        payloads = h264_packetizer(track).packetize(frame(track, data, keyframe=True))
    except RemoteProtocolError:
        return
    assert payload_sizes_are_bounded(payloads)


@given(st.integers(1, 5_000))
def test_vp8_marks_the_beginning_of_a_frame_only(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    payloads = Vp8Packetizer().packetize(frame(video_track(codec=Codec.VP8), data))
    assert [payload[0] for payload in payloads] == [0x10] + [0] * (len(payloads) - 1)
    assert b"".join(payload[1:] for payload in payloads) == data
    assert payload_sizes_are_bounded(payloads)


@pytest.mark.parametrize("keyframe", [True, False])
def test_vp9_marks_both_ends_and_whether_it_is_predicted(keyframe: bool) -> None:
    data = bytes(3_000)
    track = video_track(codec=Codec.VP9)
    payloads = Vp9Packetizer().packetize(frame(track, data, keyframe=keyframe))
    inter = 0 if keyframe else 0x40
    assert [payload[0] for payload in payloads] == [inter | 8, inter, inter | 4]
    assert b"".join(payload[1:] for payload in payloads) == data
    assert Vp9Packetizer().packetize(frame(track, b"x", keyframe=True)) == [b"\x0cx"]


def obu(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((kind << 3 | 2,)) + length + payload


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=10))
def test_av1_units_come_out_without_their_sizes(sizes: list[int]) -> None:
    units = [(6, bytes((index,)) * size) for index, size in enumerate(sizes)]
    data = b"".join(obu(kind, payload) for kind, payload in units)
    track = Track(Codec.AV1, VIDEO_CLOCK, b"")
    payloads = Av1Packetizer(track).packetize(frame(track, data))
    assert elements_of_av1(payloads) == [bytes((kind << 3,)) + body for kind, body in units]
    assert payload_sizes_are_bounded(payloads)


def test_a_large_av1_frame_fills_its_packets() -> None:
    track = Track(Codec.AV1, VIDEO_CLOCK, b"")
    payloads = Av1Packetizer(track).packetize(frame(track, obu(6, bytes(9_000))))
    assert {len(payload) for payload in payloads[:-1]} == {MAX_PAYLOAD}
    assert [payload[0] for payload in payloads[:2]] == [0x50, 0xD0]  # Y and W=1, then Z too
    assert payloads[-1][0] == 0x90


def test_an_opus_packet_is_a_payload_and_one_too_large_is_left_out() -> None:
    track = audio_track(codec=Codec.OPUS)
    packetizer = make_packetizer(track)
    assert packetizer is not None
    assert packetizer.packetize(frame(track, b"opus")) == [b"opus"]
    assert packetizer.packetize(frame(track, bytes(MAX_AUDIO_PAYLOAD + 1))) == []
    assert packetizer.packetize(frame(track, b"")) == []


def test_codecs_that_webrtc_does_not_carry_have_no_packetizer() -> None:
    assert make_packetizer(audio_track()) is None
    assert packet(audio_track(), 0).track.codec is Codec.AAC


def check_real(clip: Clip) -> tuple[list[Packet], list[list[bytes]]]:
    packets = clip.of(Kind.VIDEO)
    packetizer = make_packetizer(clip.track(Kind.VIDEO))
    assert packetizer is not None
    all_payloads = [packetizer.packetize(packet) for packet in packets]
    assert all(payload_sizes_are_bounded(payloads) for payloads in all_payloads)
    return packets, all_payloads


def test_real_hevc_comes_out_as_it_went_in() -> None:
    packets, all_payloads = check_real(media_factory.hevc_aac())
    for packet_, payloads in zip(packets, all_payloads, strict=True):
        nals = nals_of_h265(payloads)
        kinds = [nal[0] >> 1 & 0x3F for nal in nals]
        if packet_.keyframe:
            assert kinds[:3] == [32, 33, 34]
        slices = [nal for nal, kind in zip(nals, kinds, strict=True) if kind < 32]
        assert slices
        assert all(nal in packet_.data for nal in slices)


def test_real_av1_begins_with_a_sequence_header() -> None:
    packets, all_payloads = check_real(media_factory.av1_aac())
    for packet_, payloads in zip(packets, all_payloads, strict=True):
        kinds = [element[0] >> 3 & 0xF for element in elements_of_av1(payloads)]
        assert (kinds[0] == 1) is packet_.keyframe
        assert payloads[0][0] & 0x08 == (0x08 if packet_.keyframe else 0)
        assert 2 not in kinds
