"""With real keys: whoever gets the packets can open them, wraps and repeats included."""

import os

import pytest
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80
from pylibsrtp import Error, Policy, Session

from streamserver.outputs.webrtc.output import ARENA_BYTES
from streamserver.rtp.packet import RtpPacket, parse_packet
from streamserver.rtp.rtcp import Nack
from streamserver.webrtc.private_srtp import SrtpKeys
from streamserver.webrtc.srtp import Arena, SrtpOut
from tests.outputs.webrtc.helpers_webrtc import (
    VIDEO_SSRC,
    FakePeer,
    World,
    frames,
    is_continuous,
    lines,
)

PROFILES = {16: SRTP_AEAD_AES_128_GCM, 10: SRTP_AES128_CM_SHA1_80}


class ProtectedPeer(FakePeer):
    """Protects as a real one does, and opens with libsrtp what was not lost on the way."""

    def __init__(self, arena: Arena, tag_bytes: int = 16) -> None:
        super().__init__()
        profile = PROFILES[tag_bytes]
        key = os.urandom(profile.key_length + profile.salt_length)
        keys = SrtpKeys(
            profile="", libsrtp_profile=profile.libsrtp_profile, tag_bytes=tag_bytes,
            sending=key, receiving=key,
        )  # fmt: skip
        self.srtp = SrtpOut(keys)
        policy = Policy(
            key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile.libsrtp_profile
        )
        policy.window_size = 2048
        self._inbound = Session(policy)
        self._arena = arena
        self.loses = False
        self.unreadable = 0

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        for at in range(0, len(view), segment_bytes):
            self._arrives(bytes(view[at : at + segment_bytes]), self.packets)
        return True

    def send_rtp(self, packet: bytes) -> bool:
        scratch = Arena(2_000)
        scratch.data[: len(packet)] = packet
        assert self.srtp is not None
        size = self.srtp.protect(scratch, 0, len(packet))
        self._arrives(bytes(scratch.view[:size]), self.again)
        return True

    def _arrives(self, protected: bytes, where: list[RtpPacket]) -> None:
        if self.loses:
            return
        try:
            where.append(parse_packet(self._inbound.unprotect(protected)))
        except Error:
            self.unreadable += 1


@pytest.fixture
def arena() -> Arena:
    return Arena(ARENA_BYTES)


@pytest.mark.parametrize("tag_bytes", [16, 10])
def test_a_viewer_opens_everything(arena: Arena, tag_bytes: int) -> None:
    world = World(arena=arena)
    world.video(30_000, keyframe=True)
    peer = ProtectedPeer(arena, tag_bytes)
    world.enter(peer)
    world.pass_ms(50)
    for _ in range(30):
        world.video(5_000)
        world.audio()
    assert peer.unreadable == 0
    assert frames(peer.video) == list(range(1, 32))
    assert len(peer.audio) == 30


@pytest.mark.parametrize("first", [65_520, 32_700, 3 * 65_536 - 5])
def test_who_joins_before_a_wrap_and_loses_packets_there_still_finds_in(
    arena: Arena, first: int
) -> None:
    world = World(arena=arena)
    world.feed._video_seq = first
    world.video(keyframe=True)
    peer = ProtectedPeer(arena)
    peer.loses = True
    world.enter(peer)
    for _ in range(40):
        world.video(3_000)
    peer.loses = False
    for _ in range(10):
        world.video(3_000)
    assert peer.unreadable == 0
    assert len(frames(peer.video)) == 10


def test_numbers_wrap_without_a_packet_lost(arena: Arena) -> None:
    world = World(arena=arena)
    world.feed._video_seq = 0x7FF0
    world.video(keyframe=True)
    peer = ProtectedPeer(arena)
    seat = world.enter(peer)
    for _ in range(60):
        world.video(1_000_000)
    assert seat.viewer.video is not None
    assert seat.viewer.video.packets > 40_000
    assert peer.unreadable == 0
    assert is_continuous(peer.video)
    assert peer.video[-1].sequence < peer.video[0].sequence


@pytest.mark.parametrize("rtx", [True, False])
def test_repeats_can_be_opened_after_pictures_were_left_out(arena: Arena, rtx: bool) -> None:
    world = World(arena=arena)
    world.video(3_000, keyframe=True)
    peer = ProtectedPeer(arena)
    seat = world.enter(peer, lines(rtx=rtx))
    world.video(3_000)
    world.fan_out.congested(seat.viewer)
    world.video(3_000)
    world.video(3_000, keyframe=True)
    peer.loses = True
    lost = seat.viewer.video
    assert lost is not None
    wire = lost.numbers.next + lost.numbers.offset & 0xFFFF
    world.video(2_000)
    peer.loses = False
    world.video(3_000)
    both = Nack(ssrc=1, media_ssrc=VIDEO_SSRC, sequences=(wire, wire + 1 & 0xFFFF))
    seat.viewer.rtcp(both.to_bytes(), world.clock.now_ns)
    assert peer.unreadable == 0
    payloads = [packet.payload[2:] if rtx else packet.payload for packet in peer.again]
    assert b"".join(payload[1:] for payload in payloads) == (5).to_bytes(4) + bytes(1_996)
