import pytest

from streamserver.media.track import Codec
from streamserver.rtp.depacketize import base
from streamserver.rtp.frames import AudioFrames, RtpFrame, VideoFrames, unwrap
from streamserver.rtp.packet import RtpPacket

KEY = [b"\x67sps", b"\x68pps", b"\x65key"]


def packet(payload: bytes, timestamp: int, *, marker: bool = False) -> RtpPacket:
    return RtpPacket(102, marker, 0, timestamp, 1, payload)


def push(frames: VideoFrames, payloads: list[bytes], timestamp: int) -> list[RtpFrame]:
    made: list[RtpFrame] = []
    for payload in payloads:
        made += frames.push(packet(payload, timestamp, marker=payload is payloads[-1]), 7)
    return made


@pytest.fixture
def frames() -> VideoFrames:
    return VideoFrames(Codec.H264)


def test_a_frame_is_whole_at_its_marker(frames: VideoFrames) -> None:
    (frame,) = push(frames, KEY, 1000)
    assert frame.keyframe
    assert frame.timestamp == 1000
    assert frame.received_ns == 7
    assert [one.data[4:] for one in push(frames, [b"\x41next"], 4000)] == [b"\x41next"]


def test_without_markers_the_next_time_stamp_ends_a_frame(frames: VideoFrames) -> None:
    for payload in KEY:
        assert frames.push(packet(payload, 1000), 7) == ()
    (frame,) = frames.push(packet(b"\x41next", 4000), 8)
    assert frame.keyframe
    # A marker now ends two at once.
    frames.push(packet(b"\x41third", 7000), 9)
    made = frames.push(packet(b"\x41fourth", 10_000, marker=True), 9)
    assert [one.data[4:] for one in made] == [b"\x41third", b"\x41fourth"]


def test_nothing_is_shown_before_a_keyframe(frames: VideoFrames) -> None:
    assert push(frames, [b"\x41early"], 1) == []
    assert frames.asks_keyframe
    assert push(frames, [b"\x41more"], 2) == []
    assert frames.counters.dropped == 1
    assert push(frames, KEY, 3)
    assert not frames.asks_keyframe


def test_the_first_keyframe_is_not_asked_for(frames: VideoFrames) -> None:
    for payload in KEY[:2]:
        frames.push(packet(payload, 1), 1)
        assert not frames.asks_keyframe


def test_half_a_keyframe_after_a_loss_is_not_taken_for_one(frames: VideoFrames) -> None:
    push(frames, KEY, 1)
    frames.lost()
    assert frames.asks_keyframe
    assert push(frames, [b"\x65second slice", b"\x65third slice"], 2) == []
    assert push(frames, [b"\x41next"], 3) == []
    # Without parameter sets, but after a marker: whole.
    (frame,) = push(frames, [b"\x65whole"], 4)
    assert frame.keyframe


def test_a_damaged_frame_takes_what_refers_to_it_along(frames: VideoFrames) -> None:
    push(frames, KEY, 1)
    assert push(frames, [b"\x7c\x05no start", b"\x41rest"], 2) == []
    assert push(frames, [b"\x41next"], 3) == []
    assert frames.counters.damaged == 1
    assert frames.counters.dropped == 1
    assert push(frames, KEY, 4)


def test_a_frame_that_ends_in_a_fragment_is_damaged(frames: VideoFrames) -> None:
    push(frames, KEY, 1)
    assert push(frames, [b"\x7c\x85begun"], 2) == []
    assert frames.counters.damaged == 1
    assert push(frames, [b"\x41next"], 3) == []


def test_a_frame_beyond_all_bounds_is_given_up(frames: VideoFrames) -> None:
    push(frames, KEY, 1)
    piece = b"\x41" + bytes(60_000)
    for _ in range(base.MAX_FRAME_BYTES // 60_000 + 5):
        assert frames.push(packet(piece, 2), 1) == ()
    assert frames.counters.damaged == 1
    for _ in range(9_000):
        frames.push(packet(b"\x41", 3), 1)
    assert frames.counters.damaged == 2
    assert push(frames, KEY, 4)


def test_padding_makes_no_frame(frames: VideoFrames) -> None:
    push(frames, KEY, 1)
    assert frames.push(packet(b"", 2, marker=True), 1) == ()
    assert frames.push(packet(b"\x41", 2, marker=True), 1)


def test_time_stamps_never_wrap(frames: VideoFrames) -> None:
    (first,) = push(frames, KEY, 0xFFFF_F000)
    (second,) = push(frames, [b"\x41"], 0x100)
    assert second.timestamp - first.timestamp == 0x1100
    assert unwrap(5, 0xFFFF_FFFF) == -1


def test_every_audio_packet_is_a_frame() -> None:
    frames = AudioFrames()
    (first,) = frames.push(packet(b"\xfcopus", 0xFFFF_FFFF), 1)
    frames.lost()
    (second,) = frames.push(packet(b"\xfcopus", 959), 2)
    assert second.timestamp - first.timestamp == 960
    assert second.keyframe
    assert frames.push(packet(b"", 3), 3) == ()
