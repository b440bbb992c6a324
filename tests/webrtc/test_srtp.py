"""Protection in place: its bounds, and that it is what others understand."""

import struct

import pylibsrtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError
from streamserver.webrtc.private_srtp import SrtpKeys
from streamserver.webrtc.srtp import Arena, SrtpIn, SrtpOut

PROFILES = {
    "SRTP_AEAD_AES_128_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 28),
    "SRTP_AEAD_AES_256_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 16, 44),
    "SRTP_AES128_CM_SHA1_80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10, 30),
}
RTCP = struct.pack("!BBHI", 0x80, 201, 1, 5)


def keys(name: str = "SRTP_AEAD_AES_128_GCM") -> SrtpKeys:
    number, tag, size = PROFILES[name]
    key = bytes(range(size))
    return SrtpKeys(profile=name, libsrtp_profile=number, tag_bytes=tag, sending=key, receiving=key)


def rtp(sequence: int, payload: bytes = b"payload", ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence, 0, ssrc) + payload


def reference(name: str) -> pylibsrtp.Session:
    number, _, size = PROFILES[name]
    return pylibsrtp.Session(
        pylibsrtp.Policy(
            key=bytes(range(size)),
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
            srtp_profile=number,
        )
    )


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_protected_in_place_others_understand(name):
    arena, out = Arena(256), SrtpOut(keys(name))
    packet = rtp(1)
    arena.data[10 : 10 + len(packet)] = packet
    size = out.protect(arena, 10, len(packet))
    assert size == len(packet) + out.overhead == len(packet) + PROFILES[name][1]
    assert reference(name).unprotect(bytes(arena.view[10 : 10 + size])) == packet
    arena.data[: len(RTCP)] = RTCP
    size = out.protect_rtcp(arena, len(RTCP))
    assert reference(name).unprotect_rtcp(bytes(arena.view[:size])) == RTCP


@pytest.mark.parametrize("name", PROFILES)
def test_a_row_of_packets_is_protected_at_once(name):
    arena, out = Arena(1000), SrtpOut(keys(name))
    packets = [rtp(1, b"x" * 50), rtp(2, b"y" * 50), rtp(3, b"z" * 9)]
    at = 100
    for packet in packets:
        arena.data[at : at + len(packet)] = packet
        at += len(packet) + out.overhead
    assert out.protect_run(arena, 100, [len(packet) for packet in packets]) == at - 100
    session, at = reference(name), 100
    for packet in packets:
        size = len(packet) + out.overhead
        assert session.unprotect(bytes(arena.view[at : at + size])) == packet
        at += size


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 20), (0, 11), (0, 241), (240, 16), (0, 1 << 40), (1 << 40, 20)]
)
def test_nothing_is_written_beyond_the_arena(offset, length):
    arena, out = Arena(256), SrtpOut(keys())
    with pytest.raises(LocalProtocolError):
        out.protect(arena, offset, length)
    with pytest.raises(LocalProtocolError):
        out.protect_run(arena, offset, [length])
    assert arena.data == bytes(256)


def test_a_row_that_does_not_fit_is_refused_before_anything_is_done():
    arena, out = Arena(256), SrtpOut(keys())
    with pytest.raises(LocalProtocolError):
        out.protect_run(arena, 0, [100, 100, 100])
    with pytest.raises(LocalProtocolError):
        out.protect_run(arena, 0, [100, 5])
    with pytest.raises(LocalProtocolError):
        out.protect_rtcp(arena, 240)
    assert arena.data == bytes(256)
    assert out.protect_run(arena, 0, []) == 0


def test_the_last_byte_of_the_arena_may_be_used():
    arena, out = Arena(64), SrtpOut(keys())
    packet = rtp(1, bytes(64 - 12 - 16))
    arena.data[: len(packet)] = packet
    assert out.protect(arena, 0, len(packet)) == 64


def test_a_packet_is_sent_again_within_the_window_and_refused_beyond_it():
    arena, out = Arena(64), SrtpOut(keys())

    def send(sequence: int) -> int:
        arena.data[:19] = rtp(sequence)
        return out.protect(arena, 0, 19)

    assert all(send(sequence) for sequence in (10, 1000, 10))
    assert out.refused == 0
    assert send(1100)
    assert send(10) == 0
    assert out.refused == 1


def test_a_packet_of_a_row_that_is_refused_leaves_as_zeros_and_never_in_the_clear():
    arena, out = Arena(400), SrtpOut(keys())
    secret = b"plain pictures"

    def send(*sequences: int) -> bytes:
        packets = [rtp(sequence, secret) for sequence in sequences]
        step = len(packets[0]) + out.overhead
        for index, packet in enumerate(packets):
            arena.data[index * step : index * step + len(packet)] = packet
        size = out.protect_run(arena, 0, [len(packet) for packet in packets])
        assert size == step * len(packets)
        return bytes(arena.view[:size])

    send(1)
    sent = send(2000, 1, 2001)
    step = len(sent) // 3
    assert out.refused == 1
    assert secret not in sent
    assert sent[step : 2 * step] == bytes(step)
    inward = SrtpIn(keys())
    assert opened(inward, sent[:step]) == rtp(2000, secret)
    assert opened(inward, sent[2 * step :]) == rtp(2001, secret)


def protected(packet: bytes, out: SrtpOut | None = None) -> bytes:
    arena = Arena(2048)
    arena.data[: len(packet)] = packet
    size = (out or SrtpOut(keys())).protect(arena, 0, len(packet))
    return bytes(arena.view[:size])


def opened(inward: SrtpIn, data: bytes) -> bytes | None:
    arena = Arena(2048)
    arena.data[: len(data)] = data
    return inward.unprotect(arena, len(data))


def test_forged_and_repeated_packets_are_counted_and_dropped():
    inward, data = SrtpIn(keys()), protected(rtp(1))
    assert opened(inward, data[:-1] + bytes((data[-1] ^ 1,))) is None
    assert opened(inward, data) == rtp(1)
    assert opened(inward, data) is None
    assert opened(inward, data[:11]) is None
    assert inward.refused == 3


def test_a_peer_cannot_make_us_keep_state_for_any_number_of_sources():
    inward, out = SrtpIn(keys()), SrtpOut(keys())
    taken = [opened(inward, protected(rtp(1, ssrc=ssrc), out)) for ssrc in range(1, 101)]
    assert sum(packet is not None for packet in taken) == 64
    assert opened(inward, protected(rtp(2, ssrc=1), out)) == rtp(2, ssrc=1)


@given(data=st.binary(max_size=300), flags=st.integers(0x80, 0xBF))
def test_any_bytes_are_refused_as_media_and_as_control(data, flags):
    inward, arena = SrtpIn(keys()), Arena(2048)
    text = bytes((flags,)) + data
    for open_ in (inward.unprotect, inward.unprotect_rtcp):
        arena.data[: len(text)] = text
        assert open_(arena, len(text)) is None
        assert open_(arena, 4096) is None
    assert inward.refused == 4
