"""NAL units: telling them apart, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.errors import DamagedFrameError
from streamserver.media.nal import (
    MAX_NALS,
    has_start_code,
    join_nals,
    merge_sets,
    split_annex_b,
    split_prefixed,
)

_NALS = st.lists(
    st.binary(min_size=1, max_size=40).filter(lambda nal: nal[-1] and nal[0]), max_size=8
)


@given(_NALS, st.sampled_from([1, 2, 4]))
def test_prefixed_units_come_back(nals, size):
    data = b"".join(len(nal).to_bytes(size) + nal for nal in nals)
    assert split_prefixed(data, size) == nals
    if size == 4:
        assert join_nals(nals) == data


@given(_NALS, st.booleans())
def test_units_between_start_codes_come_back(nals, long):
    code = b"\x00\x00\x00\x01" if long else b"\x00\x00\x01"
    nals = [nal.replace(b"\x00\x00", b"\x00\x07") for nal in nals]
    assert split_annex_b(b"".join(code + nal for nal in nals)) == nals


def test_empty_units_and_zero_padding_are_left_out():
    assert split_prefixed(b"\x00\x00\x00\x00\x00\x00\x00\x01A\x00\x00", 4) == [b"A"]
    assert split_annex_b(b"\x00\x00\x01\x00\x00\x01A\x00\x00\x00") == [b"A"]


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x05AB", b"\x00\x00\x00\x01AB", b"AB"])
def test_lengths_that_do_not_add_up_are_damage(data):
    with pytest.raises(DamagedFrameError):
        split_prefixed(data, 4)


def test_a_flood_of_tiny_units_is_damage():
    with pytest.raises(DamagedFrameError):
        split_prefixed(b"\x00\x00\x00\x01A" * (MAX_NALS + 1), 4)
    with pytest.raises(DamagedFrameError):
        split_annex_b(b"\x00\x00\x01A" * (MAX_NALS + 1))


def test_start_codes_of_both_lengths_are_seen():
    assert has_start_code(b"\x00\x00\x00\x01\x67")
    assert has_start_code(b"\x00\x00\x01\x67")
    assert not has_start_code(b"\x00\x00\x00\x02\x67\x00")


def _identify(nal: bytes) -> tuple[int, int] | None:
    return (7, nal[1]) if nal[0] == 7 else None


def test_a_set_takes_the_place_of_the_one_with_its_id():
    held = {(7, 1): b"\x07\x01old", (7, 2): b"\x07\x02"}
    merged = merge_sets(held, [b"\x07\x01new", b"\x05\x01"], _identify)
    assert list(merged.values()) == [b"\x07\x01new", b"\x07\x02"]


def test_sets_that_are_no_news_leave_the_same_object():
    held = {(7, 1): b"\x07\x01old"}
    assert merge_sets(held, [b"\x07\x01old", b"\x07\x01old\x00\x00", b"\x05"], _identify) is held


def test_too_many_or_too_large_sets_are_an_error():
    with pytest.raises(RemoteProtocolError, match="too many"):
        merge_sets({}, [bytes((7, index, 1)) for index in range(1, 66)], _identify)
    with pytest.raises(RemoteProtocolError, match="too many"):
        merge_sets({}, [b"\x07\x01" + b"x" * 40_000], _identify)
    with pytest.raises(RemoteProtocolError, match="too many"):
        merge_sets({}, [b"\x07\x01" + bytes((index,)) for index in range(1, 100)], _identify)
