import pytest
from aiortc.rtp import RtpPacket as TheirPacket
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtp.packet import build_packet, parse_packet

_HEADER = bytes.fromhex("80e00102030405060708090a")


def test_a_plain_packet_is_taken_apart() -> None:
    packet = parse_packet(_HEADER + b"media")
    assert packet == (96, True, 0x0102, 0x03040506, 0x0708090A, b"media", {}, (), 0)


def test_it_reads_what_aiortc_writes() -> None:
    theirs = TheirPacket(payload_type=111, marker=0, sequence_number=65535, timestamp=7, ssrc=9)
    theirs.payload = b"opus"
    theirs.padding_size = 5
    packet = parse_packet(theirs.serialize())
    assert packet.payload == b"opus"
    assert (packet.payload_type, packet.marker, packet.sequence) == (111, False, 65535)
    assert packet.padding == 5


def test_what_is_built_is_read_back() -> None:
    built = build_packet(
        payload_type=45,
        sequence=0x1_0005,
        timestamp=-1,
        ssrc=3,
        payload=b"frame",
        marker=True,
        extensions={3: b"\x01\x02", 4: b"0"},
        csrcs=(1, 2),
        padding=4,
    )
    packet = parse_packet(built)
    assert packet.sequence == 5
    assert packet.timestamp == 0xFFFF_FFFF
    assert packet.extensions == {3: b"\x01\x02", 4: b"0"}
    assert packet.csrcs == (1, 2)
    assert packet.payload == b"frame"


def test_extensions_take_the_long_form_when_they_need_it() -> None:
    built = build_packet(
        payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=b"",
        extensions={20: b"", 1: bytes(17)},
    )  # fmt: skip
    assert built[12:14] == b"\x10\x00"
    assert parse_packet(built).extensions == {20: b"", 1: bytes(17)}


def test_the_number_15_ends_short_extensions_and_0_is_padding() -> None:
    block = b"\xbe\xde\x00\x02" + b"\x00\x30\xaa\x00" + b"\xf0\x50\xbb\x00"
    packet = parse_packet(b"\x90" + _HEADER[1:] + block + b"x")
    assert packet.extensions == {3: b"\xaa"}
    assert packet.payload == b"x"


def test_extensions_of_an_unknown_profile_are_stepped_over() -> None:
    packet = parse_packet(b"\x90" + _HEADER[1:] + b"\x12\x34\x00\x01abcd" + b"x")
    assert packet.extensions == {}
    assert packet.payload == b"x"


def test_a_packet_of_padding_alone_has_no_payload() -> None:
    packet = parse_packet(b"\xa0" + _HEADER[1:] + bytes(254) + b"\xff")
    assert packet.payload == b""
    assert packet.padding == 255


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _HEADER[:11],
        b"\x40" + _HEADER[1:],
        b"\x8f" + _HEADER[1:] + bytes(59),
        b"\x90" + _HEADER[1:] + b"\xbe\xde",
        b"\x90" + _HEADER[1:] + b"\xbe\xde\x00\x02abcd",
        b"\x90" + _HEADER[1:] + b"\xbe\xde\x00\x01\x3f\x00\x00\x00",
        b"\x90" + _HEADER[1:] + b"\x10\x00\x00\x01\x03\x03\x00\x00",
        b"\x90" + _HEADER[1:] + b"\x10\x00\x00\x01\x01\x01\x00\x03",
        b"\xa0" + _HEADER[1:] + b"abc\x00",
        b"\xa0" + _HEADER[1:] + b"abc\x05",
        b"\xa0" + _HEADER[1:],
    ],
    ids=[
        "empty", "short", "version", "contributors", "extension header", "extension length",
        "one-byte element", "two-byte element", "two-byte header", "no padding", "all padding",
        "padding of nothing",
    ],
)  # fmt: skip
def test_a_length_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_packet(data)


def test_values_without_a_place_are_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError):
        build_packet(payload_type=128, sequence=0, timestamp=0, ssrc=0, payload=b"")
    with pytest.raises(LocalProtocolError):
        build_packet(
            payload_type=1, sequence=0, timestamp=0, ssrc=0, payload=b"", extensions={0: b"x"}
        )


@given(st.binary(max_size=80))
def test_any_bytes_give_a_packet_or_a_refusal(data: bytes) -> None:
    try:
        packet = parse_packet(data)
    except RemoteProtocolError:
        return
    assert len(packet.payload) + packet.padding <= len(data) - 12


@given(st.binary(max_size=60), st.integers(0, 255))
def test_any_bytes_behind_any_first_byte(data: bytes, first: int) -> None:
    try:
        parse_packet(bytes((0x80 | first & 0x3F,)) + _HEADER[1:] + data)
    except RemoteProtocolError:
        return


@given(
    payload=st.binary(max_size=40),
    extensions=st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=4),
    csrcs=st.lists(st.integers(0, 2**32 - 1), max_size=15),
    padding=st.integers(0, 255),
    marker=st.booleans(),
)
def test_building_and_parsing_are_inverse(
    payload: bytes, extensions: dict[int, bytes], csrcs: list[int], padding: int, marker: bool
) -> None:
    built = build_packet(
        payload_type=100, sequence=77, timestamp=88, ssrc=99, payload=payload, marker=marker,
        extensions=extensions, csrcs=csrcs, padding=padding,
    )  # fmt: skip
    expected = (100, marker, 77, 88, 99, payload, extensions, tuple(csrcs), padding)
    assert parse_packet(built) == expected
