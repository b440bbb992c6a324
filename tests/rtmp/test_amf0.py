import contextlib
import math
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.amf import MAX_DEPTH, MAX_VALUES, AmfDate, AmfError, EcmaArray, as_int
from streamserver.rtmp.amf0 import decode, decode_arguments, encode

END = b"\x00\x00\x09"


def text(value: bytes) -> bytes:
    return pack(">H", len(value)) + value


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.builds(AmfDate, st.floats(allow_nan=False)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4).map(EcmaArray)
    ),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=4))
def test_what_is_encoded_is_decoded_again(values):
    assert decode(encode(*values)) == values


@given(st.dictionaries(KEYS, st.none(), min_size=2, max_size=5).map(EcmaArray))
def test_key_order_and_the_kind_of_object_survive(value):
    (found,) = decode(encode(value))
    assert isinstance(found, EcmaArray)
    assert list(found) == list(value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x00" + pack(">d", -2.5), -2.5),
        (b"\x01\x00", False),
        (b"\x01\x02", True),
        (b"\x02" + text(b"live"), "live"),
        (b"\x03" + text(b"a") + b"\x05" + END, {"a": None}),
        (b"\x05", None),
        (b"\x06", None),
        (b"\x07\x00\x01", None),
        (b"\x0a\x00\x00\x00\x02\x05\x01\x01", [None, True]),
        (b"\x0b" + pack(">dh", 1e12, 60), AmfDate(1e12)),
        (b"\x0c\x00\x00\x00\x03abc", "abc"),
        (b"\x0d", None),
        (b"\x0f\x00\x00\x00\x04<a/>", "<a/>"),
        (b"\x10" + text(b"Class") + text(b"a") + b"\x05" + END, {"a": None}),
        (b"\x11\x04\x05", 5.0),
    ],
)
def test_every_marker_has_its_value(data, value):
    assert decode(data) == [value]


@pytest.mark.parametrize("marker", [0x04, 0x09, 0x0E, 0x12, 0xFF])
def test_movie_clips_record_sets_and_unknown_markers_are_errors(marker):
    with pytest.raises(AmfError, match=f"0x{marker:02x}"):
        decode(bytes((marker,)) + bytes(20))


@pytest.mark.parametrize("count", [0, 1, 2, 0xFFFFFFFF])
def test_the_count_of_an_ecma_array_means_nothing(count):
    data = b"\x08" + pack(">I", count) + text(b"a") + b"\x05" + text(b"b") + b"\x05" + END
    assert decode(data) == [{"a": None, "b": None}]


@pytest.mark.parametrize("marker", [b"\x03", b"\x08\x00\x00\x00\x01"])
@pytest.mark.parametrize("end", [b"", b"\x00\x00", END])
def test_the_end_of_the_message_may_end_an_object(marker, end):
    assert decode(marker + text(b"a") + b"\x05" + end) == [{"a": None}]


def test_a_value_without_name_is_read_over():
    data = b"\x08\x00\x00\x00\x02\x00\x00\x05" + text(b"a") + b"\x05" + END
    assert decode(data) == [{"a": None}]


def test_the_last_of_two_equal_keys_wins():
    data = b"\x03" + text(b"a") + b"\x05" + text(b"a") + b"\x01\x01" + END
    assert decode(data) == [{"a": True}]


def test_text_that_is_no_utf_8_is_replaced_as_chinese_encoders_send_gbk():
    (value,) = decode(b"\x02" + text("直播".encode("gbk")))
    assert isinstance(value, str)
    assert "\N{REPLACEMENT CHARACTER}" in value
    value.encode("utf-8")


def test_a_text_of_64_kib_becomes_a_long_string():
    assert encode("x" * 65535)[0] == 0x02
    assert encode("x" * 65536)[0] == 0x0C
    assert decode(encode("x" * 65536)) == ["x" * 65536]


def test_integers_are_written_as_numbers():
    assert encode(5) == encode(5.0)


@pytest.mark.parametrize("value", [b"bytes", object(), {"": None}, {"k" * 65536: None}])
def test_what_amf0_cannot_say_is_our_own_fault(value):
    with pytest.raises(LocalProtocolError):
        encode(value)


# ---- bombs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "level",
    [
        b"\x03\x00\x01a",
        b"\x08\x00\x00\x00\x01\x00\x01a",
        b"\x0a\x00\x00\x00\x01",
        b"\x11\x09\x03\x01",
    ],
    ids=["object", "ecma", "strict", "amf3"],
)
def test_values_nested_too_deep_are_refused(level):
    with pytest.raises(AmfError, match=f"deeper than {MAX_DEPTH}"):
        decode(level * 500 if level[0] != 0x11 else level + level[1:] * 500)


def test_nesting_up_to_the_bound_is_fine():
    value: object = None
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode(encode(value)) == [value]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"\x05" * (MAX_VALUES + 1),
        b"\x0a" + pack(">I", 60000) + b"\x05" * 60000,
        b"\x03" + (b"\x00\x01a\x05") * (MAX_VALUES + 1) + END,
        b"\x03" + (b"\x00\x00\x05") * (MAX_VALUES + 1) + END,
    ],
)
def test_too_many_values_are_refused(data):
    with pytest.raises(AmfError, match="too many values"):
        decode(data)


def test_a_count_is_not_believed():
    with pytest.raises(AmfError, match="promises more"):
        decode(b"\x0a\xff\xff\xff\xff\x05")


@pytest.mark.parametrize("data", [b"\x0c\xff\xff\xff\xffabc", b"\x02\xff\xffabc", b"\x0f\0\0\1\0"])
def test_a_length_is_not_believed(data):
    with pytest.raises(AmfError, match="past the end"):
        decode(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_a_remote_protocol_error(data):
    for read in (decode, decode_arguments):
        with contextlib.suppress(RemoteProtocolError):
            read(data)


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 300))
def test_truncated_values_raise_only_a_remote_protocol_error(values, length):
    with contextlib.suppress(RemoteProtocolError):
        decode(encode(*values)[:length])


def test_numbers_of_the_wire_become_integers_without_surprise():
    assert as_int(4.9, 0) == 4
    assert as_int(-2000.0, 0) == -2000
    values: tuple[object, ...] = (math.nan, math.inf, -math.inf, 1e300, True, None, "5", {})
    for strange in values:
        assert as_int(strange, 7) == 7
