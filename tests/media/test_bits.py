"""Bit fields: exact, and bounded whatever the bytes say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader, read_leb128, unescape


def _reader(bits: str) -> BitReader:
    padded = bits + "0" * (-len(bits) % 8)
    return BitReader(int(padded, 2).to_bytes(len(padded) // 8), "the test")


@given(st.lists(st.tuples(st.integers(0, 48), st.integers(0)), max_size=20))
def test_fields_of_any_width_come_back(fields):
    fields = [(width, value % (1 << width)) for width, value in fields]
    reader = _reader("".join(f"{value:0{width}b}" for width, value in fields if width) or "0")
    assert [reader.u(width) for width, _ in fields] == [value for _, value in fields]


@given(st.lists(st.integers(0, 2**32 - 2), max_size=10), st.integers(0, 7))
def test_unsigned_exp_golomb_codes_come_back_at_any_alignment(values, shift):
    codes = "".join("0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}" for value in values)
    reader = _reader("1" * shift + codes or "0")
    reader.skip(shift)
    assert [reader.ue() for _ in values] == values


@pytest.mark.parametrize(
    ("code", "value"), [("1", 0), ("010", 1), ("011", -1), ("00100", 2), ("00101", -2)]
)
def test_signed_exp_golomb_codes_alternate(code, value):
    assert _reader(code).se() == value


def test_an_endless_exp_golomb_code_is_an_error():
    with pytest.raises(RemoteProtocolError, match="endless"):
        BitReader(bytes(1000), "the test").ue()


def test_an_exp_golomb_code_cut_short_is_an_error():
    with pytest.raises(RemoteProtocolError, match="too early"):
        BitReader(b"\x00\x01", "the test").ue()


def test_a_value_above_its_limit_is_an_error():
    with pytest.raises(RemoteProtocolError, match="holds 2 where 1 is the limit"):
        _reader("011").ue(1)


def test_reading_or_skipping_past_the_end_is_an_error():
    reader = BitReader(b"\xff", "the test")
    with pytest.raises(RemoteProtocolError, match="the test ends too early"):
        reader.u(9)
    with pytest.raises(RemoteProtocolError, match="the test ends too early"):
        reader.skip(9)
    assert reader.u(8) == 0xFF


def test_bytes_are_taken_from_the_next_whole_one():
    reader = BitReader(b"\xf0abc", "the test")
    reader.skip(3)
    assert reader.take(2) == b"ab"
    assert reader.left == 8
    with pytest.raises(RemoteProtocolError):
        reader.take(2)


def test_uvlc_with_32_zeros_is_the_largest_number():
    assert _reader("0" * 32 + "1").uvlc() == 2**32 - 1
    assert _reader("00101").uvlc() == 4


@given(st.integers(0, 2**56 - 1))
def test_leb128_comes_back(value):
    coded = bytearray()
    rest = value
    while rest > 0x7F:
        coded.append(rest & 0x7F | 0x80)
        rest >>= 7
    coded.append(rest)
    assert read_leb128(b"x" + bytes(coded) + b"y", 1, "the test") == (value, 1 + len(coded))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 20])
def test_an_endless_leb128_is_an_error(data):
    with pytest.raises(RemoteProtocolError):
        read_leb128(data, 0, "the test")


def test_emulation_prevention_is_removed_once_per_pair_of_zeros():
    assert unescape(b"\x00\x00\x03\x01\x00\x00\x03\x00\x00\x03") == b"\x00\x00\x01" + bytes(4)
    assert unescape(b"\x00\x03\x03") == b"\x00\x03\x03"
