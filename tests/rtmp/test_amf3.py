import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.amf import MAX_VALUES, AmfDate, AmfError, Cursor
from streamserver.rtmp.amf0 import decode, decode_arguments, encode
from streamserver.rtmp.amf3 import UnsupportedAmf3Error, read


def value_of(text: str) -> object:
    cursor = Cursor(bytes.fromhex(text))
    value = read(cursor)
    assert cursor.left == 0
    return value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00", None),
        ("01", None),
        ("02", False),
        ("03", True),
        ("04 7f", 127.0),
        ("04 81 00", 128.0),
        ("04 ff 7f", 16383.0),
        ("04 ff ff 7f", 2097151.0),
        ("04 80 c0 80 00", 2097152.0),
        ("04 bf ff ff ff", 268435455.0),
        ("04 ff ff ff ff", -1.0),
        ("04 c0 80 80 00", -268435456.0),
        ("05 4004000000000000", 2.5),
        ("06 01", ""),
        ("06 09 6c697665", "live"),
        ("07 09 3c612f3e", "<a/>"),
        ("08 01 426d1a94a2000000", AmfDate(1e12)),
        ("08 00", None),
        ("09 05 01 03 02", [True, False]),
        ("09 03 03 61 03 01 04 07", {"a": True, "0": 7.0}),
        ("09 00", None),
        ("0a 0b 01 03 61 03 01", {"a": True}),
        ("0a 13 01 03 61 03", {"a": True}),
        ("0a 00", None),
        ("0b 09 3c612f3e", "<a/>"),
        ("0b 00", None),
        ("0c 07 010203", None),
        ("0c 00", None),
    ],
)
def test_every_marker_has_its_value(data, value):
    assert value_of(data) == value


def test_strings_are_sent_by_reference():
    assert value_of("09 07 01 06 05 6869 06 00 06 01") == ["hi", "hi", ""]


def test_traits_are_sent_by_reference():
    assert value_of("09 05 01  0a 13 01 03 61 03  0a 01 02") == [{"a": True}, {"a": False}]


def test_references_to_objects_are_none_so_that_nothing_is_its_own_part():
    assert value_of("09 03 01 09 00") == [None]


@pytest.mark.parametrize("data", ["06 02", "0a 05"])
def test_references_to_what_was_never_sent_are_errors(data):
    with pytest.raises(AmfError, match="never sent"):
        value_of(data)


@pytest.mark.parametrize("data", ["0a 07 03 61", "0d 01", "11 01", "ff"])
def test_vectors_dictionaries_and_externalizable_objects_are_not_read(data):
    with pytest.raises(UnsupportedAmf3Error):
        value_of(data)


def test_amf0_goes_on_behind_one_amf3_value():
    assert decode(encode("a") + b"\x11\x04\x05" + encode("b")) == ["a", 5.0, "b"]


def test_a_command_ends_before_the_first_value_that_we_do_not_know():
    data = encode("connect", 1) + b"\x11\x0d\x01" + encode("lost")
    assert decode_arguments(data) == ["connect", 1]
    with pytest.raises(UnsupportedAmf3Error):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        "09 ffffffff 01" + "03" * (MAX_VALUES + 1),
        "0a fffffffb 01" + "0361" * (MAX_VALUES + 1),
        "0a 0b 01" + "036103" * (MAX_VALUES + 1) + "01",
    ],
)
def test_too_many_values_are_refused_and_counts_not_believed(data):
    with pytest.raises(AmfError, match="too many values"):
        value_of(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_a_remote_protocol_error(data):
    with contextlib.suppress(RemoteProtocolError):
        read(Cursor(data))
